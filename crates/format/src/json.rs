//! JSON as bytes: finds where values begin and end, and leaves them alone.
//!
//! Recordings hold what pages hold: cut emoji that leave a lone surrogate escape, bytes that are not UTF-8, numbers no
//! `f64` can carry. A parser that builds values refuses or changes these; this one checks the grammar and hands out
//! slices, so that what a client sent is what is kept. It never recurses, so depth costs a bit and not a stack frame.
//!
//! Two things are taken that the grammar forbids: strings may hold invalid UTF-8, and raw control characters. The latter
//! would split a line or stop a browser's parser, so [`append_compact`] escapes them on the way out.

use std::borrow::Cow;

use memchr::memchr;

mod chunk;
mod nest;
mod string;
mod text;

use nest::Nest;
use string::{checked_end, known_end};
pub(crate) use text::has_controls;
pub use text::{append_compact, append_string, latin1, text};

/// Text that is not JSON, or is nested too deeply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not JSON at byte {at}: expected {expected}")]
pub struct JsonError {
    /// Offset, in bytes, at which the expectation failed.
    pub at: usize,
    /// What could have stood there.
    pub expected: &'static str,
}

/// The name of an object's member, unescaped. Invalid UTF-8 is kept.
pub type Key<'a> = Cow<'a, [u8]>;

/// Bytes of the byte order mark that some senders put before their JSON.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Returns the text without the byte order mark it may begin with.
pub fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}

/// Checks the value that begins at `at` (after blanks) and returns the offset just behind it.
///
/// # Errors
///
/// When the bytes are not a JSON value, or arrays and objects nest deeper than `nesting_max`.
pub fn skip_value(bytes: &[u8], at: usize, nesting_max: usize) -> Result<usize, JsonError> {
    skip::<CHECKING>(bytes, at, nesting_max)
}

/// Returns the offset just behind the value that begins at `at`, in text that [`skip_value`] has checked before.
///
/// Most of a string is passed over without a look, which is several times as fast. Of other text the result means
/// nothing, though it is never out of bounds.
///
/// # Errors
///
/// When no value ends before the text does.
pub fn skip_known(bytes: &[u8], at: usize) -> Result<usize, JsonError> {
    skip::<KNOWN>(bytes, at, usize::MAX)
}

/// Whether strings are looked into: they are to be checked, or are known to be as they should.
type Mode = bool;
const CHECKING: Mode = true;
const KNOWN: Mode = false;

fn skip<const MODE: Mode>(bytes: &[u8], at: usize, nesting_max: usize) -> Result<usize, JsonError> {
    let mut open = Nest::default();
    let mut at = at;
    loop {
        at = skip_blanks(bytes, at);
        match bytes.get(at) {
            Some(b'"') => at = string_end::<MODE>(bytes, at)?,
            Some(b'-' | b'0'..=b'9') => at = number_end(bytes, at)?,
            Some(b'{') => {
                let first = skip_blanks(bytes, at + 1);
                let is_empty = bytes.get(first) == Some(&b'}');
                open_level(&mut open, true, at, nesting_max)?;
                if !is_empty {
                    at = skip_key::<MODE>(bytes, first)?;
                    continue;
                }
                at = first;
            }
            Some(b'[') => {
                let first = skip_blanks(bytes, at + 1);
                open_level(&mut open, false, at, nesting_max)?;
                at = first;
                if bytes.get(first) != Some(&b']') {
                    continue;
                }
            }
            Some(b't') => at = skip_word(bytes, at, b"true")?,
            Some(b'f') => at = skip_word(bytes, at, b"false")?,
            Some(b'n') => at = skip_word(bytes, at, b"null")?,
            _ => return Err(JsonError { at, expected: "a value" }),
        }
        match close_levels::<MODE>(bytes, at, &mut open)? {
            Closed::All(end) => return Ok(end),
            Closed::Until(next) => at = next,
        }
    }
}

