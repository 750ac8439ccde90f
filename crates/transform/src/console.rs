//! Writes what a page said on its console, one message a line: JSON Lines, or CSV for spreadsheets.

use std::io::Write;

use reelcase_format::event::{EventHead, kind};
use reelcase_format::json::{append_string, elements, member, text};
use serde_json::Value;

use crate::stream::{Event, Header, LeftOut, WriteError, WriteEvents, Written};
use crate::time::iso;

/// The recorder plugin that records it.
const PLUGIN: &str = "rrweb/console@1";

/// How a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsoleForm {
    /// `{"time","timestamp","window","level","message","trace"}`.
    Jsonl,
    /// The same columns.
    Csv,
}

/// Writes the console's messages and leaves out all else.
pub struct ConsoleSink<W> {
    out: W,
    form: ConsoleForm,
    line: Vec<u8>,
    has_begun: bool,
    left_out_count: u64,
}

/// One message.
struct Message<'a> {
    timestamp: f64,
    window: &'a str,
    level: String,
    message: String,
    trace: String,
}

impl<W: Write> ConsoleSink<W> {
    /// Writes to `out`, front to back.
    pub fn new(out: W, form: ConsoleForm) -> Self {
        Self { out, form, line: Vec::new(), has_begun: false, left_out_count: 0 }
    }

    fn begin(&mut self) -> Result<(), WriteError> {
        if !std::mem::replace(&mut self.has_begun, true) && self.form == ConsoleForm::Csv {
            self.out.write_all(b"time,timestamp,window,level,message,trace\r\n")?;
        }
        Ok(())
    }
}

impl<W: Write> WriteEvents for ConsoleSink<W> {
    type Written = Written;

    fn push(&mut self, _: &Header, event: &Event<'_>) -> Result<(), WriteError> {
        let Some(message) = message(event) else {
            self.left_out_count += 1;
            return Ok(());
        };
        self.begin()?;
        self.line.clear();
        match self.form {
            ConsoleForm::Jsonl => append_json(&message, &mut self.line),
            ConsoleForm::Csv => append_csv(&message, &mut self.line),
        }
        Ok(self.out.write_all(&self.line)?)
    }

    fn finish(mut self, _: &Header) -> Result<Written, WriteError> {
        self.begin()?;
        self.out.flush()?;
        let (one, several) = ("event that is no message of the console", "events that are no messages of the console");
        let left_out = LeftOut::of(self.left_out_count, one, several).into_iter().collect();
        Ok(Written { left_out, ..Written::default() })
    }
}

fn message<'a>(event: &Event<'a>) -> Option<Message<'a>> {
    let head = EventHead::read(event.json).filter(|head| head.kind == kind::PLUGIN)?;
    let data = head.data.filter(|data| member(data, "plugin").and_then(text).is_some_and(|name| name == PLUGIN))?;
    let payload = member(data, "payload")?;
    let level = member(payload, "level").and_then(text).map_or_else(|| "log".to_owned(), |level| level.into_owned());
    let parts = member(payload, "payload").map(elements).into_iter().flatten().filter_map(text);
    // Each part is itself JSON: a text is shown without its quotes, as the console does.
    let shown = |part: &str| match serde_json::from_str(part) {
        Ok(Value::String(shown)) => shown,
        _ => part.to_owned(),
    };
    let message = parts.map(|part| shown(&part)).collect::<Vec<_>>().join(" ");
    let trace = member(payload, "trace").map(elements).into_iter().flatten().filter_map(text);
    let trace = trace.collect::<Vec<_>>().join("\n");
    Some(Message { timestamp: head.timestamp, window: event.window, level, message, trace })
}

fn append_json(message: &Message<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(
        format!("{{\"time\":\"{}\",\"timestamp\":{}", iso(message.timestamp), message.timestamp).as_bytes(),
    );
    for (name, text) in [
        ("window", message.window),
        ("level", &message.level),
        ("message", &message.message),
        ("trace", &message.trace),
    ] {
        out.extend_from_slice(format!(",\"{name}\":").as_bytes());
        append_string(text, out);
    }
    out.extend_from_slice(b"}\n");
}

fn append_csv(message: &Message<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{},{}", iso(message.timestamp), message.timestamp).as_bytes());
    for text in [message.window, &message.level, &message.message, &message.trace] {
        out.push(b',');
        append_cell(text, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a cell. A recording is a stranger's text: what a spreadsheet would take for a formula is marked as text.
fn append_cell(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        out.push(b'\'');
    }
    out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
    out.push(b'"');
}
