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
//!
//! All of it may be in gzip or zstd. Whatever else is found is stepped over and counted. No more than one event, or one
//! body of a request, is held in memory, and no depth costs a stack.

use std::collections::VecDeque;
use std::io::{Cursor, Read};

use crate::stream::{Damage, Event, Header, ReadError, ReadEvents, ReadReport};

mod event;
mod input;
mod unpack;
mod walk;

use input::{Input, InputError};
pub use unpack::is_reel;
use walk::{Level, Step};

/// What a file may be. Past any of these reading ends and says where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one event, and of one body within a file of requests.
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
            window: String::new(),
            event: Vec::new(),
            is_over: false,
        })
    }

    /// Reads the events of a body into the queue. A body of another kind holds none.
    fn read_body(&mut self, body: Vec<u8>) -> Result<(), InputError> {
        let Some(bodies_max) = self.limits.bodies_max.checked_sub(1) else { return Ok(()) };
        let limits = Limits { bodies_max, ..self.limits.clone() };
        let Ok(mut reader) = ForeignReader::new(Cursor::new(body), limits) else { return Ok(()) };
        let mut held_bytes = 0;
        while let Ok(Some(event)) = reader.next_event() {
            held_bytes += event.json.len();
            if held_bytes > self.limits.event_bytes_max {
                return Err(InputError::TooLarge);
            }
            self.queue.push_back((event.window.to_owned(), event.json.to_vec()));
        }
        let known = &mut self.header;
        known.recording = known.recording.take().or(reader.header.recording);
        known.library = known.library.take().or(reader.header.library);
        known.library_version = known.library_version.take().or(reader.header.library_version);
        Ok(())
    }

    /// Notes what is not JSON, and goes on behind it if the file is one of lines.
    fn step_over(&mut self, at: usize, what: String) -> Result<(), InputError> {
        let is_cut_off = self.input.is_end(at) && !self.input.rest().is_empty();
        let what = if is_cut_off { "the file ends within an event".to_owned() } else { what };
        let at = self.input.at() + at as u64;
        self.report.damage.push(Damage { at, event_index: self.report.event_count, what });
        if self.report.damage.len() >= self.limits.damage_max {
            self.is_over = true;
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
                    match self.input.failure.take() {
                        Some(failure) => self.step_over(0, failure),
                        None => Ok(()),
                    }
                }
                Err(InputError::Json(error)) => {
                    let failure = self.input.failure.take();
                    self.step_over(error.at, failure.unwrap_or_else(|| format!("expected {}", error.expected)))
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
