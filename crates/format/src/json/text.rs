//! Strings of JSON: what they say, and how to write them so that a line stays a line.

use std::borrow::Cow;

use memchr::memchr;

/// Stands in for what no text can hold: a lone surrogate.
const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// Reads a raw string, quotes included. Lone surrogates and invalid UTF-8 become U+FFFD. `None` for any other value.
pub fn text(raw: &[u8]) -> Option<Cow<'_, str>> {
    let inner = inner(raw)?;
    if memchr(b'\\', inner).is_none() {
        return Some(String::from_utf8_lossy(inner));
    }
    Some(Cow::Owned(String::from_utf8_lossy(&unescape(inner)).into_owned()))
}

/// Reads a raw string that carries bytes as characters U+0000 to U+00FF, one each, and appends them to `out`.
/// `None`, with `out` as it was, when the value is no string or a character is beyond U+00FF.
pub fn latin1(raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let start = out.len();
    let read = append_latin1(inner(raw)?, out);
    if read.is_none() {
        out.truncate(start);
    }
    read
}

/// Appends a checked value on one line. Without control characters it is copied as it is. Otherwise blanks between
/// values go, and control characters within strings are escaped, so that browsers can read the value.
pub fn append_compact(raw: &[u8], out: &mut Vec<u8>) {
    if !has_controls(raw) {
        return out.extend_from_slice(raw);
    }
    let mut in_string = false;
    let mut at = 0;
    while at < raw.len() {
        match raw[at] {
            b'\\' if in_string => {
                out.push(b'\\');
                at += 1;
                out.extend(raw.get(at));
            }
            b'"' => {
                in_string = !in_string;
                out.push(b'"');
            }
            byte if in_string => append_escaped(byte, out),
            b' ' | b'\n' | b'\r' | b'\t' => {}
            byte => out.push(byte),
        }
        at += 1;
    }
}

/// Appends `text` as a JSON string, quotes included.
pub fn append_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            _ => append_escaped(byte, out),
        }
    }
    out.push(b'"');
}

/// Whether a byte below U+0020 occurs. Looks at whole chunks, because leaving early would keep it from being vectorised.
pub(crate) fn has_controls(raw: &[u8]) -> bool {
    const CHUNK_BYTES: usize = 4096;
    raw.chunks(CHUNK_BYTES).any(|chunk| chunk.iter().fold(false, |found, byte| found | (*byte < b' ')))
}

/// Undoes the escapes of a checked string without its quotes. Lone surrogates become U+FFFD, other bytes are kept.
pub(super) fn unescape(inner: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let (character, length) = escaped_char(&rest[at..]);
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        rest = &rest[(at + length).min(rest.len())..];
    }
    out.extend_from_slice(rest);
    out
}

/// The text between the quotes of a raw string.
fn inner(raw: &[u8]) -> Option<&[u8]> {
    raw.strip_prefix(b"\"")?.strip_suffix(b"\"")
}

/// Reads the escape that `text` begins with: its character, and its length in bytes.
fn escaped_char(text: &[u8]) -> (char, usize) {
    let Some(&letter) = text.get(1) else { return (REPLACEMENT, 1) };
    if letter != b'u' {
        return (short_escape(letter).map_or(REPLACEMENT, char::from), 2);
    }
    let Some(first) = unit(text) else { return (REPLACEMENT, 2) };
    if let Some(character) = char::from_u32(first) {
        return (character, 6);
    }
    let second = text.get(6..).and_then(unit).filter(|second| (0xdc00..0xe000).contains(second));
    match second {
        Some(second) if first < 0xdc00 => {
            (char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)).unwrap_or(REPLACEMENT), 12)
        }
        _ => (REPLACEMENT, 6),
    }
}

/// The byte that a one-letter escape stands for.
fn short_escape(letter: u8) -> Option<u8> {
    match letter {
        b'"' | b'\\' | b'/' => Some(letter),
        b'b' => Some(8),
        b't' => Some(b'\t'),
        b'n' => Some(b'\n'),
        b'f' => Some(12),
        b'r' => Some(b'\r'),
        _ => None,
    }
}