/// Where the values that ended at one offset leave the reader.
enum Closed {
    /// Behind the outermost value.
    All(usize),
    /// Before another value of a container that is still open.
    Until(usize),
}

/// Closes every container that ends at `at`, and steps over the comma to the next value if one is still open.
fn close_levels<const MODE: Mode>(bytes: &[u8], mut at: usize, open: &mut Nest) -> Result<Closed, JsonError> {
    while let Some(is_object) = open.innermost() {
        at = skip_blanks(bytes, at);
        match (bytes.get(at), is_object) {
            (Some(b','), true) => {
                return Ok(Closed::Until(skip_key::<MODE>(bytes, skip_blanks(bytes, at + 1))?));
            }
            (Some(b','), false) => return Ok(Closed::Until(at + 1)),
            (Some(b'}'), true) | (Some(b']'), false) => open.close(),
            (_, true) => return Err(JsonError { at, expected: "a comma or the end of the object" }),
            (_, false) => return Err(JsonError { at, expected: "a comma or the end of the array" }),
        }
        at += 1;
    }
    Ok(Closed::All(at))
}

fn open_level(open: &mut Nest, is_object: bool, at: usize, nesting_max: usize) -> Result<(), JsonError> {
    if open.depth() >= nesting_max {
        return Err(JsonError { at, expected: "less nesting" });
    }
    open.open(is_object);
    Ok(())
}

/// Steps over a member's name and its colon.
fn skip_key<const MODE: Mode>(bytes: &[u8], at: usize) -> Result<usize, JsonError> {
    if bytes.get(at) != Some(&b'"') {
        return Err(JsonError { at, expected: "a member name" });
    }
    skip_colon(bytes, string_end::<MODE>(bytes, at)?)
}

/// Returns the offset behind the string whose opening quote is at `at`.
#[inline]
fn string_end<const MODE: Mode>(bytes: &[u8], at: usize) -> Result<usize, JsonError> {
    if MODE == CHECKING { checked_end(bytes, at + 1) } else { known_end(bytes, at + 1) }
}

fn skip_colon(bytes: &[u8], at: usize) -> Result<usize, JsonError> {
    let at = skip_blanks(bytes, at);
    if bytes.get(at) == Some(&b':') { Ok(at + 1) } else { Err(JsonError { at, expected: "a colon" }) }
}

fn skip_word(bytes: &[u8], at: usize, word: &[u8]) -> Result<usize, JsonError> {
    if bytes[at..].starts_with(word) { Ok(at + word.len()) } else { Err(JsonError { at, expected: "a value" }) }
}

