//! The one form that readers produce and writers consume.

use std::fmt;
use std::io;

use reelcase_format::id::RecordingId;
use reelcase_format::reel::ReelError;

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
}

/// One rrweb event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// The browser tab or mobile screen it came from.
    pub window: &'a str,
    /// The event's JSON on one line, as it was recorded. It is checked JSON and has a numeric `type` and `timestamp`.
    pub json: &'a [u8],
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
    /// The file is a reel, which needs no reader of foreign forms.
    #[error("this is a .reel file already")]
    AlreadyReel,
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
pub fn copy<W: WriteEvents>(from: &mut impl ReadEvents, mut to: W) -> Result<W::Written, CopyError> {
    let mut header = from.header().clone();
    while let Some(event) = from.next_event()? {
        to.push(&header, &event)?;
        if *from.header() != header {
            header = from.header().clone();
        }
    }
    Ok(to.finish(from.header())?)
}
