//! Writes JSON Lines, `["window id",{event}]`, which is what blocks hold.

use std::io::{self, Write};

use reelcase_format::line::write_line;

use crate::packed::{Compression, Packed};
use crate::stream::{Event, Header, WriteError, WriteEvents, Written};

/// Writes one event a line.
pub struct JsonlSink<W: Write> {
    out: Packed<W>,
    line: Vec<u8>,
}

impl<W: Write> JsonlSink<W> {
    /// Writes to `out`, front to back.
    pub fn new(out: W, compression: Compression) -> io::Result<Self> {
        Ok(Self { out: Packed::new(out, compression)?, line: Vec::new() })
    }
}

impl<W: Write> WriteEvents for JsonlSink<W> {
    type Written = Written;

    fn push(&mut self, _: &Header, event: &Event<'_>) -> Result<(), WriteError> {
        self.line.clear();
        write_line(event.window, event.json, &mut self.line);
        Ok(self.out.write_all(&self.line)?)
    }

    fn finish(self, _: &Header) -> Result<Written, WriteError> {
        self.out.finish()?;
        Ok(Written::default())
    }
}
