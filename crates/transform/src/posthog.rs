//! Writes the JSON file that PostHog's player exports and opens again, version 2023-04-28.

use std::collections::HashMap;
use std::io::Write;

use memchr::memmem::Finder;
use reelcase_format::event::{EventHead, kind};
use reelcase_format::json::{append_string, members, number, text};
use serde_json::{Value, json};

use crate::stream::{Event, Header, WriteError, WriteEvents, Written};

/// The version of the file.
const VERSION: &str = "2023-04-28";

/// Windows whose page size is remembered, for full snapshots that lack it.
const WINDOWS_REMEMBERED_MAX: usize = 1_000;

/// The member of an event that says which window it is of.
const WINDOW_KEY: &str = "\"windowId\"";

/// Writes one file. Each event says which window it is of, and a full snapshot has the size of its page before it.
///
/// Events are most of a recording, so each is copied as it stands, and only those that name a window are taken apart.
pub struct PosthogSink<W> {
    out: W,
    has_begun: bool,
    windows: HashMap<String, Page>,
    /// The last window, and what ends an event of it.
    window: String,
    ending: Vec<u8>,
    names_window: Finder<'static>,
}

/// What is known of the page in a window.
#[derive(Default)]
struct Page {
    /// The data of the last Meta event.
    meta: Option<Vec<u8>>,
    /// Whether it came after the last full snapshot.
    is_fresh: bool,
}

impl<W: Write> PosthogSink<W> {
    /// Writes to `out`, front to back.
    pub fn new(out: W) -> Self {
        let (windows, window, ending) = (HashMap::new(), String::new(), ending_of(""));
        Self { out, has_begun: false, windows, window, ending, names_window: Finder::new(WINDOW_KEY) }
    }

    fn begin(&mut self, header: &Header) -> Result<(), WriteError> {
        if std::mem::replace(&mut self.has_begun, true) {
            return Ok(self.out.write_all(b",\n")?);
        }
        let id = header.recording.as_ref().map_or("", |id| id.as_str());
        let (id, person) = (Value::from(id), person(header));
        writeln!(self.out, "{{\"version\":\"{VERSION}\",\"data\":{{\"id\":{id},\"person\":{person},\"snapshots\":[")?;
        Ok(())
    }

    fn write(&mut self, header: &Header, window: &str, json: &[u8]) -> Result<(), WriteError> {
        self.begin(header)?;
        if self.window != window {
            (self.window, self.ending) = (window.to_owned(), ending_of(window));
        }
        let is_nameless = self.names_window.find(json).is_none();
        match json.strip_suffix(b"}").filter(|_| is_nameless) {
            Some(open) => {
                self.out.write_all(open)?;
                self.out.write_all(&self.ending)?;
            }
            None => self.out.write_all(&with_window(json, window, &self.ending))?,
        }
        Ok(())
    }

    /// What is known of a window's page, unless there are too many of them.
    fn page(&mut self, window: &str) -> Option<&mut Page> {
        if !self.windows.contains_key(window) {
            if self.windows.len() >= WINDOWS_REMEMBERED_MAX {
                return None;
            }
            self.windows.insert(window.to_owned(), Page::default());
        }
        self.windows.get_mut(window)
    }

    /// Notes the size of a page, or puts it before a full snapshot that lacks it.
    fn mind_page(&mut self, header: &Header, event: &Event<'_>) -> Result<(), WriteError> {
        let Some(head) = EventHead::read(event.json) else { return Ok(()) };
        match (head.kind, head.data) {
            (kind::META, Some(data)) => {
                if let Some(page) = self.page(event.window) {
                    *page = Page { meta: Some(data.to_vec()), is_fresh: true };
                }
            }
            (kind::FULL_SNAPSHOT, _) => {
                if let Some(meta) = self.missing_meta(event.window, head.timestamp) {
                    self.write(header, event.window, &meta)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The Meta event that a full snapshot lacks, if the page's last one is known.
    fn missing_meta(&mut self, window: &str, timestamp: f64) -> Option<Vec<u8>> {
        let page = self.page(window)?;
        if std::mem::replace(&mut page.is_fresh, false) {
            return None;
        }
        let mut event = br#"{"type":4,"data":"#.to_vec();
        event.extend_from_slice(page.meta.as_ref()?);
        event.extend_from_slice(format!(",\"timestamp\":{timestamp}}}").as_bytes());
        Some(event)
    }
}

impl<W: Write> WriteEvents for PosthogSink<W> {
    type Written = Written;

    fn push(&mut self, header: &Header, event: &Event<'_>) -> Result<(), WriteError> {
        // The kind comes first in nearly all events, so that most are not walked.
        let found = members(event.json).find(|(key, _)| key.as_ref() == b"type").and_then(|(_, kind)| number(kind));
        if found.is_some_and(|found| [kind::META, kind::FULL_SNAPSHOT].map(f64::from).contains(&found)) {
            self.mind_page(header, event)?;
        }
        self.write(header, event.window, event.json)
    }

    fn finish(mut self, header: &Header) -> Result<Written, WriteError> {
        if !self.has_begun {
            self.begin(header)?;
        }
        self.out.write_all(b"\n]}}\n")?;
        self.out.flush()?;
        Ok(Written::default())
    }
}

/// The person as PostHog's file has them. `null` where nothing is known.
fn person(header: &Header) -> Value {
    if header.distinct_ids.is_empty() && header.person_properties.is_empty() {
        return Value::Null;
    }
    let property = |name| header.person_properties.get(name).and_then(Value::as_str);
    let id = header.distinct_ids.first().map(String::as_str);
    let name = property("email").or(property("name")).or(property("username")).or(id);
    json!({ "id": id, "name": name, "distinct_ids": header.distinct_ids, "properties": header.person_properties })
}

/// What ends an event that says which window it is of.
fn ending_of(window: &str) -> Vec<u8> {
    let mut ending = format!(",{WINDOW_KEY}:").into_bytes();
    append_string(window, &mut ending);
    ending.push(b'}');
    ending
}

/// An event that says which window it is of, and perhaps did so before. One that names the right one keeps its bytes.
fn with_window(event: &[u8], window: &str, ending: &[u8]) -> Vec<u8> {
    let own = members(event).filter(|(key, _)| key.as_ref() == b"windowId").last();
    let mut out = Vec::with_capacity(event.len() + ending.len());
    match (own, event.strip_suffix(b"}")) {
        (Some((_, id)), _) if text(id).is_some_and(|id| id == window) => return event.to_vec(),
        (None, Some(open)) => out.extend_from_slice(open),
        _ => {
            let mut opens = b'{';
            for (key, value) in members(event).filter(|(key, _)| key.as_ref() != b"windowId") {
                out.push(std::mem::replace(&mut opens, b','));
                append_string(&String::from_utf8_lossy(&key), &mut out);
                out.push(b':');
                out.extend_from_slice(value);
            }
        }
    }
    out.extend_from_slice(ending);
    out
}
