//! Writes a file front to back.

use serde_json::{Map, Value};

use super::{
    BlockEntry, Index, OBJECT_ID_BYTES_MAX, RecordingEntry, ReelError, ReelHeader, ReelLimits, TAIL_BYTES, within,
};
use crate::block::frame::{self, Tag};
use crate::block::{EncodedBlock, compress};

/// The index compresses well at zstd's default, and is written once per file.
const INDEX_LEVEL: i32 = 3;

/// Builds a file out of blocks. Each call returns the bytes to append, in order, without gaps.
///
/// Until [`finish`](Self::finish) the bytes are a file without an index, whose blocks [`super::recover`] finds.
#[derive(Debug)]
pub struct ReelWriter {
    file_bytes: u64,
    index: Index,
}

/// The end of a file.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The index and the tail, to be appended last.
    pub bytes: Vec<u8>,
    /// What a reader of the file will find.
    pub index: Index,
    /// Length of the whole file.
    pub file_bytes: u64,
}

impl ReelWriter {
    /// Begins a file. Returns the writer and the header's bytes.
    pub fn new(header: ReelHeader) -> Result<(Self, Vec<u8>), ReelError> {
        within_object_id(&header.object)?;
        let json = serde_json::to_vec(&header).map_err(|error| ReelError::corrupt("header", error))?;
        within("header", json.len() as u64, ReelLimits::default().header_bytes_max)?;
        let bytes = seal("header", Tag::Header, &json)?;
        let ReelHeader { object, creator, .. } = header;
        let (recordings, blocks) = (Vec::new(), Vec::new());
        let index = Index { object, creator, metadata: Map::new(), recordings, blocks, other: Map::new() };
        Ok((Self { file_bytes: bytes.len() as u64, index }, bytes))
    }

    /// Gives the file another object id, as long as the one it has. Returns the header's bytes, which are as many as
    /// those that [`ReelWriter::new`] returned and take their place.
    pub fn rename(&mut self, object: &str) -> Result<Vec<u8>, ReelError> {
        if object.len() != self.index.object.len() {
            return Err(ReelError::corrupt("header", "another object id is as long as the first"));
        }
        let (object, creator) = (object.to_owned(), self.index.creator.clone());
        let (renamed, bytes) = Self::new(ReelHeader { object, creator, other: Map::new() })?;
        self.index.object = renamed.index.object;
        Ok(bytes)
    }

    /// Says something of the whole file in the index.
    pub fn set_metadata(&mut self, name: &str, value: impl Into<Value>) {
        self.index.metadata.insert(name.to_owned(), value.into());
    }

    /// Adds a block. Returns its ordinal, for its recording's entry, and the bytes to append.
    pub fn push_block(&mut self, block: EncodedBlock) -> Result<(u32, Vec<u8>), ReelError> {
        let ordinal = u32::try_from(self.index.blocks.len());
        let ordinal = ordinal.map_err(|_| ReelError::Inconsistent("a file has at most 2^32 blocks".to_owned()))?;
        let (head, bytes, frame_starts) = block.into_parts();
        self.index.blocks.push(BlockEntry { head, offset: self.file_bytes + frame_starts as u64 });
        self.file_bytes += bytes.len() as u64;
        Ok((ordinal, bytes))
    }

    /// Adds a recording to the index, any time after its blocks.
    pub fn push_recording(&mut self, recording: RecordingEntry) {
        self.index.recordings.push(recording);
    }

    /// Bytes of the file so far.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Ends the file. Fails with [`ReelError::Inconsistent`] where a recording names a block that is not its own.
    pub fn finish(self) -> Result<Finished, ReelError> {
        let limits = ReelLimits::default();
        self.index.validate(self.file_bytes, &limits)?;
        let json = serde_json::to_vec(&self.index).map_err(|error| ReelError::corrupt("index", error))?;
        within("index content", json.len() as u64, limits.index_plain_bytes_max)?;
        let stored = compress(&json, INDEX_LEVEL).map_err(|error| ReelError::corrupt("index", error))?;
        let mut bytes = seal("index", Tag::Index, &stored)?;
        within("index", bytes.len() as u64, limits.index_stored_bytes_max)?;
        bytes.extend_from_slice(&tail_of(self.file_bytes, &bytes)?);
        let file_bytes = self.file_bytes + bytes.len() as u64;
        Ok(Finished { bytes, index: self.index, file_bytes })
    }
}

/// The tail of a file whose index is `index_frame` and begins at `index_offset`.
pub(super) fn tail_of(index_offset: u64, index_frame: &[u8]) -> Result<Vec<u8>, ReelError> {
    let mut tail = Vec::with_capacity(TAIL_BYTES);
    tail.extend_from_slice(&index_offset.to_le_bytes());
    tail.extend_from_slice(&(index_frame.len() as u64).to_le_bytes());
    tail.extend_from_slice(&frame::check(index_frame, &[]));
    seal("tail", Tag::Tail, &tail)
}

fn within_object_id(object: &str) -> Result<(), ReelError> {
    if object.is_empty() {
        return Err(ReelError::corrupt("header", "the object id is empty"));
    }
    within("object id", object.len() as u64, OBJECT_ID_BYTES_MAX)
}

pub(super) fn seal(part: &'static str, tag: Tag, body: &[u8]) -> Result<Vec<u8>, ReelError> {
    let too_large = ReelError::TooLarge { part, found: body.len() as u64, limit: u64::from(u32::MAX) };
    frame::seal(tag, body).ok_or(too_large)
}
