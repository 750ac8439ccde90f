//! A recording at rest: lines of `["window id",{event}]`, one rrweb event each, every line ended by a newline.
//!
//! The same text is what blocks hold, what a download is, and what the player reads.

use std::borrow::Cow;

use memchr::memchr;

use crate::json::{append_compact, append_string, skip_blanks, skip_value, text};

/// Appends one line. `event` is a checked JSON value; control characters in it are escaped, so it stays one line.
pub fn write_line(window: &str, event: &[u8], out: &mut Vec<u8>) {
    begin_line(window, out);
    append_compact(event, out);
    end_line(out);
}

/// Begins a line. The caller appends the event (without newlines) and calls [`end_line`], which saves a copy.
pub fn begin_line(window: &str, out: &mut Vec<u8>) {
    out.push(b'[');
    append_string(window, out);
    out.push(b',');
}

/// Ends the line that [`begin_line`] began.
pub fn end_line(out: &mut Vec<u8>) {
    out.extend_from_slice(b"]\n");
}

/// Splits a line, with or without its newline, into window id and raw event. `None` when it is no such line.
pub fn split_line(line: &[u8]) -> Option<(Cow<'_, str>, &[u8])> {
    let inner = line.trim_ascii().strip_prefix(b"[")?.strip_suffix(b"]")?;
    let window_start = skip_blanks(inner, 0);
    let window_end = skip_value(inner, window_start, 0).ok()?;
    let window = text(&inner[window_start..window_end])?;
    let event = inner[skip_blanks(inner, window_end)..].strip_prefix(b",")?.trim_ascii();
    if event.is_empty() { None } else { Some((window, event)) }
}

/// Iterates over the lines of a block's plain text, without their newlines. Empty lines are left out.
pub fn lines(plain: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = plain;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr(b'\n', rest).unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        Some(line)
    })
    .filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_splits_into_what_it_was_written_from() {
        let event = br#"{"type":4,"data":{"href":"a,]\""},"timestamp":1}"#;
        for window in ["01a1fbdb-5cf7", "", "odd \"\\\n window"] {
            let mut out = Vec::new();
            write_line(window, event, &mut out);
            assert_eq!(memchr(b'\n', &out), Some(out.len() - 1));
            assert_eq!(split_line(&out), Some((Cow::Borrowed(window), &event[..])));
        }
    }

    #[test]
    fn an_event_with_newlines_is_still_one_line() {
        let mut out = Vec::new();
        write_line("w", b"{\n\"a\":\"b\nc\"}", &mut out);
        assert_eq!(out, b"[\"w\",{\"a\":\"b\\nc\"}]\n");
    }

    #[test]
    fn other_text_is_no_line() {
        for line in [&b""[..], b"{}", b"[]", b"[1,{}]", b"[\"w\"]", b"[\"w\",]", b"[\"w\" {}]", b"[\"w"] {
            assert_eq!(split_line(line), None, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn the_last_newline_may_be_missing() {
        assert_eq!(lines(b"a\nb\n\nc").collect::<Vec<_>>(), [b"a", b"b", b"c"]);
        assert_eq!(lines(b"").count(), 0);
    }
}
