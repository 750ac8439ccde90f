//! Reads recordings that other programs wrote: rrweb JSON in all the shapes people keep it in.
//!
//! A file is one value or several, and the shape of each decides what it is, never the file's name:
//!
//! | Shape | Who writes it |
//! | --- | --- |
//! | `{"type": 3, "timestamp": …}` | an event: alone, one a line, or in any list |
//! | `[…]`, also within each other | lists, batches |
//! | `{"events": […]}`, `{"result": […]}`, `{"data": {"snapshots": […]}}`, … | exports |
//! | `["window", event]`, `{"window_id", "data": […]}`, `{"windowId", "type", …}` | PostHog's lines |
//! | `"{…}"`, `"x\u009c…"` | an event as a string, plain or from rrweb's packer |
//! | `{"event": "$snapshot", "properties": …}`, `{"batch": […]}` | uploads of PostHog clients |
//! | `{"segment_id": 0}` and JSON or zlib, envelopes around it | Sentry |
//! | `{"requests": [{"body"…}]}` | requests as an SDK sent them |
//! | `{"chunk_id", "chunk_index", "data": "H4sI…"}`, alone or as `snapshot_data` of a row | PostHog's table of 2023 |
//!
//! All of it may be wrapped: in gzip, zstd, snappy and what else `foreign/unpack.rs` lists. Whatever else is found is stepped over and counted. No more than one event, or one
//! body of a request, is held in memory, and no depth costs a stack.

use std::collections::VecDeque;
use std::io::{Cursor, Read};

use crate::stream::{DEFAULT_WINDOW, Damage, Event, Header, ReadError, ReadEvents, ReadReport};

pub mod batch;
mod chunk;
mod event;
mod input;
pub(crate) mod rows;
mod unpack;
mod walk;

use chunk::Chunks;
use input::{Input, InputError};
pub use unpack::is_reel;
use walk::{Level, Step};

/// What a file may be. Past any of these reading ends and says where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one event, of one body within a file of requests, and of the chunks that wait for others.
    pub event_bytes_max: usize,
    /// Levels of nested arrays and objects. A page nested `n` deep needs about `2n + 8`.
    pub nesting_max: usize,
    /// Lists within lists, around events.
    pub lists_max: usize,
    /// Bodies within bodies.
    pub bodies_max: usize,
    /// Damaged places that are stepped over.
    pub damage_max: usize,
    /// Bytes of a window id. A longer one is not taken for one.
    pub window_id_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            event_bytes_max: 64 << 20,
            nesting_max: 100_000,
            lists_max: 16,
            bodies_max: 3,
            damage_max: 1_000,
            window_id_bytes_max: 128,
        }
    }
}

/// Reads the events of one file. See the module.
pub struct ForeignReader<'a> {
    input: Input<'a>,
    limits: Limits,
    levels: Vec<Level>,
    /// Values that were whole and in no list; lines, where there are several.
    document_count: u64,
    header: Header,
    report: ReadReport,
    /// Events of a body that are not handed out yet, with their windows.
    queue: VecDeque<(String, Vec<u8>)>,
    /// The window of the events of a body, where what is around it names one.
    window_of_body: Option<String>,
    chunks: Chunks,
    window: String,
    event: Vec<u8>,
    is_over: bool,
}

impl<'a> ForeignReader<'a> {
    /// Begins to read. Fails with [`ReadError::AlreadyReel`] where the file is a reel.
    pub fn new(source: impl Read + 'a, limits: Limits) -> Result<Self, ReadError> {
        let input = Input::new(unpack::unpack(source)?, limits.event_bytes_max, limits.nesting_max);
        Ok(Self {
            input,
            limits,
            levels: Vec::new(),
            document_count: 0,
            header: Header::default(),
            report: ReadReport::default(),
            queue: VecDeque::new(),
            window_of_body: None,
            chunks: Chunks::default(),
            window: String::new(),
            event: Vec::new(),
            is_over: false,
        })
    }

