//! Makes a file of one recording: its lines in the order of time, or a `.reel` file of its own.
//!
//! What is damaged is left out, and a line takes its place (`docs/format.md` section 3): a file with a gap that says so is
//! worth more than none. Whoever asks is told beforehand what is missing ([`Export::find_gaps`]).

use std::collections::VecDeque;

use reelcase_format::block::{BlockBuilder, BlockKind, EncodedBlock};
use reelcase_format::event::kind;
use reelcase_format::line::write_line;
use reelcase_format::reel::{RecordingEntry, ReelHeader, ReelWriter};
use reelcase_format::summary::Counted;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::catalog::{BlockRow, RecordingRow};
use crate::merge::LineMerge;
use crate::notes::said::Said;
use crate::seal::{CREATOR, SEAL_LEVEL};
use crate::store::{Store, StoreError, damaged, head_of};

/// Tag of the rrweb custom event that stands for a block which could not be read.
pub const GAP_TAG: &str = "reelcase.gap";

/// What file to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Lines of all windows in the order of time.
    Jsonl,
    /// The stored blocks with an index.
    Reel,
}

/// A block that cannot be read, and is missing from an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The object it is in.
    pub object: String,
    /// Its ordinal there.
    pub block: u32,
    /// The first moment of it, ms.
    pub start_ms: i64,
    /// The last moment of it, ms.
    pub end_ms: i64,
    /// How many lines it had.
    pub event_count: u64,
}

/// One recording as a file, made a piece at a time.
pub struct Export<'a> {
    store: &'a Store,
    row: RecordingRow,
    said: Said,
    gaps: Vec<Gap>,
    maker: Maker<'a>,
}

enum Maker<'a> {
    Jsonl(LineMerge<'a>),
    Reel { blocks: VecDeque<BlockRow>, state: State },
}

enum State {
    Header,
    Blocks { writer: ReelWriter, ordinals: Vec<u32> },
    Done,
}

impl<'a> Export<'a> {
    /// Begins a file. `blocks` are the recording's, as [`Store::blocks`] returns them.
    pub fn new(store: &'a Store, row: RecordingRow, blocks: Vec<BlockRow>, form: Form) -> Self {
        let maker = match form {
            Form::Jsonl => Maker::Jsonl(lines_of(store, row.clone(), blocks)),
            Form::Reel => Maker::Reel { blocks: blocks.into(), state: State::Header },
        };
        Self { store, row, said: Said::default(), gaps: Vec::new(), maker }
    }

    /// Lets the file tell what people said of the recording. Lines have no place for it.
    pub fn add_said(&mut self, said: Said) {
        self.said = said;
    }

    /// Compares every block with its hash, for whoever must be told what is missing before the first byte comes. That
    /// reads everything once more.
    pub async fn find_gaps(&mut self) -> Result<&[Gap], StoreError> {
        let blocks: Vec<&BlockRow> = match &self.maker {
            Maker::Jsonl(merge) => merge.waiting().collect(),
            Maker::Reel { blocks, .. } => blocks.iter().collect(),
        };
        for block in blocks {
            match self.store.check_block(block).await {
                Err(error) if is_gap(&error) => self.gaps.push(Gap::of(block)),
                checked => checked?,
            }
        }
        Ok(&self.gaps)
    }

