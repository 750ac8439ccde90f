//! Where strings end.
//!
//! Names and short values end within a chunk or two, for which a few comparisons beat the set-up of a search. What clients
//! compress is the other kind: long, with an escape every dozen bytes. Such a string is gone through in blocks. Which of a
//! block's quotes ends it follows from two masks, and its escapes are then checked one beside the other, so that the
//! processor need not know where one ends before it begins with the next.

use memchr::{memchr, memchr2};

use super::JsonError;
use super::chunk::{BLOCK_BYTES, CHUNK_BYTES, ends_of_runs, quotes, specials};

/// Chunks that are looked at before a search is begun.
const NEAR_CHUNKS: usize = 2;

/// Bytes of the longest escape, `\u00e9`.
const ESCAPE_BYTES_MAX: usize = 6;

/// What a byte may be in an escape, as bits.
const SIMPLE: u8 = 1;
const UNICODE: u8 = 2;
const HEX_DIGIT: u8 = 4;

const CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'b' | b'f' => SIMPLE | HEX_DIGIT,
            b'"' | b'\\' | b'/' | b'n' | b'r' | b't' => SIMPLE,
            b'u' => UNICODE,
            b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' => HEX_DIGIT,
            _ => 0,
        };
        byte += 1;
    }
    classes
}

/// Returns the offset behind the string whose text begins at `start`, all of whose escapes are escapes.
#[inline]
pub(super) fn checked_end(bytes: &[u8], start: usize) -> Result<usize, JsonError> {
    let special = near(bytes, start, ends_of_runs, |rest| memchr2(b'"', b'\\', rest));
    match bytes.get(special) {
        Some(b'"') => Ok(special + 1),
        Some(_) => escaped_end(bytes, special),
        None => Err(unended(bytes)),
    }
}

/// Does as [`checked_end`] where that was found good before: quotes alone are looked for.
#[inline]
pub(super) fn known_end(bytes: &[u8], start: usize) -> Result<usize, JsonError> {
    let mut at = start;
    loop {
        at = near(bytes, at, quotes, |rest| memchr(b'"', rest));
        match bytes.get(at) {
            Some(_) if is_escaped(bytes, start, at) => at += 1,
            Some(_) => return Ok(at + 1),
            None => return Err(unended(bytes)),
        }
    }
}

fn unended(bytes: &[u8]) -> JsonError {
    JsonError { at: bytes.len(), expected: "the end of a string" }
}

/// Returns the offset of the first byte at or after `at` that is looked for, or the end.
#[inline]
fn near(
    bytes: &[u8],
    mut at: usize,
    found: impl Fn([u8; CHUNK_BYTES]) -> u32,
    search: impl FnOnce(&[u8]) -> Option<usize>,
) -> usize {
    for _ in 0..NEAR_CHUNKS {
        let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk()) else { break };
        let found = found(*chunk);
        if found != 0 {
            return at + found.trailing_zeros() as usize;
        }
        at += CHUNK_BYTES;
    }
    search(bytes.get(at..).unwrap_or_default()).map_or(bytes.len(), |found| at + found)
}

/// Whether the quote at `at`, of a string whose text begins at `start`, is part of an escape.
#[inline]
fn is_escaped(bytes: &[u8], start: usize, at: usize) -> bool {
    bytes[start..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// Goes through a string from one of its escapes on.
fn escaped_end(bytes: &[u8], mut at: usize) -> Result<usize, JsonError> {
    // Whether the first byte of the block belongs to an escape that began in the one before.
    let mut is_begun = false;
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<BLOCK_BYTES>()) {
        let (quotes, backslashes) = specials(block);
        let begun = u64::from(is_begun);
        let mut starts = starts_of_escapes(backslashes & !begun);
        is_begun = starts >> (BLOCK_BYTES - 1) == 1;
        let ends = quotes & !(starts << 1 | begun);
        let before_end = ends.wrapping_sub(1) & !ends;
        starts &= before_end;
        while starts != 0 {
            check_escape(bytes, at + starts.trailing_zeros() as usize)?;
            starts &= starts - 1;
        }
        if ends != 0 {
            return Ok(at + ends.trailing_zeros() as usize + 1);
        }
        at += BLOCK_BYTES;
    }
    short_end(bytes, at + usize::from(is_begun))
}

/// The same for what is left of a text and fills no block.
fn short_end(bytes: &[u8], mut at: usize) -> Result<usize, JsonError> {
    loop {
        match bytes.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => {
                check_escape(bytes, at)?;
                at += 2;
            }
            Some(_) => at += 1,
            None => return Err(unended(bytes)),
        }
    }
}

/// Which backslashes begin an escape: those that are not themselves what another one escapes.
#[inline]
fn starts_of_escapes(mut backslashes: u64) -> u64 {
    let mut starts = 0;
    while backslashes != 0 {
        let first = backslashes & backslashes.wrapping_neg();
        starts |= first;
        backslashes &= !(first | first << 1);
    }
    starts
}

/// Checks the escape whose backslash is at `at`.
#[inline]
fn check_escape(bytes: &[u8], at: usize) -> Result<(), JsonError> {
    let is_good = match bytes.get(at..).and_then(|rest| rest.first_chunk::<ESCAPE_BYTES_MAX>()) {
        // Without a branch on the kind, which nothing foretells.
        Some([_, kind, digits @ ..]) => {
            let kind = CLASSES[usize::from(*kind)];
            let digits = digits.iter().fold(HEX_DIGIT, |all, digit| all & CLASSES[usize::from(*digit)]);
            (kind & SIMPLE) | (kind & UNICODE & (digits >> 1)) != 0
        }
        None => bytes.get(at + 1).is_some_and(|kind| CLASSES[usize::from(*kind)] & SIMPLE != 0),
    };
    if is_good { Ok(()) } else { Err(JsonError { at, expected: "an escape" }) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same, a byte at a time.
    fn end_by_bytes(bytes: &[u8], mut at: usize) -> Result<usize, JsonError> {
        loop {
            match (bytes.get(at), bytes.get(at + 1)) {
                (Some(b'"'), _) => return Ok(at + 1),
                (Some(b'\\'), Some(b'u'))
                    if bytes
                        .get(at + 2..at + 6)
                        .is_some_and(|digits| digits.is_ascii() && digits.iter().all(u8::is_ascii_hexdigit)) =>
                {
                    at += 6
                }
                (Some(b'\\'), Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't')) => at += 2,
                (Some(b'\\'), _) => return Err(JsonError { at, expected: "an escape" }),
                (Some(_), _) => at += 1,
                (None, _) => return Err(unended(bytes)),
            }
        }
    }

    fn piece() -> impl Strategy<Value = &'static str> {
        prop_oneof![
            8 => Just("\\u001f"),
            8 => Just("\\\""),
            8 => Just("\\\\"),
            4 => Just("\\n"),
            8 => Just("x"),
            4 => Just("plain text of some length, é, "),
            1 => Just("\\"),
            1 => Just("\\u12g4"),
            1 => Just("\\u"),
            1 => Just("\""),
        ]
    }

    proptest! {
        #[test]
        fn strings_end_where_they_do_byte_by_byte(pieces in proptest::collection::vec(piece(), 0..200), has_end: bool) {
            let mut text = pieces.concat();
            if has_end {
                text.push_str("\" and more");
            }
            let expected = end_by_bytes(text.as_bytes(), 0);
            prop_assert_eq!(checked_end(text.as_bytes(), 0), expected);
            if expected.is_ok() {
                prop_assert_eq!(known_end(text.as_bytes(), 0), expected);
            }
        }
    }
}
