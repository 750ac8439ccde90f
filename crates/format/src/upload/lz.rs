//! LZ-string's `compressToBase64`, which posthog-js used before gzip.
//!
//! A kind of LZW over UTF-16 code units, six bits to a character. Every word of the dictionary is the word before it
//! plus one unit, so it stands somewhere in the output already: the dictionary holds places, not copies.

/// Why a text did not decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LzError {
    /// It decodes to more than was allowed.
    TooLarge,
    /// It is cut short or no such text.
    Corrupt,
}

/// Codes with a meaning of their own; words are numbered from [`WORDS_FROM`].
const NEW_BYTE: usize = 0;
const NEW_UNIT: usize = 1;
const END: usize = 2;
const WORDS_FROM: usize = 3;

/// Codes wider than this would need more input than a body can have.
const CODE_BITS_MAX: u32 = 28;

/// Decodes `text` to UTF-8. Lone surrogates become U+FFFD.
pub(super) fn decode_lz(text: &[u8], decoded_bytes_max: usize) -> Result<Vec<u8>, LzError> {
    let units = decode_units(&mut Bits { text, buffer: 0, left: 0 }, decoded_bytes_max)?;
    let mut decoded = String::new();
    for character in char::decode_utf16(units) {
        decoded.push(character.unwrap_or(char::REPLACEMENT_CHARACTER));
        if decoded.len() > decoded_bytes_max {
            return Err(LzError::TooLarge);
        }
    }
    Ok(decoded.into_bytes())
}

fn decode_units(bits: &mut Bits<'_>, units_max: usize) -> Result<Vec<u16>, LzError> {
    let mut units: Vec<u16> = Vec::new();
    // Start and length, in units of the output. Small, because there may be millions.
    let mut words: Vec<(u32, u32)> = Vec::new();
    let mut last_word: Option<(u32, u32)> = None;
    let mut code_bits = 2;
    let mut codes_until_wider = 1_usize;
    loop {
        let start = u32::try_from(units.len()).map_err(|_| LzError::TooLarge)?;
        let code = bits.take(code_bits)? as usize;
        let word = match code {
            END => return Ok(units),
            NEW_BYTE | NEW_UNIT => {
                units.push(bits.take(if code == NEW_BYTE { 8 } else { 16 })? as u16);
                words.push((start, 1));
                widen(&mut codes_until_wider, &mut code_bits);
                (start, 1)
            }
            _ => {
                let known = words.get(code - WORDS_FROM).copied();
                // The word that is only about to be added: the last one plus its own first unit, which follows it.
                let (from, length) = match (known, last_word) {
                    (Some(word), _) => word,
                    (None, Some((from, length))) if code - WORDS_FROM == words.len() => (from, length + 1),
                    _ => return Err(LzError::Corrupt),
                };
                copy_word(&mut units, from, length, units_max)?;
                (start, length)
            }
        };
        if units.len() > units_max {
            return Err(LzError::TooLarge);
        }
        if let Some((from, length)) = last_word {
            words.push((from, length + 1));
            widen(&mut codes_until_wider, &mut code_bits);
        }
        last_word = Some(word);
        if code_bits > CODE_BITS_MAX {
            return Err(LzError::TooLarge);
        }
    }
}

/// Counts a word that was added. Codes get a bit wider whenever the dictionary has filled those there are.
fn widen(codes_until_wider: &mut usize, code_bits: &mut u32) {
    *codes_until_wider -= 1;
    if *codes_until_wider == 0 {
        *codes_until_wider = 1 << *code_bits;
        *code_bits += 1;
    }
}

/// Appends units of the output to it. The last of them may be one that this very call appends.
fn copy_word(units: &mut Vec<u16>, from: u32, length: u32, units_max: usize) -> Result<(), LzError> {
    if units.len() + length as usize > units_max {
        return Err(LzError::TooLarge);
    }
    for at in from as usize..(from + length) as usize {
        units.push(*units.get(at).ok_or(LzError::Corrupt)?);
    }
    Ok(())
}

/// Hands out bits: characters from the left, each from its highest bit; numbers are built from their lowest.
struct Bits<'a> {
    text: &'a [u8],
    buffer: u8,
    left: u32,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> Result<u32, LzError> {
        let mut taken = 0;
        for place in 0..count {
            if self.left == 0 {
                let (character, rest) = self.text.split_first().ok_or(LzError::Corrupt)?;
                self.buffer = six_bits(*character).ok_or(LzError::Corrupt)?;
                self.left = 6;
                self.text = rest;
            }
            self.left -= 1;
            taken |= u32::from(self.buffer >> self.left & 1) << place;
        }
        Ok(taken)
    }
}

fn six_bits(character: u8) -> Option<u8> {
    match character {
        b'A'..=b'Z' => Some(character - b'A'),
        b'a'..=b'z' => Some(character - b'a' + 26),
        b'0'..=b'9' => Some(character - b'0' + 52),
        b'+' | b' ' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `LZString.compressToBase64("hello, i am a 猫")`, from the library's own tests.
    const SAMPLE: &[u8] = b"BYUwNmD2A0AECWsCGBbZtDUzkA==";

    #[test]
    fn the_librarys_own_sample_decodes() {
        assert_eq!(String::from_utf8(decode_lz(SAMPLE, 100).unwrap()).unwrap(), "hello, i am a 猫");
    }

    #[test]
    fn what_comes_out_is_bounded() {
        let length = "hello, i am a 猫".len();
        assert!(decode_lz(SAMPLE, length).is_ok());
        assert_eq!(decode_lz(SAMPLE, length - 1), Err(LzError::TooLarge));
    }

    #[test]
    fn other_text_is_corrupt() {
        for text in [&b""[..], b"====", b"\x00\x01", &SAMPLE[..12]] {
            assert_eq!(decode_lz(text, 100), Err(LzError::Corrupt));
        }
    }
}
