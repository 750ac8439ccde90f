//! Writes the session that Seeds' portable recorder saves: an object with its events, or that as a list of gzip's bytes.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::stream::{Event, Header, LeftOut, WriteError, WriteEvents, Written};

/// How the session is saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeedsForm {
    /// `{"sessionId", "events"}`.
    Plain,
    /// `{"compressed":true,"algorithm":"gzip","data":[31,139,…]}`.
    Compressed,
}

/// Writes one session. Windows have no place in it, but events that name theirs go on doing so.
pub struct SeedsSink<W: Write> {
    out: Out<W>,
    event_count: u64,
    first_window: Option<String>,
    other_window_count: u64,
}

enum Out<W: Write> {
    Plain(W),
    Compressed(Box<GzEncoder<Numbers<W>>>),
}

impl<W: Write> SeedsSink<W> {
    /// Writes to `out`, front to back.
    pub fn new(mut out: W, form: SeedsForm) -> io::Result<Self> {
        let out = match form {
            SeedsForm::Plain => Out::Plain(out),
            SeedsForm::Compressed => {
                out.write_all(br#"{"compressed":true,"algorithm":"gzip","data":["#)?;
                let numbers = Numbers { out, has_begun: false };
                Out::Compressed(Box::new(GzEncoder::new(numbers, Compression::default())))
            }
        };
        Ok(Self { out, event_count: 0, first_window: None, other_window_count: 0 })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.out {
            Out::Plain(out) => out.write_all(bytes),
            Out::Compressed(out) => out.write_all(bytes),
        }
    }

    fn begin(&mut self, header: &Header) -> io::Result<()> {
        let id = header.recording.as_ref().map_or("", |id| id.as_str());
        self.write(format!("{{\"sessionId\":{},\"events\":[", Value::from(id)).as_bytes())
    }
}

impl<W: Write> WriteEvents for SeedsSink<W> {
    type Written = Written;

    fn push(&mut self, header: &Header, event: &Event<'_>) -> Result<(), WriteError> {
        let first = self.first_window.get_or_insert_with(|| event.window.to_owned());
        self.other_window_count += u64::from(first != event.window);
        if self.event_count == 0 {
            self.begin(header)?;
        } else {
            self.write(b",\n")?;
        }
        self.event_count += 1;
        Ok(self.write(event.json)?)
    }

    fn finish(mut self, header: &Header) -> Result<Written, WriteError> {
        if self.event_count == 0 {
            self.begin(header)?;
        }
        self.write(b"]}")?;
        let mut out = match self.out {
            Out::Plain(out) => out,
            Out::Compressed(encoder) => {
                let mut out = encoder.finish()?.out;
                out.write_all(b"]}")?;
                out
            }
        };
        out.write_all(b"\n")?;
        out.flush()?;
        let one = "event of another window than the first: it does not say which it is of";
        let several = "events of other windows than the first: none says which it is of";
        let left_out = LeftOut::of(self.other_window_count, one, several).into_iter().collect();
        Ok(Written { left_out, ..Written::default() })
    }
}

/// Writes bytes as numbers with commas between them.
struct Numbers<W> {
    out: W,
    has_begun: bool,
}

impl<W: Write> Write for Numbers<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut text = Vec::with_capacity(bytes.len() * 4);
        for byte in bytes {
            if std::mem::replace(&mut self.has_begun, true) {
                text.push(b',');
            }
            push_number(&mut text, *byte);
        }
        self.out.write_all(&text)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Writes a number as digits, some nanoseconds each: there is one for each byte of a file.
fn push_number(text: &mut Vec<u8>, number: u8) {
    if number >= 100 {
        text.push(b'0' + number / 100);
    }
    if number >= 10 {
        text.push(b'0' + number / 10 % 10);
    }
    text.push(b'0' + number % 10);
}

#[cfg(test)]
mod tests {
    use super::push_number;

    #[test]
    fn all_bytes_are_written_as_the_numbers_they_are() {
        for number in 0..=u8::MAX {
            let mut text = Vec::new();
            push_number(&mut text, number);
            assert_eq!(text, number.to_string().into_bytes());
        }
    }
}
