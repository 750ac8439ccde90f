//! Lays a recording out as a `.reel` file of its own: its stored blocks, copied as they are, and an index.

use reelcase_format::block::{BlockError, EncodedBlock};
use reelcase_format::reel::{RecordingEntry, ReelHeader, ReelWriter};
use serde_json::{Map, Value};

use crate::catalog::{BlockRow, RecordingRow};
use crate::seal::CREATOR;
use crate::store::{Store, StoreError, head_of};

/// Writes one recording, a block at a time.
pub struct ReelExport<'a> {
    store: &'a Store,
    row: RecordingRow,
    blocks: std::vec::IntoIter<BlockRow>,
    state: State,
}

enum State {
    Header,
    Blocks { writer: ReelWriter, ordinals: Vec<u32> },
    Done,
}

impl<'a> ReelExport<'a> {
    /// Begins with the recording and its blocks, as [`Store::blocks`] returns them.
    pub fn new(store: &'a Store, row: RecordingRow, blocks: Vec<BlockRow>) -> Self {
        Self { store, row, blocks: blocks.into_iter(), state: State::Header }
    }

    /// The next bytes of the file. `None` at its end. Fails with [`StoreError::Block`] at a damaged block.
    pub async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Header => {
                let object = format!("{}-{}", self.row.id, self.row.updated_at_ms);
                let header = ReelHeader { object, creator: CREATOR.to_owned(), other: Map::new() };
                let (writer, bytes) = ReelWriter::new(header)?;
                self.state = State::Blocks { writer, ordinals: Vec::new() };
                Ok(Some(bytes))
            }
            State::Blocks { mut writer, mut ordinals } => {
                let Some(row) = self.blocks.next() else {
                    writer.push_recording(self.entry(ordinals));
                    return Ok(Some(writer.finish()?.bytes));
                };
                let (ordinal, bytes) = writer.push_block(self.read(&row).await?)?;
                ordinals.push(ordinal);
                self.state = State::Blocks { writer, ordinals };
                Ok(Some(bytes))
            }
            State::Done => Ok(None),
        }
    }

    async fn read(&self, row: &BlockRow) -> Result<EncodedBlock, StoreError> {
        let frame = self.store.read_frame(row).await?;
        let damaged = |source: BlockError| StoreError::Block { object: row.object.clone(), block: row.block, source };
        EncodedBlock::from_parts(head_of(row), &frame).map_err(damaged)
    }

    fn entry(&self, blocks: Vec<u32>) -> RecordingEntry {
        let person = self.row.person.as_ref().and_then(|person| serde_json::to_value(person).ok());
        RecordingEntry {
            id: self.row.id.clone(),
            project: self.row.project.clone(),
            summary: self.row.summary.clone(),
            blocks,
            uploads: Vec::new(),
            metadata: person.map(|person| ("person".to_owned(), person)).into_iter().collect::<Map<String, Value>>(),
            replaces: Vec::new(),
            other: Map::new(),
        }
    }
}