/// The UTF-16 code unit of the `\uXXXX` that `text` begins with.
fn unit(text: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | (*digit as char).to_digit(16)?))
}

fn append_latin1(inner: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.reserve(inner.len());
    let mut at = 0;
    while let Some(&byte) = inner.get(at) {
        match byte {
            b'\\' if inner.get(at + 1) == Some(&b'u') => {
                out.push(u8::try_from(unit(&inner[at..])?).ok()?);
                at += 6;
            }
            b'\\' => {
                out.push(short_escape(*inner.get(at + 1)?)?);
                at += 2;
            }
            0..0x80 => {
                out.push(byte);
                at += 1;
            }
            // U+0080 to U+00FF: two bytes of UTF-8 whose lead holds the upper two bits.
            0xc2 | 0xc3 => {
                let next = *inner.get(at + 1).filter(|next| **next & 0xc0 == 0x80)?;
                out.push(byte << 6 | next & 0x3f);
                at += 2;
            }
            _ => return None,
        }
    }
    Some(())
}

fn append_escaped(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'\n' => out.extend(b"\\n"),
        b'\r' => out.extend(b"\\r"),
        b'\t' => out.extend(b"\\t"),
        0..b' ' => out.extend(format!("\\u{byte:04x}").bytes()),
        _ => out.push(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_leniently() {
        for (raw, expected) in [
            (&b"\"plain\""[..], "plain"),
            (b"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\u{8}\u{c}\n\r\t"),
            (b"\"\\u00e9\\u20ac\"", "é€"),
            (b"\"\\ud83d\\ude00\"", "😀"),
            (b"\"a\\ud83db\"", "a\u{fffd}b"),
            (b"\"\\ude00\\ud83d\"", "\u{fffd}\u{fffd}"),
            (b"\"\\ud83d\\ud83d\\ude00\"", "\u{fffd}😀"),
            (b"\"\xff\"", "\u{fffd}"),
        ] {
            assert_eq!(text(raw).as_deref(), Some(expected));
        }
        assert_eq!((text(b"12"), text(b"\""), text(b"[]")), (None, None, None));
    }

    #[test]
    fn latin1_gives_every_byte_back() {
        let all: Vec<u8> = (0..=255).collect();
        let characters: String = all.iter().map(|byte| char::from(*byte)).collect();
        let mut out = vec![7];
        latin1(serde_json::to_string(&characters).unwrap().as_bytes(), &mut out).unwrap();
        assert_eq!(out[1..], all);
    }

    #[test]
    fn latin1_refuses_what_is_no_byte() {
        for raw in ["\"aĀ\"", "\"\\u0100\"", "\"€\"", "12"] {
            let mut out = vec![7];
            assert_eq!(latin1(raw.as_bytes(), &mut out), None);
            assert_eq!(out, [7]);
        }
    }

    #[test]
    fn control_characters_never_reach_a_line() {
        let mut out = Vec::new();
        append_compact(b"{ \"a\":\n\t[1,\r\n\"x\ny\\\"\tz\0\\\\\"] }", &mut out);
        assert_eq!(out, b"{\"a\":[1,\"x\\ny\\\"\\tz\\u0000\\\\\"]}");
    }

    #[test]
    fn values_without_control_characters_are_copied() {
        let raw = b"{ \"a\" : \"\xff\\ud83d\" }";
        let mut out = Vec::new();
        append_compact(raw, &mut out);
        assert_eq!(out, raw);
    }

    #[test]
    fn written_strings_read_back() {
        let odd = "w\"\\\n\0\u{1f}é😀";
        let mut out = Vec::new();
        append_string(odd, &mut out);
        assert_eq!(text(&out).unwrap(), odd);
        assert!(!has_controls(&out));
    }
}
