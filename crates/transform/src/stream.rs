//! The one form that readers produce and writers consume.

use std::borrow::Cow;
use std::fmt;
use std::io;

use reelcase_format::count::counted_as;
use reelcase_format::event::EventHead;
use reelcase_format::id::RecordingId;
use reelcase_format::reel::ReelError;
use serde_json::{Map, Value, json};

/// Levels of nested arrays and objects in an event. A page nested `n` deep needs about `2n + 8`.
const NESTING_MAX: usize = 100_000;

/// The window of events whose file names none.
pub const DEFAULT_WINDOW: &str = "main";

/// What a file says of its recording, beside the events. It may be known in full only once all events are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// The session that the file names.
    pub recording: Option<RecordingId>,
    /// `web` or `mobile`, where the file says so.
    pub source: Option<String>,
    /// The library that recorded it.
    pub library: Option<String>,
    /// The version of that library.
    pub library_version: Option<String>,
    /// The ids of the person who was recorded.
    pub distinct_ids: Vec<String>,
    /// What is known of that person, by name.
    pub person_properties: Map<String, Value>,
}

/// One rrweb event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// The browser tab or mobile screen it came from.
    pub window: &'a str,
    /// The event's JSON on one line, as it was recorded. It is checked JSON and has a numeric `type` and `timestamp`.
    pub json: &'a [u8],
}

/// Whether this is what [`Event::json`] promises.
pub fn is_event(json: &[u8]) -> bool {
    head_of_event(json).is_some()
}

/// The head of what [`is_event`].
pub fn head_of_event(json: &[u8]) -> Option<EventHead<'_>> {
    EventHead::check(json, NESTING_MAX)
}

/// Part of a file that could not be read. What comes before it and, where there are lines, after it is not lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Offset in bytes, in the file once it is decompressed.
    pub at: u64,
    /// How many events were read before.
    pub event_index: u64,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}, event {}: {}", self.at, self.event_index, self.what)
    }
}

/// How a file was read, once it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadReport {
    /// Events handed out.
    pub event_count: u64,
    /// Values where an event could have stood that are none, such as `null`.
    pub skipped_count: u64,
    /// Where the first of these begins, in bytes.
    pub first_skipped_at: Option<u64>,
    /// Lines that belong to the recording and are no rrweb events, such as analytics events. They are not handed out.
    pub other_line_count: u64,
    /// Comments and tags that the file has of the recording. They are not handed out either.
    pub said_count: u64,
    /// What could not be read.
    pub damage: Vec<Damage>,
}

/// Why no more can be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// One event, or one compressed part, is larger than any recording needs.
    #[error("byte {at}, event {event_index}: more than {limit} {what}")]
    TooLarge {
        /// What there is too much of, with its unit.
        what: &'static str,
        /// The most that would have been taken.
        limit: u64,
        /// Where it begins, in bytes.
        at: u64,
        /// How many events were read before.
        event_index: u64,
    },
    /// A reel, which the reader of foreign forms does not read, in whatever compression.
    #[error("there is a .reel file in it\nhint: undo the compression around it first")]
    AlreadyReel,
    /// The file is a reel that cannot be read.
    #[error(transparent)]
    Reel(#[from] ReelError),
    /// It holds no recording.
    #[error("there is no recording in it")]
    NoRecording,
    /// It does not hold the one that was asked for.
    #[error("there is no recording {0} in it")]
    NoSuchRecording(RecordingId),
    /// It holds several, and one has to be chosen.
    #[error("there are {count} recordings in it, {one} and {other} among them\nhint: choose one with --recording ID")]
    SeveralRecordings {
        /// How many.
        count: usize,
        /// One of them.
        one: RecordingId,
        /// Another one.
        other: RecordingId,
    },
}

/// Why a recording cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The place it is written to failed.
    #[error("cannot write on")]
    Io(#[from] io::Error),
    /// It does not fit the format.
    #[error(transparent)]
    Reel(#[from] ReelError),
    /// There was not one event.
    #[error("there are no rrweb events in it")]
    NoEvents,
}

/// Why a recording could not be copied from a reader to a writer.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The reader failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The writer failed.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What became of a recording that was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// The recording's id, where the writer chose it.
    pub recording: Option<RecordingId>,
    /// What the form has no place for.
    pub left_out: Vec<LeftOut>,
}

/// Something that a form has no place for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// How many of them.
    pub count: u64,
    /// What one of them is.
    pub one: Cow<'static, str>,
    /// What several are.
    pub several: Cow<'static, str>,
}

impl LeftOut {
    /// `None` where there are none of them.
    pub fn of(count: u64, one: &'static str, several: &'static str) -> Option<Self> {
        (count > 0).then_some(Self { count, one: one.into(), several: several.into() })
    }

    /// Adds what was left out of one recording to what was left out of others.
    pub fn add(all: &mut Vec<Self>, of_one: &[Self]) {
        for left_out in of_one {
            match all.iter_mut().find(|known| known.several == left_out.several) {
                Some(known) => known.count += left_out.count,
                None => all.push(left_out.clone()),
            }
        }
    }

    /// Says it to another program, which reads it with [`LeftOut::read`].
    pub fn said(&self) -> Value {
        json!({ "count": self.count, "one": self.one, "several": self.several })
    }

    /// What another program said.
    pub fn read(said: &Value) -> Option<Self> {
        let text = |name: &str| said[name].as_str().map(|text| text.to_owned().into());
        Some(Self { count: said["count"].as_u64()?, one: text("one")?, several: text("several")? })
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&counted_as(self.count, &self.one, &self.several))
    }
}

/// Produces the events of a recording in the order they are stored.
pub trait ReadEvents {
    /// The next event. `None` at the end, also at an end that came too early; [`report`](Self::report) tells.
    fn next_event(&mut self) -> Result<Option<Event<'_>>, ReadError>;

    /// What is known of the recording so far.
    fn header(&self) -> &Header;

    /// How the reading went so far.
    fn report(&self) -> &ReadReport;
}

/// Consumes the events of a recording.
pub trait WriteEvents {
    /// What is known once all is written.
    type Written;

    /// Takes the next event. `header` is what is known by now.
    fn push(&mut self, header: &Header, event: &Event<'_>) -> Result<(), WriteError>;

    /// Writes what is left.
    fn finish(self, header: &Header) -> Result<Self::Written, WriteError>;
}

/// Moves a whole recording.
pub fn copy<W: WriteEvents>(from: &mut (impl ReadEvents + ?Sized), to: W) -> Result<W::Written, CopyError> {
    match copy_readable(from, to)? {
        (_, Some(error)) => Err(error.into()),
        (Some(written), None) => Ok(written),
        (None, None) => Err(WriteError::NoEvents.into()),
    }
}

/// Moves what can be read of a recording, if that is anything, and says why it is not all where no more can be read.
pub fn copy_readable<W: WriteEvents>(
    from: &mut (impl ReadEvents + ?Sized),
    mut to: W,
) -> Result<(Option<W::Written>, Option<ReadError>), WriteError> {
    let mut header = from.header().clone();
    let stopped = loop {
        match from.next_event() {
            Ok(Some(event)) => to.push(&header, &event)?,
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
        if *from.header() != header {
            header = from.header().clone();
        }
    };
    match to.finish(from.header()) {
        Ok(written) => Ok((Some(written), stopped)),
        Err(WriteError::NoEvents) if stopped.is_some() => Ok((None, stopped)),
        Err(error) => Err(error),
    }
}
