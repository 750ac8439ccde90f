//! Rows of ClickHouse in its format `JSON`: `{"meta":[…],"data":[{…},{…}],"rows":2}`.

use std::io::Read;

use reelcase_format::json::JsonError;
use serde_json::{Map, Value};

use super::input::{Input, InputError};

/// Longest row that is taken, in bytes.
const ROW_BYTES_MAX: usize = 8 << 20;

/// Levels of nested arrays and objects in a row.
const NESTING_MAX: usize = 64;

/// Reads one row after the other, and holds no more than one.
pub(crate) struct Rows<'a> {
    input: Input<'a>,
    is_within: bool,
    has_begun: bool,
    is_over: bool,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(source: impl Read + 'a) -> Self {
        let input = Input::new(Box::new(source), ROW_BYTES_MAX, NESTING_MAX);
        Self { input, is_within: false, has_begun: false, is_over: false }
    }

    /// The next row. `None` at the end. Fails, once, with the place and what is wrong there.
    pub(crate) fn next_row(&mut self) -> Result<Option<Map<String, Value>>, String> {
        if self.is_over {
            return Ok(None);
        }
        let row = self.step();
        self.is_over = !matches!(row, Ok(Some(_)));
        row.map_err(|error| {
            let (at, what) = match error {
                InputError::TooLarge => (0, format!("more than {ROW_BYTES_MAX} bytes in one row")),
                InputError::Json(JsonError { at, expected }) => (at, format!("expected {expected}")),
            };
            let what = self.input.failure.take().unwrap_or(what);
            format!("byte {}: {what}", self.input.at() + at as u64)
        })
    }

    fn step(&mut self) -> Result<Option<Map<String, Value>>, InputError> {
        if !self.is_within && !self.enter()? {
            return Ok(None);
        }
        match self.input.next_byte(0)?.1 {
            Some(b']') => return Ok(None),
            Some(b',') if self.has_begun => self.input.pass(1),
            Some(_) if !self.has_begun => {}
            _ => return Err(expected("a comma or the end of the array")),
        }
        self.has_begun = true;
        self.input.next_byte(0)?;
        let end = self.input.value_end(0)?;
        let row = serde_json::from_slice(&self.input.rest()[..end]).map_err(|_| expected("a row"))?;
        self.input.pass(end);
        Ok(Some(row))
    }

    /// Steps to the first row. `false` where there is no list of them.
    fn enter(&mut self) -> Result<bool, InputError> {
        self.take(b'{', "an object")?;
        loop {
            match self.input.next_byte(0)?.1 {
                Some(b'}') => return Ok(false),
                Some(b',') => self.input.pass(1),
                _ => {}
            }
            self.input.next_byte(0)?;
            let key_end = self.input.value_end(0)?;
            let is_rows = &self.input.rest()[..key_end] == b"\"data\"";
            self.input.pass(key_end);
            self.take(b':', "a colon")?;
            if is_rows {
                self.take(b'[', "an array of rows")?;
                self.is_within = true;
                return Ok(true);
            }
            self.input.next_byte(0)?;
            let end = self.input.value_end(0)?;
            self.input.pass(end);
        }
    }

    fn take(&mut self, byte: u8, what: &'static str) -> Result<(), InputError> {
        if self.input.next_byte(0)?.1 != Some(byte) {
            return Err(expected(what));
        }
        self.input.pass(1);
        Ok(())
    }
}

fn expected(what: &'static str) -> InputError {
    InputError::Json(JsonError { at: 0, expected: what })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn names(text: &str) -> Result<Vec<String>, String> {
        let (mut rows, mut names) = (Rows::new(text.as_bytes()), Vec::new());
        while let Some(row) = rows.next_row()? {
            names.push(row["n"].as_str().unwrap().to_owned());
        }
        Ok(names)
    }

    #[test]
    fn rows_are_found_between_what_clickhouse_puts_around_them() {
        let rows = r#"{ "meta": [{"name":"n"}], "data": [ {"n":"a"}, {"n":"b"} ], "rows": 2 }"#;
        assert_eq!(names(rows).unwrap(), ["a", "b"]);
        assert_eq!(names(r#"{"data":[]}"#).unwrap(), [""; 0]);
        assert_eq!(names(r#"{"meta":[]}"#).unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_no_row_is_named_with_its_place() {
        let said = |text| names(text).unwrap_err();
        assert_eq!(said(r#"{"data":[{"n":"a"},7]}"#), "byte 19: expected a row");
        assert_eq!(said(r#"{"data":[{"n":"a"} {}]}"#), "byte 19: expected a comma or the end of the array");
        assert!(said(r#"{"data":[{"n":"a"},{"n":"#).starts_with("byte "));
        assert_eq!(said("[]"), "byte 0: expected an object");
        let long = format!(r#"{{"data":[{{"n":"{}"}}]}}"#, "x".repeat(2 * ROW_BYTES_MAX));
        assert_eq!(said(&long), "byte 9: more than 8388608 bytes in one row");
    }
}
