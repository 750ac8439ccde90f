//! UTF-16 as UTF-8. A lone surrogate, which JavaScript's strings may hold, becomes the escape that JSON has for it.

use std::io::{self, BufReader, Read};

/// How many bytes are decoded at a time.
const DECODED_BYTES: usize = 16 << 10;

/// Decodes a stream that begins with its byte order mark.
pub(super) struct Utf16<R> {
    source: BufReader<R>,
    is_big_endian: bool,
    has_begun: bool,
    /// What is left of the source's last bytes: half a unit, and a first surrogate before it.
    half: Option<u8>,
    first_surrogate: Option<u16>,
    out: Vec<u8>,
    given: usize,
}

impl<R: Read> Utf16<R> {
    pub(super) fn new(source: R, is_big_endian: bool) -> Self {
        let (source, out) = (BufReader::new(source), Vec::new());
        Self { source, is_big_endian, has_begun: false, half: None, first_surrogate: None, out, given: 0 }
    }

    /// Decodes some more. `false` at the end.
    fn fill(&mut self) -> io::Result<bool> {
        self.out.clear();
        self.given = 0;
        let mut bytes = Vec::with_capacity(DECODED_BYTES + 1);
        bytes.extend(self.half.take());
        self.source.by_ref().take(DECODED_BYTES as u64).read_to_end(&mut bytes)?;
        let (units, rest) = bytes.as_chunks::<2>();
        self.half = rest.first().copied();
        for unit in units {
            let unit = if self.is_big_endian { u16::from_be_bytes(*unit) } else { u16::from_le_bytes(*unit) };
            if std::mem::replace(&mut self.has_begun, true) {
                self.push(unit);
            }
        }
        let is_end = units.is_empty();
        if is_end {
            self.flush_surrogate();
        }
        Ok(!is_end || !self.out.is_empty())
    }

    fn push(&mut self, unit: u16) {
        if let Some(first) = self.first_surrogate
            && let Some(Ok(char)) = char::decode_utf16([first, unit]).next()
        {
            self.first_surrogate = None;
            return self.push_char(char);
        }
        self.flush_surrogate();
        match char::from_u32(unit.into()) {
            Some(char) => self.push_char(char),
            None if unit < 0xdc00 => self.first_surrogate = Some(unit),
            None => self.push_escape(unit),
        }
    }

    fn push_char(&mut self, char: char) {
        self.out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
    }

    fn push_escape(&mut self, unit: u16) {
        self.out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
    }

    fn flush_surrogate(&mut self) {
        if let Some(first) = self.first_surrogate.take() {
            self.push_escape(first);
        }
    }
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.given == self.out.len() {
            if !self.fill()? {
                return Ok(0);
            }
        }
        let bytes = out.len().min(self.out.len() - self.given);
        out[..bytes].copy_from_slice(&self.out[self.given..self.given + bytes]);
        self.given += bytes;
        Ok(bytes)
    }
}
