//! Makes a file of one recording: its lines in the order of time, or a `.reel` file of its own.
//!
//! Every block is read before the first byte goes out, so that whoever gets the file is told beforehand what is missing
//! of it. What cannot be read is left out, and a line takes its place (`docs/format.md` section 3): a file with a gap
//! that says so is worth more than none.

use reelcase_format::block::{BlockBuilder, BlockError, BlockKind, EncodedBlock};
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
use crate::store::{Store, StoreError, head_of};

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
    gaps: Vec<Gap>,
    maker: Maker<'a>,
}

enum Maker<'a> {
    Jsonl(LineMerge<'a>),
    Reel(Box<ReelExport<'a>>),
}

/// Writes one recording, a block at a time.
struct ReelExport<'a> {
    store: &'a Store,
    row: RecordingRow,
    parts: std::vec::IntoIter<Part>,
    said: Said,
    state: State,
}

enum Part {
    Block(BlockRow),
    Gap(BlockRow),
}

enum State {
    Header,
    Blocks { writer: ReelWriter, ordinals: Vec<u32> },
    Done,
}

impl<'a> Export<'a> {
    /// Reads every block that belongs into the file, and begins with those that can be read. `blocks` are the
    /// recording's, as [`Store::blocks`] returns them.
    pub async fn new(
        store: &'a Store,
        row: RecordingRow,
        mut blocks: Vec<BlockRow>,
        form: Form,
    ) -> Result<Self, StoreError> {
        if form == Form::Jsonl {
            blocks.retain(|block| block.kind == BlockKind::Lines);
        }
        let (mut gaps, mut parts) = (Vec::new(), Vec::with_capacity(blocks.len()));
        for block in blocks {
            match store.read_lines(&block).await {
                Ok(_) => parts.push(Part::Block(block)),
                Err(error @ (StoreError::Block { .. } | StoreError::Object(_))) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(recording = %row.id, error, "a block cannot be read; an export goes on without it");
                    gaps.push(Gap::of(&block));
                    parts.push(Part::Gap(block));
                }
                Err(error) => return Err(error),
            }
        }
        let maker = match form {
            Form::Jsonl => Maker::Jsonl(lines_of(store, &row, parts)),
            Form::Reel => {
                let parts = parts.into_iter();
                let said = Said::default();
                Maker::Reel(Box::new(ReelExport { store, row, parts, said, state: State::Header }))
            }
        };
        Ok(Self { gaps, maker })
    }

    /// Lets the file tell what people said of the recording. Lines have no place for it.
    pub fn add_said(&mut self, said: Said) {
        if let Maker::Reel(reel) = &mut self.maker {
            reel.said = said;
        }
    }

    /// What is missing from the file, in playback order.
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// The next bytes of the file. `None` at its end.
    pub async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        match &mut self.maker {
            Maker::Jsonl(merge) => merge.next_chunk().await,
            Maker::Reel(reel) => reel.next_chunk().await,
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

impl ReelExport<'_> {
    async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Header => {
                let object = format!("{}-{}", self.row.id, self.row.updated_at_ms);
                let header = ReelHeader { object, creator: CREATOR.to_owned(), other: Map::new() };
                let (writer, bytes) = ReelWriter::new(header)?;
                self.state = State::Blocks { writer, ordinals: Vec::new() };
                Ok(Some(bytes))
            }
            State::Blocks { mut writer, mut ordinals } => {
                let block = match self.parts.next() {
                    Some(Part::Block(row)) => self.read(&row).await?,
                    Some(Part::Gap(row)) => stand_in(&self.row, &row)?,
                    None => {
                        writer.push_recording(self.entry(ordinals));
                        return Ok(Some(writer.finish()?.bytes));
                    }
                };
                let (ordinal, bytes) = writer.push_block(block)?;
                ordinals.push(ordinal);
                self.state = State::Blocks { writer, ordinals };
                Ok(Some(bytes))
            }
            State::Done => Ok(None),
        }
    }

    async fn read(&self, row: &BlockRow) -> Result<EncodedBlock, StoreError> {
        let frame = self.store.read_frame(row).await?;
        EncodedBlock::from_parts(head_of(row), &frame).map_err(|source| unusable(row, source))
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

/// The block that takes the place of one which cannot be read: the line that says so.
pub(crate) fn stand_in(recording: &RecordingRow, block: &BlockRow) -> Result<EncodedBlock, StoreError> {
    let window = window_of(recording, block);
    let mut builder = BlockBuilder::new(block.project.clone(), Some(block.recording.clone()), BlockKind::Lines);
    let (kind, timestamp_ms) = (kind::CUSTOM, block.start_ms);
    let counted = Counted { window, kind, timestamp_ms, source: None, interaction: None, event: &[] };
    builder.push(&counted, &line_of_gap(window, block));
    builder.encode(SEAL_LEVEL).map_err(|source| unusable(block, source))
}

/// The lines of the blocks, those that stand for missing ones among them.
fn lines_of<'a>(store: &'a Store, row: &RecordingRow, parts: Vec<Part>) -> LineMerge<'a> {
    let (mut blocks, mut gaps) = (Vec::new(), Vec::new());
    for part in parts {
        match part {
            Part::Block(block) => blocks.push(block),
            Part::Gap(block) => gaps.push(block),
        }
    }
    gaps.sort_by_key(|block| block.start_ms);
    let stand_ins = gaps.iter().flat_map(|block| line_of_gap(window_of(row, block), block)).collect();
    LineMerge::new(store, blocks).with_lines(stand_ins)
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

fn unusable(block: &BlockRow, source: BlockError) -> StoreError {
    StoreError::Block { object: block.object.clone(), block: block.block, source }
}