/// Returns the offset of the first byte at or after `at` that is no blank.
#[inline]
pub fn skip_blanks(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

fn number_end(bytes: &[u8], at: usize) -> Result<usize, JsonError> {
    let mut end = at + usize::from(bytes[at] == b'-');
    end = if bytes.get(end) == Some(&b'0') { end + 1 } else { digits_end(bytes, end)? };
    if bytes.get(end) == Some(&b'.') {
        end = digits_end(bytes, end + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(end) {
        end += 1;
        if let Some(b'+' | b'-') = bytes.get(end) {
            end += 1;
        }
        end = digits_end(bytes, end)?;
    }
    Ok(end)
}

fn digits_end(bytes: &[u8], at: usize) -> Result<usize, JsonError> {
    let mut end = at;
    while bytes.get(end).is_some_and(u8::is_ascii_digit) {
        end += 1;
    }
    if end == at { Err(JsonError { at, expected: "a digit" }) } else { Ok(end) }
}

/// Walks JSON from front to back, once. The caller enters the containers it knows and steps over all else.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    nesting_max: usize,
    mode: Mode,
}

impl<'a> Cursor<'a> {
    /// Stands before the first value of `bytes`.
    pub fn new(bytes: &'a [u8], nesting_max: usize) -> Self {
        Self { bytes, at: 0, depth: 0, nesting_max, mode: CHECKING }
    }

    /// Does as [`Cursor::new`] for text that was checked before, and looks into no string again; see [`skip_known`].
    pub fn known(bytes: &'a [u8]) -> Self {
        Self { mode: KNOWN, ..Self::new(bytes, usize::MAX) }
    }

    /// Offset, in bytes, of what comes next.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The text between two offsets of this cursor.
    pub fn slice(&self, from: usize, to: usize) -> &'a [u8] {
        &self.bytes[from..to]
    }

    /// Steps over blanks and returns the first byte of what comes next. `None` at the end.
    pub fn peek(&mut self) -> Option<u8> {
        self.at = skip_blanks(self.bytes, self.at);
        self.bytes.get(self.at).copied()
    }

    /// Steps over one value, checks it, and returns its text.
    pub fn value(&mut self) -> Result<&'a [u8], JsonError> {
        let start = skip_blanks(self.bytes, self.at);
        self.at = match self.mode {
            CHECKING => skip_value(self.bytes, start, self.nesting_max.saturating_sub(self.depth))?,
            KNOWN => skip_known(self.bytes, start)?,
        };
        Ok(&self.bytes[start..self.at])
    }

    /// Enters an object and calls `visit` before each member's value. A value that `visit` leaves alone is stepped over.
    pub fn object<E: From<JsonError>>(
        &mut self,
        mut visit: impl FnMut(&mut Self, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.enter(b'{', "an object")?;
        let mut is_first = true;
        while let Some(key) = self.next_key(is_first)? {
            is_first = false;
            self.visit_value(|cursor| visit(cursor, &key))?;
        }
        Ok(())
    }

    /// Enters an array and calls `visit` before each element. An element that `visit` leaves alone is stepped over.
    pub fn array<E: From<JsonError>>(&mut self, mut visit: impl FnMut(&mut Self) -> Result<(), E>) -> Result<(), E> {
        self.enter(b'[', "an array")?;
        let mut is_first = true;
        while self.next_element(is_first)? {
            is_first = false;
            self.visit_value(&mut visit)?;
        }
        Ok(())
    }

    /// Checks that nothing but blanks is left.
    pub fn end(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(JsonError { at: self.at, expected: "the end" }),
        }
    }

    fn visit_value<E: From<JsonError>>(&mut self, visit: impl FnOnce(&mut Self) -> Result<(), E>) -> Result<(), E> {
        let before = self.at;
        visit(self)?;
        // Peeking moves over blanks, so the offset alone does not tell whether a value was read.
        if skip_blanks(self.bytes, before) >= self.at {
            self.value()?;
        }
        Ok(())
    }

    fn enter(&mut self, open: u8, expected: &'static str) -> Result<(), JsonError> {
        if self.peek() != Some(open) {
            return Err(JsonError { at: self.at, expected });
        }
        if self.depth >= self.nesting_max {
            return Err(JsonError { at: self.at, expected: "less nesting" });
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    fn next_key(&mut self, is_first: bool) -> Result<Option<Key<'a>>, JsonError> {
        if !self.next_in(b'}', is_first, "a comma or the end of the object")? {
            return Ok(None);
        }
        if self.peek() != Some(b'"') {
            return Err(JsonError { at: self.at, expected: "a member name" });
        }
        let end = match self.mode {
            CHECKING => string_end::<CHECKING>(self.bytes, self.at)?,
            KNOWN => string_end::<KNOWN>(self.bytes, self.at)?,
        };
        let inner = &self.bytes[self.at + 1..end - 1];
        self.at = skip_colon(self.bytes, end)?;
        let has_escapes = memchr(b'\\', inner).is_some();
        Ok(Some(if has_escapes { Cow::Owned(text::unescape(inner)) } else { Cow::Borrowed(inner) }))
    }

    fn next_element(&mut self, is_first: bool) -> Result<bool, JsonError> {
        self.next_in(b']', is_first, "a comma or the end of the array")
    }

    /// Steps to the next member or element, or over the end of the container.
    fn next_in(&mut self, close: u8, is_first: bool, expected: &'static str) -> Result<bool, JsonError> {
        match self.peek() {
            Some(byte) if byte == close => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            Some(_) if is_first => Ok(true),
            // What follows the comma is checked by whoever reads it: neither a name nor a value begins with a bracket
            // that closes.
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            _ => Err(JsonError { at: self.at, expected }),
        }
    }
}

/// Iterates over the members of an object: name and raw value. Ends at the first byte that is not as it should be, and
/// at once if `raw` is no object; of JSON that was checked before, it misses nothing.
pub fn members(raw: &[u8]) -> Members<'_> {
    let mut cursor = Cursor::new(raw, usize::MAX);
    let is_over = cursor.enter(b'{', "an object").is_err();
    Members { cursor, is_first: true, is_over }
}

