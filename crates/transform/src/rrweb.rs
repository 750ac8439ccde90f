//! Writes what rrweb's own player takes: a JSON array of events, as they are or each as a string of rrweb's packer.

use std::collections::BTreeSet;
use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use reelcase_format::json::member;

use crate::stream::{Event, Header, LeftOut, WriteError, WriteEvents, Written};

/// Windows that are told apart when it is counted how many there are.
const WINDOWS_COUNTED_MAX: usize = 1_000;

/// What rrweb's packer puts into an event, and its unpacker wants to find there.
const PACKED_MARK: &[u8] = br#","v":"v1"}"#;

/// How an event stands in the array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RrwebForm {
    /// As it is.
    Plain,
    /// Marked, compressed with zlib, and a string of one character per byte.
    Packed,
}

/// Writes one array. Events keep their bytes; which window they are of has no place in it.
pub struct RrwebSink<W> {
    out: W,
    form: RrwebForm,
    event_count: u64,
    windows: BTreeSet<String>,
}

impl<W: Write> RrwebSink<W> {
    /// Writes to `out`, front to back.
    pub fn new(out: W, form: RrwebForm) -> Self {
        Self { out, form, event_count: 0, windows: BTreeSet::new() }
    }
}

impl<W: Write> WriteEvents for RrwebSink<W> {
    type Written = Written;

    fn push(&mut self, _: &Header, event: &Event<'_>) -> Result<(), WriteError> {
        if !self.windows.contains(event.window) && self.windows.len() < WINDOWS_COUNTED_MAX {
            self.windows.insert(event.window.to_owned());
        }
        self.out.write_all(if self.event_count == 0 { b"[" } else { b",\n" })?;
        self.event_count += 1;
        match self.form {
            RrwebForm::Plain => self.out.write_all(event.json)?,
            RrwebForm::Packed => self.out.write_all(&packed(event.json)?)?,
        }
        Ok(())
    }

    fn finish(mut self, _: &Header) -> Result<Written, WriteError> {
        self.out.write_all(if self.event_count == 0 { b"[]\n" } else { b"]\n" })?;
        self.out.flush()?;
        let mut written = Written::default();
        if self.windows.len() > 1 {
            let several = "windows: their events follow each other, and none says which of them it is of";
            written.left_out.extend(LeftOut::of(self.windows.len() as u64, "window", several));
        }
        Ok(written)
    }
}

/// What rrweb's packer makes of an event, as a JSON string.
fn packed(event: &[u8]) -> Result<Vec<u8>, WriteError> {
    let mut zlib = ZlibEncoder::new(Vec::with_capacity(event.len() / 4), Compression::default());
    match event.strip_suffix(b"}") {
        Some(open) if member(event, "v").is_none() => {
            zlib.write_all(open)?;
            zlib.write_all(PACKED_MARK)?;
        }
        _ => zlib.write_all(event)?,
    }
    let bytes = zlib.finish()?;
    let mut string = Vec::with_capacity(bytes.len() * 2);
    string.push(b'"');
    for byte in bytes {
        match byte {
            b'"' | b'\\' => string.extend_from_slice(&[b'\\', byte]),
            0..0x20 => string.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => string.extend_from_slice(char::from(byte).encode_utf8(&mut [0; 2]).as_bytes()),
        }
    }
    string.push(b'"');
    Ok(string)
}
