//! Walks the lists around events, one element or member at a time.

use std::io::Read;

use flate2::bufread::ZlibDecoder;
use reelcase_format::id::RecordingId;
use reelcase_format::json::{JsonError, text};

use super::ForeignReader;
use super::event::{self, Candidate, Chunk, Person, RowHolds, candidate};
use super::input::InputError;
use crate::stream::DEFAULT_WINDOW;

/// Longest value that is looked at for what it says of the recording.
const NOTE_BYTES_MAX: usize = 512;

/// A list or an object around events, that was entered.
pub(super) struct Level {
    is_object: bool,
    /// Whether a comma is due before what comes next.
    has_begun: bool,
    /// The window of the events in it, where that is known.
    window: Option<String>,
    /// Whether the names of its members are window ids.
    names_windows: bool,
}

/// What a step found.
pub(super) enum Step {
    /// An event, which lies in the reader now.
    Event,
    /// Something else.
    Other,
    /// The end.
    End,
}

impl ForeignReader<'_> {
    pub(super) fn step(&mut self) -> Result<Step, InputError> {
        match self.levels.last() {
            None => self.step_document(),
            Some(level) if level.is_object => self.step_member(),
            Some(_) => self.step_element(),
        }
    }

    /// One more value that is in no list.
    fn step_document(&mut self) -> Result<Step, InputError> {
        const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
        loop {
            match self.input.next_byte(0)?.1 {
                None => return Ok(Step::End),
                Some(_) if self.input.rest().starts_with(BYTE_ORDER_MARK) => self.input.pass(BYTE_ORDER_MARK.len()),
                // zlib as Sentry sends it begins with an x, and no JSON does.
                Some(b'x') => return self.zlib(),
                Some(_) => break,
            }
        }
        let step = self.value(None)?;
        self.document_count += u64::from(self.levels.is_empty());
        Ok(step)
    }

    fn step_element(&mut self) -> Result<Step, InputError> {
        if !self.next_in(b']', "a comma or the end of the array")? {
            return Ok(Step::Other);
        }
        let window = self.levels.last().and_then(|level| level.window.clone());
        self.value(window)
    }

    fn step_member(&mut self) -> Result<Step, InputError> {
        if !self.next_in(b'}', "a comma or the end of the object")? {
            return Ok(Step::Other);
        }
        let (key, value_at, opens) = self.member(0)?;
        let Some(level) = self.levels.last() else { return Ok(Step::Other) };
        if level.names_windows {
            self.input.pass(value_at);
            return self.value(Some(key));
        }
        if event::lists_events(&key, opens) {
            let window = level.window.clone();
            self.input.pass(value_at);
            return self.enter_list(&key, window);
        }
        let end = self.input.value_end(value_at)?;
        self.note(&key, value_at, end);
        self.input.pass(end);
        Ok(Step::Other)
    }

    /// Steps to the next element or member of the innermost level, or out of it: then `false`.
    fn next_in(&mut self, close: u8, expected: &'static str) -> Result<bool, InputError> {
        let byte = self.input.next_byte(0)?.1;
        if byte == Some(close) {
            self.input.pass(1);
            self.levels.pop();
            self.document_count += u64::from(self.levels.is_empty());
            return Ok(false);
        }
        let Some(level) = self.levels.last_mut() else { return Ok(false) };
        if std::mem::replace(&mut level.has_begun, true) {
            if byte != Some(b',') {
                return Err(not_json(0, expected));
            }
            self.input.pass(1);
            self.input.next_byte(0)?;
        }
        Ok(true)
    }

    /// Reads the name of a member that begins at `at`, and finds the place and the first byte of its value.
    fn member(&mut self, at: usize) -> Result<(String, usize, Option<u8>), InputError> {
        let (at, byte) = self.input.next_byte(at)?;
        if byte != Some(b'"') {
            return Err(not_json(at, "a member name"));
        }
        let end = self.input.value_end(at)?;
        let key = text(&self.input.rest()[at..end]).unwrap_or_default().into_owned();
        match self.input.next_byte(end)? {
            (at, Some(b':')) => {
                let (value_at, opens) = self.input.next_byte(at + 1)?;
                Ok((key, value_at, opens))
            }
            (at, _) => Err(not_json(at, "a colon")),
        }
    }

    /// One value where an event may stand.
    fn value(&mut self, window: Option<String>) -> Result<Step, InputError> {
        match self.input.next_byte(0)?.1 {
            Some(b'[') => self.list(window),
            Some(b'{') => self.object(window),
            _ => {
                let end = self.input.value_end(0)?;
                self.take(end, window)
            }
        }
    }

    /// Enters a list. In `["window", event]` the first element is the window of the others.
    fn list(&mut self, window: Option<String>) -> Result<Step, InputError> {
        let (at, byte) = self.input.next_byte(1)?;
        if byte == Some(b'"') {
            let end = self.input.value_end(at)?;
            let (comma_at, comma) = self.input.next_byte(end)?;
            let first = &self.input.rest()[at..end];
            if comma == Some(b',') && !matches!(candidate(first, &self.limits), Candidate::Event { .. }) {
                let window = event::window_id(first, &self.limits).or(window);
                self.input.pass(comma_at + 1);
                return self.enter(Level { is_object: false, has_begun: false, window, names_windows: false });
            }
        }
        self.input.pass(1);
        self.enter(Level { is_object: false, has_begun: false, window, names_windows: false })
    }

    /// Takes an object as it is, unless it turns out to hold a list of events: then it is entered there.
    fn object(&mut self, mut window: Option<String>) -> Result<Step, InputError> {
        let mut is_event = false;
        let (mut at, byte) = self.input.next_byte(1)?;
        if byte == Some(b'}') {
            return self.take(at + 1, window);
        }
        loop {
            let (key, value_at, opens) = self.member(at)?;
            is_event |= key == "type";
            if !is_event && let Some(list_at) = self.list_at(&key, value_at, opens)? {
                return self.enter_object(list_at, window);
            }
            let end = self.input.value_end(value_at)?;
            if matches!(key.as_str(), "window_id" | "windowId") {
                window = event::window_id(&self.input.rest()[value_at..end], &self.limits).or(window);
            }
            self.note(&key, value_at, end);
            match self.input.next_byte(end)? {
                (comma_at, Some(b',')) => at = comma_at + 1,
                (close_at, Some(b'}')) => return self.take(close_at + 1, window),
                (other_at, _) => return Err(not_json(other_at, "a comma or the end of the object")),
            }
        }
    }

    /// Whether a member of an object is a list of events or, under the name `data`, an object that holds one.
    fn list_at(&mut self, key: &str, value_at: usize, opens: Option<u8>) -> Result<Option<ListAt>, InputError> {
        if event::lists_events(key, opens) {
            return Ok(Some(ListAt { key: key.to_owned(), at: value_at, is_within: false }));
        }
        if key != "data" || opens != Some(b'{') {
            return Ok(None);
        }
        let (mut at, mut byte) = self.input.next_byte(value_at + 1)?;
        let (mut id, mut person) = (None, None);
        while byte == Some(b'"') {
            let (key, value_at, opens) = self.member(at)?;
            if key != "data" && event::lists_events(&key, opens) {
                if event::is_of_posthog(&key) {
                    self.note_posthog(id, person);
                }
                return Ok(Some(ListAt { key, at: value_at, is_within: true }));
            }
            let end = self.input.value_end(value_at)?;
            self.note(&key, value_at, end);
            match key.as_str() {
                "id" => id = event::named(&self.input.rest()[value_at..end]),
                "person" => person = event::person(&self.input.rest()[value_at..end]),
                _ => {}
            }
            (at, byte) = self.input.next_byte(end)?;
            if byte == Some(b',') {
                (at, byte) = self.input.next_byte(at + 1)?;
            }
        }
        Ok(None)
    }

    fn enter_object(&mut self, list: ListAt, window: Option<String>) -> Result<Step, InputError> {
        for _ in 0..=usize::from(list.is_within) {
            let window = window.clone();
            self.enter(Level { is_object: true, has_begun: true, window, names_windows: false })?;
        }
        self.input.pass(list.at);
        self.enter_list(&list.key, window)
    }

    /// Enters the list, or the object, that stands next and has this name.
    fn enter_list(&mut self, key: &str, window: Option<String>) -> Result<Step, InputError> {
        let is_object = self.input.next_byte(0)?.1 == Some(b'{');
        self.input.pass(1);
        let names_windows = is_object && event::names_windows(key);
        self.enter(Level { is_object, has_begun: false, window, names_windows })
    }

    fn enter(&mut self, level: Level) -> Result<Step, InputError> {
        if self.levels.len() >= self.limits.lists_max {
            return Err(not_json(0, "fewer lists within lists"));
        }
        self.levels.push(level);
        Ok(Step::Other)
    }

    /// Takes the value that ends at `end` for an event, if it is one or holds some.
    fn take(&mut self, end: usize, window: Option<String>) -> Result<Step, InputError> {
        let body = match candidate(&self.input.rest()[..end], &self.limits) {
            Candidate::Event { json, window: own_window } => {
                self.window = own_window.or(window).unwrap_or_else(|| DEFAULT_WINDOW.to_owned());
                self.event.clear();
                event::append(&json, &self.limits, &mut self.event);
                self.input.pass(end);
                return Ok(Step::Event);
            }
            Candidate::Upload(upload) => {
                let window = upload.window.or(window).unwrap_or_else(|| DEFAULT_WINDOW.to_owned());
                self.queue.extend(upload.events.into_iter().map(|event| (window.clone(), event)));
                self.header.recording = self.header.recording.take().or(upload.recording);
                self.header.source = self.header.source.take().or(upload.source);
                self.header.library = self.header.library.take().or(upload.library);
                self.header.library_version = self.header.library_version.take().or(upload.library_version);
                None
            }
            Candidate::Row(row) => {
                self.header.recording = self.header.recording.take().or(row.recording);
                let window = row.window.or(window);
                match row.holds {
                    RowHolds::Event(json) => {
                        let window = window.unwrap_or_else(|| DEFAULT_WINDOW.to_owned());
                        self.queue.push_back((window, json));
                        None
                    }
                    RowHolds::Chunk(chunk) => self.take_chunk(chunk, window)?,
                }
            }
            Candidate::Chunk(chunk) => self.take_chunk(chunk, window)?,
            Candidate::Body(body) => {
                self.window_of_body = window;
                Some(body)
            }
            Candidate::Other => {
                self.report.skipped_count += 1;
                self.report.first_skipped_at.get_or_insert(self.input.at());
                None
            }
        };
        self.input.pass(end);
        if let Some(body) = body {
            self.read_body(body, false)?;
        }
        Ok(Step::Other)
    }

    /// Takes a piece of a body, and reads the body if that is whole now.
    fn take_chunk(&mut self, chunk: Chunk, window: Option<String>) -> Result<Option<Vec<u8>>, InputError> {
        if let Some(body) = self.chunks.add(chunk, self.input.at(), &self.limits)? {
            self.window_of_body = window;
            self.read_body(body, true)?;
        }
        Ok(None)
    }

    /// A Sentry recording's events, which follow a line of JSON as zlib.
    fn zlib(&mut self) -> Result<Step, InputError> {
        let bytes_max = self.limits.event_bytes_max;
        let mut decoder = ZlibDecoder::new(self.input.read_rest()?);
        let mut body = Vec::new();
        let read = decoder.by_ref().take(bytes_max as u64 + 1).read_to_end(&mut body);
        let packed_bytes = decoder.total_in() as usize;
        if body.len() > bytes_max {
            return Err(InputError::TooLarge);
        }
        if read.is_err() && body.is_empty() {
            return Err(not_json(0, "a value"));
        }
        self.input.pass(packed_bytes);
        self.read_body(body, false)?;
        if read.is_err() { Err(not_json(0, "intact zlib")) } else { Ok(Step::Other) }
    }

    /// Remembers what PostHog's file says before its events.
    fn note_posthog(&mut self, id: Option<RecordingId>, person: Option<Person>) {
        self.header.recording = self.header.recording.take().or(id);
        let Some(person) = person.filter(|_| self.header.distinct_ids.is_empty()) else { return };
        (self.header.distinct_ids, self.header.person_properties) = (person.distinct_ids, person.properties);
    }

    /// Remembers what a member says of the recording.
    fn note(&mut self, key: &str, from: usize, to: usize) {
        let is_id = matches!(key, "session_id" | "sessionId" | "session_secure_id" | "replay_id" | "recordingId");
        if is_id && self.header.recording.is_none() && to - from <= NOTE_BYTES_MAX {
            let id = text(&self.input.rest()[from..to]);
            self.header.recording = id.and_then(|id| id.parse().ok());
        }
    }
}

/// Where an object holds a list of events.
struct ListAt {
    key: String,
    at: usize,
    /// Whether an object within it holds the list.
    is_within: bool,
}

fn not_json(at: usize, expected: &'static str) -> InputError {
    InputError::Json(JsonError { at, expected })
}