/// Iterates over the raw elements of an array, with the leniency of [`members`].
pub fn elements(raw: &[u8]) -> Elements<'_> {
    let mut cursor = Cursor::new(raw, usize::MAX);
    let is_over = cursor.enter(b'[', "an array").is_err();
    Elements { cursor, is_first: true, is_over }
}

/// Returns the raw value of the member with this name, the last one if there are several.
pub fn member<'a>(raw: &'a [u8], name: &str) -> Option<&'a [u8]> {
    members(raw).filter(|(key, _)| key.as_ref() == name.as_bytes()).last().map(|(_, value)| value)
}

/// Reads a raw number. `None` for any other value.
pub fn number(raw: &[u8]) -> Option<f64> {
    let is_number = matches!(raw.first(), Some(b'-' | b'0'..=b'9'));
    if is_number { std::str::from_utf8(raw).ok()?.parse().ok() } else { None }
}

/// See [`members`].
#[derive(Debug, Clone)]
pub struct Members<'a> {
    cursor: Cursor<'a>,
    is_first: bool,
    is_over: bool,
}

impl<'a> Iterator for Members<'a> {
    type Item = (Key<'a>, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let key = self.cursor.next_key(self.is_first).ok().flatten();
        self.is_first = false;
        let member = key.and_then(|key| Some((key, self.cursor.value().ok()?)));
        self.is_over = member.is_none();
        member
    }
}