    /// Reads the events of a body into the queue. A body of another kind holds none, unless it must.
    fn read_body(&mut self, body: Vec<u8>, must_be_whole: bool) -> Result<(), InputError> {
        let window = self.window_of_body.take();
        let Some(bodies_max) = self.limits.bodies_max.checked_sub(1) else { return Ok(()) };
        let limits = Limits { bodies_max, ..self.limits.clone() };
        let Ok(mut reader) = ForeignReader::new(Cursor::new(body), limits) else { return Ok(()) };
        let mut held_bytes = 0;
        while let Ok(Some(event)) = reader.next_event() {
            held_bytes += event.json.len();
            if held_bytes > self.limits.event_bytes_max {
                return Err(InputError::TooLarge);
            }
            let window = window.as_deref().filter(|_| event.window == DEFAULT_WINDOW).unwrap_or(event.window);
            self.queue.push_back((window.to_owned(), event.json.to_vec()));
        }
        let inner = reader.report.damage.first().filter(|_| must_be_whole);
        if let Some(what) = inner.map(|damage| format!("in what these chunks hold, {damage}")) {
            self.note_damage(self.input.at(), what);
        }
        let known = &mut self.header;
        known.recording = known.recording.take().or(reader.header.recording);
        known.library = known.library.take().or(reader.header.library);
        known.library_version = known.library_version.take().or(reader.header.library_version);
        Ok(())
    }

    /// Notes what is not JSON, and goes on behind it if the file is one of lines. `failure` is why the source ended.
    fn step_over(&mut self, at: usize, what: String, failure: Option<String>) -> Result<(), InputError> {
        let is_cut_off = self.input.is_end(at) && !self.input.rest().is_empty();
        let is_cut_between = self.input.is_end(at) && !is_cut_off && !self.levels.is_empty();
        let what = match (is_cut_off, is_cut_between) {
            (true, _) => "the file ends within an event".to_owned(),
            (_, true) => "the file ends too early".to_owned(),
            _ => what,
        };
        let what = match failure {
            Some(failure) if is_cut_off => format!("{what}: {failure}"),
            Some(failure) => failure,
            None => what,
        };
        self.note_damage(self.input.at() + at as u64, what);
        if self.is_over {
            return Ok(());
        }
        let was_in_list = !self.levels.is_empty();
        self.levels.clear();
        let Some(line_end) = self.input.line_end()? else {
            self.is_over = true;
            return Ok(());
        };
        self.input.pass(line_end + 1);
        let begins_value = matches!(self.input.next_byte(0)?.1, Some(b'{' | b'[' | b'"'));
        let is_lines = self.document_count > 0 || (!was_in_list && begins_value);
        self.is_over = !is_lines;
        Ok(())
    }

    fn note_damage(&mut self, at: u64, what: String) {
        self.report.damage.push(Damage { at, event_index: self.report.event_count, what });
        self.is_over |= self.report.damage.len() >= self.limits.damage_max;
    }

    fn too_large(&self) -> ReadError {
        ReadError::TooLarge {
            what: "bytes in one event",
            limit: self.limits.event_bytes_max as u64,
            at: self.input.at(),
            event_index: self.report.event_count,
        }
    }
}

impl ReadEvents for ForeignReader<'_> {
    fn next_event(&mut self) -> Result<Option<Event<'_>>, ReadError> {
        loop {
            if let Some((window, event)) = self.queue.pop_front() {
                (self.window, self.event) = (window, event);
                break;
            }
            if self.is_over {
                return Ok(None);
            }
            let stepped = match self.step() {
                Ok(Step::Event) => break,
                Ok(Step::Other) => Ok(()),
                Ok(Step::End) => {
                    self.is_over = true;
                    while let Some((at, what)) = self.chunks.next_unfinished() {
                        self.note_damage(at, what);
                    }
                    match self.input.failure.take() {
                        failure @ Some(_) => self.step_over(0, String::new(), failure),
                        None => Ok(()),
                    }
                }
                Err(InputError::Json(error)) => {
                    let failure = self.input.failure.take();
                    self.step_over(error.at, format!("expected {}", error.expected), failure)
                }
                Err(InputError::TooLarge) => Err(InputError::TooLarge),
            };
            if stepped.is_err() {
                self.is_over = true;
                return Err(self.too_large());
            }
        }
        self.report.event_count += 1;
        Ok(Some(Event { window: &self.window, json: &self.event }))
    }

    fn header(&self) -> &Header {
        &self.header
    }

    fn report(&self) -> &ReadReport {
        &self.report
    }
}