    /// What is known to be missing from the file; all of it once the file is whole.
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// The next bytes of the file. `None` at its end.
    pub async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        let state = match &mut self.maker {
            Maker::Jsonl(merge) => {
                let chunk = merge.next_chunk().await?;
                let replaced = merge.take_replaced();
                replaced.iter().for_each(|block| self.note(block));
                return Ok(chunk);
            }
            Maker::Reel { state, .. } => std::mem::replace(state, State::Done),
        };
        let (next, bytes) = self.next_of_reel(state).await?;
        if let Maker::Reel { state, .. } = &mut self.maker {
            *state = next;
        }
        Ok(bytes)
    }

    async fn next_of_reel(&mut self, state: State) -> Result<(State, Option<Vec<u8>>), StoreError> {
        match state {
            State::Header => {
                let object = format!("{}-{}", self.row.id, self.row.updated_at_ms);
                let header = ReelHeader { object, creator: CREATOR.to_owned(), other: Map::new() };
                let (writer, bytes) = ReelWriter::new(header)?;
                Ok((State::Blocks { writer, ordinals: Vec::new() }, Some(bytes)))
            }
            State::Blocks { mut writer, mut ordinals } => {
                let Some(row) = self.next_block() else {
                    writer.push_recording(self.entry(ordinals));
                    return Ok((State::Done, Some(writer.finish()?.bytes)));
                };
                let block = match self.read(&row).await {
                    Err(error) if is_gap(&error) => {
                        tell_of_gap(&self.row, &error);
                        self.note(&row);
                        stand_in(&self.row, &row)?
                    }
                    block => block?,
                };
                let (ordinal, bytes) = writer.push_block(block)?;
                ordinals.push(ordinal);
                Ok((State::Blocks { writer, ordinals }, Some(bytes)))
            }
            State::Done => Ok((State::Done, None)),
        }
    }

    fn next_block(&mut self) -> Option<BlockRow> {
        match &mut self.maker {
            Maker::Reel { blocks, .. } => blocks.pop_front(),
            Maker::Jsonl(_) => None,
        }
    }

    /// Has a gap be known, once.
    fn note(&mut self, block: &BlockRow) {
        let gap = Gap::of(block);
        if !self.gaps.contains(&gap) {
            self.gaps.push(gap);
        }
    }
    async fn read(&self, row: &BlockRow) -> Result<EncodedBlock, StoreError> {
        let frame = self.store.read_frame(row).await?;
        EncodedBlock::from_parts(head_of(row), &frame).map_err(|source| damaged(row, source))
    }

    fn entry(&self, blocks: Vec<u32>) -> RecordingEntry {
        let person = self.row.person.as_ref().and_then(|person| serde_json::to_value(person).ok());
        let person = person.map(|person| ("person".to_owned(), person));
        RecordingEntry {
            id: self.row.id.clone(),
            project: self.row.project.clone(),
            summary: self.row.summary.clone(),
            blocks,
            uploads: Vec::new(),
            metadata: person.into_iter().chain(self.said.metadata()).collect::<Map<String, Value>>(),
            replaces: Vec::new(),
            other: Map::new(),
        }
    }
}

impl Gap {
    fn of(block: &BlockRow) -> Self {
        Self {
            object: block.object.clone(),
            block: block.block,
            start_ms: block.start_ms,
            end_ms: block.end_ms,
            event_count: block.event_count,
        }
    }
}

/// The block that takes the place of one which cannot be read: the line that says so.
pub(crate) fn stand_in(recording: &RecordingRow, block: &BlockRow) -> Result<EncodedBlock, StoreError> {
    let window = window_of(recording, block);
    let mut builder = BlockBuilder::new(block.project.clone(), Some(block.recording.clone()), BlockKind::Lines);
    let (kind, timestamp_ms) = (kind::CUSTOM, block.start_ms);
    let counted = Counted { window, kind, timestamp_ms, source: None, interaction: None, event: &[] };
    builder.push(&counted, &line_of_gap(window, block));
    builder.encode(SEAL_LEVEL).map_err(|source| damaged(block, source))
}

/// The lines of the blocks, and one for each that cannot be read.
fn lines_of(store: &Store, row: RecordingRow, blocks: Vec<BlockRow>) -> LineMerge<'_> {
    LineMerge::new(store, blocks).with_stand_in(move |block, error| {
        is_gap(error).then(|| {
            tell_of_gap(&row, error);
            line_of_gap(window_of(&row, block), block)
        })
    })
}

/// Whether a block that could not be read is a gap, and nothing that concerns the others.
fn is_gap(error: &StoreError) -> bool {
    matches!(error, StoreError::Block { .. } | StoreError::Object(_))
}

fn tell_of_gap(recording: &RecordingRow, error: &StoreError) {
    let error = error as &dyn std::error::Error;
    tracing::error!(recording = %recording.id, error, "a block cannot be read; an export goes on without it");
}

/// The line that stands for a block which cannot be read.
fn line_of_gap(window: &str, block: &BlockRow) -> Vec<u8> {
    let BlockRow { object, block: ordinal, start_ms, end_ms, event_count, windows, .. } = block;
    let payload = json!({
        "object": object, "block": ordinal, "start_ms": start_ms, "end_ms": end_ms, "event_count": event_count,
        "windows": windows,
    });
    let event = json!({
        "type": kind::CUSTOM, "timestamp": start_ms, "data": { "tag": GAP_TAG, "payload": payload },
    });
    let mut line = Vec::new();
    write_line(window, event.to_string().as_bytes(), &mut line);
    line
}

/// A window that the block was of. One of analytics events names none, and must not add another to the recording.
fn window_of<'a>(row: &'a RecordingRow, block: &'a BlockRow) -> &'a str {
    let known = row.summary.windows.first().map(|window| window.id.as_str());
    block.windows.first().map(String::as_str).or(known).unwrap_or_default()
}
