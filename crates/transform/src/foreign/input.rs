//! A window over a stream of JSON: as much as the value that is being read, and no more.

use std::io::Read;

use memchr::memchr;
use reelcase_format::json::{JsonError, skip_value};

use super::unpack::Source;

/// What is read at a time, where the value at hand is no larger.
const READ_BYTES: usize = 64 << 10;

/// An error this close to the end of what has been read may only mean that the rest was not read yet: the longest
/// thing that is reported by its beginning is an escape.
const EDGE_BYTES: usize = 16;

/// Why a value could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InputError {
    /// It is not JSON. The offset counts from [`Input::at`].
    Json(JsonError),
    /// It is longer than allowed.
    TooLarge,
}

impl From<JsonError> for InputError {
    fn from(error: JsonError) -> Self {
        Self::Json(error)
    }
}

/// See the module. Places in it are counted from where it stands, [`at`](Input::at).
pub(super) struct Input<'a> {
    source: Source<'a>,
    buffer: Vec<u8>,
    /// Where it stands in the buffer.
    start: usize,
    /// Bytes that have left the buffer.
    gone_bytes: u64,
    is_over: bool,
    value_bytes_max: usize,
    nesting_max: usize,
    /// Why the source ended early, where it did.
    pub(super) failure: Option<String>,
}

impl<'a> Input<'a> {
    pub(super) fn new(source: Source<'a>, value_bytes_max: usize, nesting_max: usize) -> Self {
        let (buffer, failure) = (Vec::new(), None);
        Self { source, buffer, start: 0, gone_bytes: 0, is_over: false, value_bytes_max, nesting_max, failure }
    }

    /// Offset in bytes, from the beginning of the stream, of what comes next.
    pub(super) fn at(&self) -> u64 {
        self.gone_bytes + self.start as u64
    }

    /// What has been read and not been passed.
    pub(super) fn rest(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Whether the stream ends at this place.
    pub(super) fn is_end(&self, at: usize) -> bool {
        self.is_over && at >= self.rest().len()
    }

    /// Passes `bytes` bytes of the rest.
    pub(super) fn pass(&mut self, bytes: usize) {
        self.start = (self.start + bytes).min(self.buffer.len());
    }

    /// The place of the first byte at or after `from` that is no blank, and the byte. `None` at the end.
    pub(super) fn next_byte(&mut self, from: usize) -> Result<(usize, Option<u8>), InputError> {
        let mut at = from;
        loop {
            match self.rest().get(at).copied() {
                Some(b' ' | b'\n' | b'\r' | b'\t') if from == 0 => self.pass(1),
                Some(b' ' | b'\n' | b'\r' | b'\t') => at += 1,
                Some(byte) => return Ok((at, Some(byte))),
                None if self.fill()? => {}
                None => return Ok((at, None)),
            }
        }
    }

    /// The place behind the value that begins at `from`.
    pub(super) fn value_end(&mut self, from: usize) -> Result<usize, InputError> {
        loop {
            let read_bytes = self.rest().len();
            match skip_value(self.rest(), from, self.nesting_max) {
                // At the edge more digits may follow.
                Ok(end) if end < read_bytes || self.is_over => return Ok(end),
                Err(error) if error.at + EDGE_BYTES < read_bytes || self.is_over => return Err(error.into()),
                _ => self.fill()?,
            };
        }
    }

    /// The place of the next newline, if there is one within what a value may take.
    pub(super) fn line_end(&mut self) -> Result<Option<usize>, InputError> {
        let mut from = 0;
        loop {
            if let Some(found) = memchr(b'\n', &self.rest()[from..]) {
                return Ok(Some(from + found));
            }
            from = self.rest().len();
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Reads all that is left, for what has to be decoded at once.
    pub(super) fn read_rest(&mut self) -> Result<&[u8], InputError> {
        while self.fill()? {}
        Ok(self.rest())
    }

    /// Reads more. `false` at the end.
    fn fill(&mut self) -> Result<bool, InputError> {
        if self.is_over {
            return Ok(false);
        }
        let held_bytes = self.buffer.len() - self.start;
        if held_bytes > self.value_bytes_max {
            return Err(InputError::TooLarge);
        }
        self.buffer.drain(..self.start);
        self.gone_bytes += self.start as u64;
        self.start = 0;
        // As much again as is held, so that a large value is looked at a few times and not once per read.
        let wanted_bytes = held_bytes.max(READ_BYTES) as u64;
        match self.source.by_ref().take(wanted_bytes).read_to_end(&mut self.buffer) {
            Ok(read_bytes) => self.is_over = read_bytes == 0,
            Err(error) => {
                self.is_over = true;
                self.failure = Some(error.to_string());
            }
        }
        Ok(self.buffer.len() > held_bytes)
    }
}
