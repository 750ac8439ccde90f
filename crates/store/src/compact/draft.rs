//! An object while it takes shape: a file without a name that counts, written front to back.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use reelcase_format::block::BlockBuilder;
use reelcase_format::reel::{Finished, RecordingEntry, ReelError, ReelHeader, ReelWriter};
use serde_json::{Map, Value};

use super::{INDEX_BYTES_TARGET, OBJECT_BYTES_TARGET};
use crate::catalog::ObjectKind;
use crate::entry;
use crate::objects::ObjectError;
use crate::seal::CREATOR;
use crate::store::StoreError;

/// Level at which finished recordings are compressed. Level 15 saves 1 % more and takes twice the time, level 19 saves
/// 4 %
/// and takes twenty times as long.
const COMPACT_LEVEL: i32 = 12;

/// See the module's page.
pub(super) struct Draft {
    writer: ReelWriter,
    file: BufWriter<File>,
    carries: Vec<String>,
    block_count: u64,
    entry_bytes: usize,
}

impl Draft {
    /// Begins a draft, in place of one that was never finished. `object` is as long as the id it will have.
    pub(super) fn begin(path: &Path, object: &str) -> Result<Self, StoreError> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(path).map_err(ObjectError::Sync)?;
        let header = ReelHeader { object: object.to_owned(), creator: CREATOR.to_owned(), other: Map::new() };
        let (writer, bytes) = ReelWriter::new(header)?;
        let (file, carries) = (BufWriter::with_capacity(1 << 20, file), Vec::new());
        let mut draft = Self { writer, file, carries, block_count: 0, entry_bytes: 0 };
        draft.write(&bytes)?;
        Ok(draft)
    }

    /// Compresses a block and appends it. Returns its ordinal.
    pub(super) fn push(&mut self, block: BlockBuilder) -> Result<u32, StoreError> {
        let encoded = block.encode(COMPACT_LEVEL).map_err(ReelError::from)?;
        let (ordinal, bytes) = self.writer.push_block(encoded)?;
        self.write(&bytes)?;
        self.block_count += 1;
        Ok(ordinal)
    }

    /// Enters a recording whose blocks were pushed.
    pub(super) fn push_recording(&mut self, entry: RecordingEntry) {
        self.entry_bytes += serde_json::to_vec(&entry).map_or(0, |json| json.len());
        self.writer.push_recording(entry);
    }

    /// Notes that all blocks of no recording of `object` are in this one, and so what they were carried from.
    pub(super) fn carry(&mut self, object: String, carried_by_it: Vec<String>) {
        self.carries.push(object);
        self.carries.extend(carried_by_it);
    }

    /// Whether the next recording should begin another object.
    pub(super) fn is_full(&self) -> bool {
        self.writer.file_bytes() >= OBJECT_BYTES_TARGET || self.entry_bytes >= INDEX_BYTES_TARGET
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.block_count == 0
    }

    /// Syncs what is there, so that little is left to sync when the draft is placed.
    pub(super) fn sync(&mut self) -> Result<(), StoreError> {
        let synced = self.file.flush().and_then(|()| self.file.get_ref().sync_data());
        Ok(synced.map_err(ObjectError::Sync)?)
    }

    /// Ends the file, under its final id, and syncs it.
    pub(super) fn finish(mut self, object: &str, now_ms: i64) -> Result<Finished, StoreError> {
        let header = self.writer.rename(object)?;
        self.writer.set_metadata(entry::KIND, entry::kind_name(ObjectKind::Compacted));
        self.writer.set_metadata(entry::SEALED_AT, now_ms);
        if !self.carries.is_empty() {
            self.carries.sort();
            self.carries.dedup();
            self.writer.set_metadata(entry::CARRIES, self.carries.into_iter().map(Value::from).collect::<Vec<_>>());
        }
        let finished = self.writer.finish()?;
        let write = |mut file: BufWriter<File>| -> io::Result<()> {
            file.write_all(&finished.bytes)?;
            // Flushes, then goes back to the header, which is as long under any id.
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&header)?;
            file.flush()?;
            file.get_ref().sync_all()
        };
        write(self.file).map_err(ObjectError::Sync)?;
        Ok(finished)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        Ok(self.file.write_all(bytes).map_err(ObjectError::Sync)?)
    }
}