/// See [`elements`].
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    cursor: Cursor<'a>,
    is_first: bool,
    is_over: bool,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let has_next = self.cursor.next_element(self.is_first).unwrap_or(false);
        self.is_first = false;
        let element = if has_next { self.cursor.value().ok() } else { None };
        self.is_over = element.is_none();
        element
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &[u8]) -> Result<usize, JsonError> {
        skip_value(json, 0, 8)
    }

    #[test]
    fn values_end_where_they_end() {
        for json in [
            "null",
            "true",
            "false",
            "0",
            "-0",
            "12.5e-3",
            "1E+9",
            "\"\"",
            "\"a\\\"b\\u00e9\"",
            "[]",
            "{}",
            "[ ]",
            "{ }",
            "[1,[2,{\"a\":[]}],\"x\"]",
            "{\"a\":1, \"b\" : {\"c\":null}}",
            "[{},{},[]]",
            "\"long enough to be searched for\"",
        ] {
            assert_eq!(check(json.as_bytes()), Ok(json.len()), "{json}");
            assert_eq!(check(format!(" {json} ,").as_bytes()), Ok(json.len() + 1), "{json}");
        }
    }

    #[test]
    fn errors_say_where_and_what() {
        for (json, at, expected) in [
            ("", 0, "a value"),
            ("[1,]", 3, "a value"),
            ("[1 2]", 3, "a comma or the end of the array"),
            ("[1}", 2, "a comma or the end of the array"),
            ("{\"a\":1]", 6, "a comma or the end of the object"),
            ("{\"a\" 1}", 5, "a colon"),
            ("{\"a\":1,}", 7, "a member name"),
            ("{a:1}", 1, "a member name"),
            ("-", 1, "a digit"),
            ("1.", 2, "a digit"),
            ("1e", 2, "a digit"),
            ("nul", 0, "a value"),
            ("\"abc", 4, "the end of a string"),
            ("\"\\", 1, "an escape"),
            ("\"\\x\"", 1, "an escape"),
            ("\"\\u12g4\"", 1, "an escape"),
        ] {
            assert_eq!(check(json.as_bytes()), Err(JsonError { at, expected }), "{json}");
        }
    }

    #[test]
    fn nesting_stops_at_its_limit() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(check(nested(8).as_bytes()), Ok(16));
        assert_eq!(check(nested(9).as_bytes()), Err(JsonError { at: 8, expected: "less nesting" }));
        let deep = nested(100_000);
        assert_eq!(skip_value(deep.as_bytes(), 0, 100_000), Ok(deep.len()));
        let mixed = format!("{}1{}", "{\"a\":[".repeat(500), "]}".repeat(500));
        assert_eq!(skip_value(mixed.as_bytes(), 0, 1_000), Ok(mixed.len()));
        assert!(skip_value(mixed.as_bytes(), 0, 999).is_err());
    }

    #[test]
    fn a_cursor_counts_nesting_from_the_outside() {
        let walk = |nesting_max| {
            let mut cursor = Cursor::new(b"[[[1]]]", nesting_max);
            cursor.array::<JsonError>(|cursor| cursor.array::<JsonError>(|_| Ok(())))
        };
        assert_eq!(walk(3), Ok(()));
        assert_eq!(walk(2), Err(JsonError { at: 2, expected: "less nesting" }));
    }

    #[test]
    fn odd_text_is_accepted_as_it_is() {
        for json in [&b"\"\xff\xfe\""[..], b"\"\\ud83d\"", b"\"\n\t\0\"", b"\"\\udc00\\ud800\""] {
            assert_eq!(check(json), Ok(json.len()));
        }
    }

    #[test]
    fn members_and_elements_are_raw() {
        let object = b" { \"a\\u0062\" : [1, 2] , \"c\":\"d\" } ";
        let found: Vec<_> = members(object).collect();
        assert_eq!(found, [(Cow::Borrowed(&b"ab"[..]), &b"[1, 2]"[..]), (Cow::Borrowed(b"c"), b"\"d\"")]);
        assert_eq!(elements(b"[ 1 ,{\"a\":2},[] ]").collect::<Vec<_>>(), [&b"1"[..], b"{\"a\":2}", b"[]"]);
        assert_eq!(
            elements(b"[]").count() + elements(b"{}").count() + members(b"{}").count() + members(b"7").count(),
            0
        );
        assert_eq!(elements(b"[1,2,oops").count(), 2);
        assert_eq!(member(b"{\"a\":1,\"a\":2}", "a"), Some(&b"2"[..]));
        assert_eq!((number(b"1.5e1"), number(b"\"1\""), number(b"null")), (Some(15.0), None, None));
    }

    #[test]
    fn a_cursor_steps_over_what_is_left_alone() {
        let mut cursor = Cursor::new(b"{\"skip\": [1,{}], \"peeked\":  2, \"take\": 3} x", 9);
        let mut taken = None;
        let walked = cursor.object::<JsonError>(|cursor, key| {
            match key {
                b"peeked" => assert_eq!(cursor.peek(), Some(b'2')),
                b"take" => taken = Some(cursor.value()?),
                _ => {}
            }
            Ok(())
        });
        assert_eq!((walked, taken), (Ok(()), Some(&b"3"[..])));
        assert_eq!(cursor.end(), Err(JsonError { at: 42, expected: "the end" }));
    }
}
