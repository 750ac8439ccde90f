//! The one list of forms that a recording can be written in. Commands, the API and the web app all know these.

use std::io::{self, BufWriter, Write};
use std::str::FromStr;

use crate::console::{ConsoleForm, ConsoleSink};
use crate::har::HarSink;
use crate::html::HtmlSink;
use crate::jsonl::JsonlSink;
use crate::packed::Compression;
use crate::posthog::PosthogSink;
use crate::reel::{ReelOptions, ReelSink};
use crate::rrweb::{RrwebForm, RrwebSink};
use crate::seeds::{SeedsForm, SeedsSink};
use crate::stream::{Event, Header, WriteError, WriteEvents, Written};

/// What is gathered before it is written.
const BUFFER_BYTES: usize = 64 << 10;

/// A form to write a recording in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// The portable file.
    Reel,
    /// The page that plays itself.
    Html,
    /// Lines.
    Jsonl,
    /// Lines in gzip.
    JsonlGzip,
    /// Lines in zstd.
    JsonlZstd,
    /// rrweb's array.
    Rrweb,
    /// rrweb's array of packed events.
    RrwebPacked,
    /// PostHog's JSON file.
    Posthog,
    /// Seeds' session.
    Seeds,
    /// Seeds' session in gzip.
    SeedsGzip,
    /// The requests.
    Har,
    /// The console.
    Console,
    /// The console for spreadsheets.
    ConsoleCsv,
}

/// What is known of a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormatInfo {
    /// The form.
    pub format: Format,
    /// What it is called in commands and addresses.
    pub name: &'static str,
    /// How names of its files end, without the first dot.
    pub ending: &'static str,
    /// Its media type.
    pub media_type: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Whether it holds every event, so that a recording can be made of it again.
    pub is_whole: bool,
}

const fn info(
    format: Format,
    name: &'static str,
    ending: &'static str,
    media_type: &'static str,
    about: &'static str,
) -> FormatInfo {
    let is_whole = !matches!(format, Format::Har | Format::Console | Format::ConsoleCsv);
    FormatInfo { format, name, ending, media_type, about, is_whole }
}

/// All forms, in the order in which they are offered.
pub const FORMATS: [FormatInfo; 13] = [
    info(Format::Reel, "reel", "reel", "application/vnd.reelcase.reel", "the portable file"),
    info(Format::Html, "html", "html", "text/html", "one page with player and recording, which needs no server"),
    info(Format::Jsonl, "jsonl", "jsonl", "application/x-ndjson", "lines of [\"window id\",{event}] in time order"),
    info(Format::JsonlGzip, "jsonl-gzip", "jsonl.gz", "application/gzip", "the lines in gzip"),
    info(Format::JsonlZstd, "jsonl-zstd", "jsonl.zst", "application/zstd", "the lines in zstd"),
    info(Format::Rrweb, "rrweb", "json", "application/json", "a JSON array of rrweb events, for rrweb's player"),
    info(
        Format::RrwebPacked,
        "rrweb-packed",
        "packed.json",
        "application/json",
        "the array with events of rrweb's packer",
    ),
    info(
        Format::Posthog,
        "posthog",
        "posthog.json",
        "application/json",
        "PostHog's JSON file, for its playback of files",
    ),
    info(Format::Seeds, "seeds", "session.json", "application/json", "the session that Seeds' recorder saves"),
    info(
        Format::SeedsGzip,
        "seeds-gzip",
        "session-gzip.json",
        "application/json",
        "that session as a list of gzip's bytes",
    ),
    info(Format::Har, "har", "har", "application/json", "the page's requests as HAR 1.2"),
    info(
        Format::Console,
        "console",
        "console.jsonl",
        "application/x-ndjson",
        "messages of the console, one object a line",
    ),
    info(Format::ConsoleCsv, "console-csv", "console.csv", "text/csv", "messages of the console for spreadsheets"),
];

impl Format {
    /// What is known of it.
    pub fn info(self) -> &'static FormatInfo {
        FORMATS.iter().find(|info| info.format == self).unwrap_or(&FORMATS[0])
    }

    /// The form that a file of this name is to have. The longest ending wins.
    pub fn of_file_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let ends = |info: &&FormatInfo| name.strip_suffix(info.ending).is_some_and(|rest| rest.ends_with('.'));
        FORMATS.iter().filter(ends).max_by_key(|info| info.ending.len()).map(|info| info.format)
    }

    /// Writes a recording in this form to `out`.
    pub fn writer<'a>(self, out: impl Write + Send + 'a, options: &ReelOptions) -> io::Result<Writer<'a>> {
        let out = BufWriter::with_capacity(BUFFER_BYTES, out);
        Ok(Writer(match self {
            Self::Reel => Box::new(ReelSink::new(out, options.clone())),
            Self::Html => Box::new(HtmlSink::new(out, options.clone())?),
            Self::Jsonl => Box::new(JsonlSink::new(out, Compression::None)?),
            Self::JsonlGzip => Box::new(JsonlSink::new(out, Compression::Gzip)?),
            Self::JsonlZstd => Box::new(JsonlSink::new(out, Compression::Zstd)?),
            Self::Rrweb => Box::new(RrwebSink::new(out, RrwebForm::Plain)),
            Self::RrwebPacked => Box::new(RrwebSink::new(out, RrwebForm::Packed)),
            Self::Posthog => Box::new(PosthogSink::new(out)),
            Self::Seeds => Box::new(SeedsSink::new(out, SeedsForm::Plain)?),
            Self::SeedsGzip => Box::new(SeedsSink::new(out, SeedsForm::Compressed)?),
            Self::Har => Box::new(HarSink::new(out)),
            Self::Console => Box::new(ConsoleSink::new(out, ConsoleForm::Jsonl)),
            Self::ConsoleCsv => Box::new(ConsoleSink::new(out, ConsoleForm::Csv)),
        }))
    }
}

/// No form has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no format {0:?}; there are {names}", names = names())]
pub struct UnknownFormat(String);

fn names() -> String {
    FORMATS.map(|info| info.name).join(", ")
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        let found = FORMATS.iter().find(|info| info.name == name).map(|info| info.format);
        found.ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}

/// Writes a recording in any form.
pub struct Writer<'a>(Box<dyn Sink + Send + 'a>);

impl WriteEvents for Writer<'_> {
    type Written = Written;

    fn push(&mut self, header: &Header, event: &Event<'_>) -> Result<(), WriteError> {
        self.0.push(header, event)
    }

    fn finish(self, header: &Header) -> Result<Written, WriteError> {
        self.0.finish(header)
    }
}

/// [`WriteEvents`] as an object.
trait Sink {
    fn push(&mut self, header: &Header, event: &Event<'_>) -> Result<(), WriteError>;
    fn finish(self: Box<Self>, header: &Header) -> Result<Written, WriteError>;
}

impl<T: WriteEvents<Written: Into<Written>>> Sink for T {
    fn push(&mut self, header: &Header, event: &Event<'_>) -> Result<(), WriteError> {
        WriteEvents::push(self, header, event)
    }

    fn finish(self: Box<Self>, header: &Header) -> Result<Written, WriteError> {
        Ok(WriteEvents::finish(*self, header)?.into())
    }
}
