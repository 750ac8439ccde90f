//! Recordings as `.reel` files: one is written here, and read by [`ReelReader`].

use std::io::Write;

use reelcase_format::block::{BLOCK_PLAIN_BYTES_TARGET, BlockBuilder, BlockKind, EncodedBlock};
use reelcase_format::event::EventHead;
use reelcase_format::id::{ProjectKey, RecordingId, UploadId};
use reelcase_format::line::write_line;
use reelcase_format::reel::{RecordingEntry, ReelError, ReelHeader, ReelWriter};
use reelcase_format::summary::{Counted, SUMMARY_DISTINCT_IDS_MAX, Summarizer, Summary, UploadFacts};
use serde_json::{Map, Value, json};

use crate::analytics::person_lines;
use crate::stream::{Event, Header, WriteError, WriteEvents, Written};

mod read;

pub use read::{ReelReadLimits, ReelReader};

/// Key of the index that holds who was recorded.
const PERSON: &str = "person";

/// The key that holds what people said of the recording, and the lists in it.
const NOTES: &str = "notes";
const SAID: [&str; 2] = ["comments", "tags"];

/// How a file is to be written.
#[derive(Debug, Clone)]
pub struct ReelOptions {
    /// The project that the recording is to belong to.
    pub project: ProjectKey,
    /// The recording's id. Without one it is that which the file names, or else one made of the first events, the same
    /// each time.
    pub recording: Option<RecordingId>,
    /// Program and version, for the file's header.
    pub creator: String,
    /// zstd's level.
    pub level: i32,
}

/// What is kept with a recording beside its rrweb events.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    /// Analytics events: lines of kind `events`, which `docs/format.md` describes.
    pub events: Vec<BesideLine>,
    /// Lines of the same kind that belong to the project and not to the recording, such as who somebody is.
    pub of_project: Vec<BesideLine>,
    /// More keys of the summary.
    pub summary: Map<String, Value>,
}

/// One of these lines.
#[derive(Debug, Clone)]
pub struct BesideLine {
    /// When it happened.
    pub timestamp_ms: i64,
    /// What a store that is given it twice knows it by.
    pub upload: Option<UploadId>,
    /// A JSON object on one line, without its end.
    pub json: Vec<u8>,
}

/// What was written.
#[derive(Debug, Clone)]
pub struct WrittenReel {
    /// The recording's id.
    pub recording: RecordingId,
    /// Its figures.
    pub summary: Summary,
    /// Length of the file.
    pub file_bytes: u64,
}

impl From<WrittenReel> for Written {
    fn from(reel: WrittenReel) -> Self {
        Self { recording: Some(reel.recording), left_out: Vec::new() }
    }
}

/// Writes events as blocks, as soon as there are enough for one. Within a block they are in order of time.
#[derive(Debug)]
pub struct ReelSink<W> {
    out: W,
    options: ReelOptions,
    file: Option<OpenFile>,
    plain: Vec<u8>,
    lines: Vec<Line>,
    summarizer: Summarizer,
    has_facts: bool,
    beside: Beside,
}

/// A file that has its header.
#[derive(Debug)]
struct OpenFile {
    recording: RecordingId,
    writer: ReelWriter,
    ordinals: Vec<u32>,
}

/// One line that is in no block yet.
#[derive(Debug)]
struct Line {
    timestamp_ms: i64,
    window: String,
    /// Where it begins and ends, newline included.
    span: (usize, usize),
    event_bytes: usize,
}

impl<W: Write> ReelSink<W> {
    /// Writes to `out`, front to back.
    pub fn new(out: W, options: ReelOptions) -> Self {
        let (plain, lines, summarizer) = (Vec::new(), Vec::new(), Summarizer::new());
        Self { out, options, file: None, plain, lines, summarizer, has_facts: false, beside: Beside::default() }
    }

    /// Writes these too, behind the recording's events.
    pub fn with(self, beside: Beside) -> Self {
        Self { beside, ..self }
    }

    fn write_block(&mut self, header: &Header) -> Result<(), WriteError> {
        let hash = blake3::hash(&self.plain);
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.begin(header, &hash)?,
        };
        for block in self.blocks(&file.recording, upload_id(&hash))? {
            let (ordinal, bytes) = file.writer.push_block(block)?;
            file.ordinals.push(ordinal);
            self.out.write_all(&bytes)?;
        }
        self.file = Some(file);
        self.plain.clear();
        self.lines.clear();
        Ok(())
    }

    /// Writes the file's header. Its names are made of what the first block holds.
    fn begin(&mut self, header: &Header, hash: &blake3::Hash) -> Result<OpenFile, WriteError> {
        let named = self.options.recording.clone().or_else(|| header.recording.clone());
        let recording = match named {
            Some(recording) => recording,
            None => id_of(hash).map_err(|error| ReelError::Inconsistent(error.to_string()))?,
        };
        let object = format!("{recording}-{}", &hash.to_hex()[..16]);
        let header = ReelHeader { object, creator: self.options.creator.clone(), other: Map::new() };
        let (writer, bytes) = ReelWriter::new(header)?;
        self.out.write_all(&bytes)?;
        Ok(OpenFile { recording, writer, ordinals: Vec::new() })
    }

    /// One block, or more where windows and keyframes fill a head before the lines fill the block.
    fn blocks(&mut self, recording: &RecordingId, upload: UploadId) -> Result<Vec<EncodedBlock>, ReelError> {
        // The sort is stable: events of one millisecond have no other order than that of the file.
        self.lines.sort_by_key(|line| line.timestamp_ms);
        let project = &self.options.project;
        let begin = || BlockBuilder::new(project.clone(), Some(recording.clone()), BlockKind::Lines);
        let mut blocks = Vec::new();
        let mut builder = begin();
        for line in &self.lines {
            let (starts, ends) = line.span;
            let event = &self.plain[ends - 2 - line.event_bytes..ends - 2];
            let Some(head) = EventHead::read(event) else { continue };
            let counted = Counted::new(&line.window, &head, event);
            self.summarizer.add(&counted, ends - starts);
            builder.push(&counted, &self.plain[starts..ends]);
            builder.note_upload(upload);
            if builder.is_full() {
                blocks.push(std::mem::replace(&mut builder, begin()).encode(self.options.level)?);
            }
        }
        if !builder.is_empty() {
            blocks.push(builder.encode(self.options.level)?);
        }
        Ok(blocks)
    }
}

