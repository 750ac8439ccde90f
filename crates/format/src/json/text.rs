//! Strings of JSON: what they say, and how to write them so that a line stays a line.

use std::borrow::Cow;

use memchr::memchr;

use super::chunk::{self, CHUNK_BYTES, Latin1};

/// Bytes that are decoded before they are appended: appending one by one would cost more than decoding.
const DECODED_BYTES: usize = 256;

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

/// Reads the string at the start of checked JSON, which carries bytes as characters U+0000 to U+00FF, one each, and
/// appends them to `out`. Returns the offset behind the string. `None`, with `out` as it was, when there is no string or
/// a character is beyond U+00FF. Invalid UTF-8 gives any bytes.
pub fn latin1(json: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    if json.first() != Some(&b'"') {
        return None;
    }
    let start = out.len();
    let end = append_latin1(json, out);
    if end.is_none() {
        out.truncate(start);
    }
    Some(end? + 1)
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

/// Decodes the string that `json` begins with and returns the offset of its closing quote.
///
/// Which characters take two bytes is as good as random, so nothing but the ends of runs without escapes is branched on:
/// whole chunks are decoded, and what is beyond the run is written over. Text that is no UTF-8 gives some bytes, and what
/// is carried in such text has a sum that tells.
fn append_latin1(json: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let mut decoded = [0; DECODED_BYTES];
    let (mut count, mut at) = (0, 1);
    loop {
        let (window, left) = window_at(json, at - 1)?;
        let chunk = Latin1::of(&window);
        let [_, bytes @ ..] = window;
        let run = (chunk::ends_of_runs(bytes) | 1 << CHUNK_BYTES).trailing_zeros();
        let of_run = (1 << run) - 1;
        if chunk.beyond & of_run != 0 {
            return None;
        }
        let room: &mut [u8; CHUNK_BYTES] = decoded.get_mut(count..)?.first_chunk_mut()?;
        let mut place = 0;
        for (byte, step) in chunk.decoded.into_iter().zip(chunk.steps) {
            room[usize::from(place) % CHUNK_BYTES] = byte;
            place += step;
        }
        let run = run as usize;
        count += run - (chunk.leads & of_run).count_ones() as usize;
        at += run;
        if run >= left {
            return None;
        }
        if run < CHUNK_BYTES {
            if json[at] == b'"' {
                out.extend_from_slice(&decoded[..count]);
                return Some(at);
            }
            let (escaped, escape_bytes) = escaped_byte(&json[at + 1..])?;
            decoded[count] = escaped;
            count += 1;
            at += 1 + escape_bytes;
        }
        if count >= DECODED_BYTES - CHUNK_BYTES {
            out.extend_from_slice(&decoded[..count]);
            count = 0;
        }
    }
}

/// A chunk of `json` and the byte before it, which is at `at`; and how many bytes of the chunk there are. Those beyond
/// the end are zeroes.
#[inline]
fn window_at(json: &[u8], at: usize) -> Option<([u8; CHUNK_BYTES + 1], usize)> {
    let rest = json.get(at..)?;
    if let Some(window) = rest.first_chunk() {
        return Some((*window, CHUNK_BYTES + 1));
    }
    let mut window = [0; CHUNK_BYTES + 1];
    window[..rest.len()].copy_from_slice(rest);
    Some((window, rest.len().checked_sub(1)?))
}

/// Reads an escape behind its backslash: the byte it stands for, and how many bytes it takes.
fn escaped_byte(escape: &[u8]) -> Option<(u8, usize)> {
    match escape {
        [b'u', b'0', b'0', upper, lower, ..] => Some((hex_value(*upper) << 4 | hex_value(*lower), 5)),
        [letter, ..] => Some((short_escape(*letter)?, 1)),
        [] => None,
    }
}

/// The value of a hexadecimal digit, which it is taken to be.
fn hex_value(digit: u8) -> u8 {
    // The letters of both cases have bit 6, and begin at 1 where the digits begin at 0.
    (digit & 0xf).wrapping_add(9 * (digit >> 6))
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
    fn latin1_ends_with_the_string_wherever_chunks_do() {
        let bytes: Vec<u8> = (0..600_u32).map(|at| (at * 89 % 256) as u8).collect();
        for length in 0..bytes.len() {
            let characters: String = bytes[..length].iter().map(|byte| char::from(*byte)).collect();
            let string = serde_json::to_string(&characters).unwrap();
            for text in [string.clone(), format!("{string},\"more\":\"é\"}}")] {
                let mut out = Vec::new();
                assert_eq!(latin1(text.as_bytes(), &mut out), Some(string.len()));
                assert_eq!(out, bytes[..length]);
            }
            let mut out = Vec::new();
            assert_eq!(latin1(&string.as_bytes()[..string.len() - 1], &mut out), None, "{string}");
            assert!(out.is_empty());
        }
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