impl<W: Write> WriteEvents for ReelSink<W> {
    type Written = WrittenReel;

    fn push(&mut self, header: &Header, event: &Event<'_>) -> Result<(), WriteError> {
        let Some(head) = EventHead::read(event.json) else { return Ok(()) };
        if !std::mem::replace(&mut self.has_facts, true) {
            self.summarizer.add_upload(&UploadFacts {
                source: header.source.as_deref(),
                library: header.library.as_deref(),
                library_version: header.library_version.as_deref(),
                distinct_id: header.distinct_ids.first().map(String::as_str),
            });
        }
        let starts = self.plain.len();
        write_line(event.window, event.json, &mut self.plain);
        self.lines.push(Line {
            timestamp_ms: head.timestamp_ms(),
            window: event.window.to_owned(),
            span: (starts, self.plain.len()),
            event_bytes: event.json.len(),
        });
        if self.plain.len() >= BLOCK_PLAIN_BYTES_TARGET { self.write_block(header) } else { Ok(()) }
    }

    fn finish(self, header: &Header) -> Result<WrittenReel, WriteError> {
        Ok(self.end(header)?.0)
    }
}

impl<W: Write> ReelSink<W> {
    /// Writes what is left, and hands the place back.
    pub(crate) fn end(mut self, header: &Header) -> Result<(WrittenReel, W), WriteError> {
        if !self.lines.is_empty() {
            self.write_block(header)?;
        }
        let Some(mut file) = self.file else { return Err(WriteError::NoEvents) };
        let mut summary = self.summarizer.finish();
        let (Beside { events, mut of_project, summary: more }, level) = (self.beside, self.options.level);
        let person = person_of(header);
        if person.is_some() && of_project.is_empty() {
            of_project = person_lines(&header.distinct_ids, &header.person_properties, summary.end_ms);
        }
        for id in &header.distinct_ids {
            if summary.distinct_ids.len() < SUMMARY_DISTINCT_IDS_MAX && !summary.distinct_ids.contains(id) {
                summary.distinct_ids.push(id.clone());
            }
        }
        summary.analytics_event_count = events.len() as u64;
        summary.other.extend(more);
        let project = &self.options.project;
        for block in blocks_beside(events, project, Some(&file.recording), level)? {
            let (ordinal, bytes) = file.writer.push_block(block)?;
            file.ordinals.push(ordinal);
            self.out.write_all(&bytes)?;
        }
        for block in blocks_beside(of_project, project, None, level)? {
            self.out.write_all(&file.writer.push_block(block)?.1)?;
        }
        file.writer.push_recording(RecordingEntry {
            id: file.recording.clone(),
            project: self.options.project,
            summary: summary.clone(),
            blocks: file.ordinals,
            uploads: Vec::new(),
            metadata: person.map(|person| (PERSON.to_owned(), person)).into_iter().collect(),
            replaces: Vec::new(),
            other: Map::new(),
        });
        let finished = file.writer.finish()?;
        self.out.write_all(&finished.bytes)?;
        self.out.flush()?;
        let written = WrittenReel { recording: file.recording, summary, file_bytes: finished.file_bytes };
        Ok((written, self.out))
    }
}

/// The person as the index has them. `None` where no more is known than an id, which the summary has.
fn person_of(header: &Header) -> Option<Value> {
    let Header { distinct_ids, person_properties, .. } = header;
    let is_known = !distinct_ids.is_empty() && (distinct_ids.len() > 1 || !person_properties.is_empty());
    is_known.then(|| json!({ "distinct_ids": distinct_ids, "properties": person_properties }))
}

/// Blocks of lines that are no rrweb events, in the order of time.
fn blocks_beside(
    mut lines: Vec<BesideLine>,
    project: &ProjectKey,
    recording: Option<&RecordingId>,
    level: i32,
) -> Result<Vec<EncodedBlock>, ReelError> {
    lines.sort_by_key(|line| line.timestamp_ms);
    let begin = || BlockBuilder::new(project.clone(), recording.cloned(), BlockKind::Events);
    let (mut blocks, mut builder) = (Vec::new(), begin());
    for BesideLine { timestamp_ms, upload, mut json } in lines {
        json.push(b'\n');
        builder.push_line(timestamp_ms, &json);
        upload.into_iter().for_each(|upload| builder.note_upload(upload));
        if builder.is_full() {
            blocks.push(std::mem::replace(&mut builder, begin()).encode(level)?);
        }
    }
    if !builder.is_empty() {
        blocks.push(builder.encode(level)?);
    }
    Ok(blocks)
}

/// A recording's id, in the form of a UUID that is made of a hash (version 8).
fn id_of(hash: &blake3::Hash) -> Result<RecordingId, reelcase_format::id::IdError> {
    let hex = hash.to_hex();
    format!("{}-{}-8{}-b{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32]).parse()
}

/// What tells a block from others, so that a store which is given it twice keeps it once.
fn upload_id(hash: &blake3::Hash) -> UploadId {
    let mut id = UploadId::default();
    id.copy_from_slice(&hash.as_bytes()[..16]);
    id
}
