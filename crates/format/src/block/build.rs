//! Collects the lines of one block and fills in its head.

use std::collections::{HashMap, HashSet};

use serde_json::Map;

use super::{BlockError, BlockHash, BlockHead, BlockKind, EncodedBlock, Keyframe, encode_block};
use crate::event::kind;
use crate::id::{ProjectKey, RecordingId, UploadId};
use crate::summary::Counted;

/// A block is full once its lines take this many bytes. More would make a player fetch much to show little.
pub const BLOCK_PLAIN_BYTES_TARGET: usize = 4 << 20;

/// A block is full once its head takes about this many bytes, so that no client can make heads that are all window ids.
pub const BLOCK_HEAD_BYTES_TARGET: usize = 1 << 20;

/// What an upload id, or a window or keyframe besides its id, takes in a head's JSON.
const HEAD_ITEM_BYTES: usize = 96;
/// How much JSON escapes may lengthen a window id.
const ESCAPE_FACTOR: usize = 6;

/// Collects lines until it [is full](BlockBuilder::is_full), then encodes them.
#[derive(Debug)]
pub struct BlockBuilder {
    head: BlockHead,
    plain: Vec<u8>,
    head_bytes: usize,
    /// By window: where its Meta event begins, if that was its last event.
    metas: HashMap<String, Option<u64>>,
    upload_ids: HashSet<UploadId>,
}

impl BlockBuilder {
    /// Starts an empty block. `recording` is `None` for what belongs to the project as a whole.
    pub fn new(project: ProjectKey, recording: Option<RecordingId>, kind: BlockKind) -> Self {
        Self::with_memory(project, recording, kind, Vec::new())
    }

    /// Does as [`BlockBuilder::new`], and collects the lines in memory that another block used before.
    pub fn with_memory(
        project: ProjectKey,
        recording: Option<RecordingId>,
        kind: BlockKind,
        mut memory: Vec<u8>,
    ) -> Self {
        memory.clear();
        let head = empty_head(project, recording, kind);
        Self { head, plain: memory, head_bytes: 0, metas: HashMap::new(), upload_ids: HashSet::new() }
    }

    /// Adds one rrweb event. `line` is its line, newline included (`line::write_line`).
    pub fn push(&mut self, counted: &Counted<'_>, line: &[u8]) {
        let line_starts = self.plain.len() as u64;
        self.push_window(counted.window);
        let meta = self.metas.get_mut(counted.window).and_then(Option::take);
        match counted.kind {
            kind::FULL_SNAPSHOT => {
                self.head_bytes += HEAD_ITEM_BYTES + counted.window.len() * ESCAPE_FACTOR;
                self.head.keyframes.push(Keyframe {
                    window: counted.window.to_owned(),
                    timestamp_ms: counted.timestamp_ms,
                    plain_offset: meta.unwrap_or(line_starts),
                });
            }
            kind::META => {
                self.metas.insert(counted.window.to_owned(), Some(line_starts));
            }
            _ => {}
        }
        self.push_line(counted.timestamp_ms, line);
    }

    /// Adds one line of a block of kind `events`, newline included.
    pub fn push_line(&mut self, timestamp_ms: i64, line: &[u8]) {
        let head = &mut self.head;
        if head.event_count == 0 {
            (head.start_ms, head.end_ms) = (timestamp_ms, timestamp_ms);
        }
        head.start_ms = head.start_ms.min(timestamp_ms);
        head.end_ms = head.end_ms.max(timestamp_ms);
        head.event_count += 1;
        self.plain.extend_from_slice(line);
    }

    /// Notes that lines of this block came from `upload`. Call it in each block that has lines of it; twice is as once.
    pub fn note_upload(&mut self, upload: UploadId) {
        if self.upload_ids.insert(upload) {
            self.head_bytes += HEAD_ITEM_BYTES;
            self.head.uploads.push(upload);
        }
    }

    /// Whether the next line should begin another block.
    pub fn is_full(&self) -> bool {
        self.plain.len() >= BLOCK_PLAIN_BYTES_TARGET || self.is_head_full()
    }

    /// Whether the head has become so large that the next line should begin another block, however few lines there are.
    pub fn is_head_full(&self) -> bool {
        self.head_bytes >= BLOCK_HEAD_BYTES_TARGET
    }

    /// Whether there are no lines, and so nothing to encode.
    pub fn is_empty(&self) -> bool {
        self.plain.is_empty()
    }

    /// Bytes of the lines so far.
    pub fn plain_bytes(&self) -> usize {
        self.plain.len()
    }

    /// Compresses the lines. Fails with [`BlockError::NotLines`] where there are none.
    pub fn encode(mut self, level: i32) -> Result<EncodedBlock, BlockError> {
        self.encode_and_restart(level)
    }

    /// Compresses the lines, and stands there as an empty block of the same kind of the same recording.
    pub fn encode_and_restart(&mut self, level: i32) -> Result<EncodedBlock, BlockError> {
        let empty = empty_head(self.head.project.clone(), self.head.recording.clone(), self.head.kind);
        let mut head = std::mem::replace(&mut self.head, empty);
        // A Meta line is only known to begin a keyframe once its snapshot came, so windows may have overtaken each
        // other.
        head.keyframes.sort_by_key(|keyframe| keyframe.plain_offset);
        let encoded = encode_block(&self.plain, head, level);
        self.plain.clear();
        self.head_bytes = 0;
        self.metas.clear();
        self.upload_ids.clear();
        encoded
    }

    /// Gives the memory of the lines back, for [`BlockBuilder::with_memory`].
    pub fn into_memory(self) -> Vec<u8> {
        self.plain
    }

    fn push_window(&mut self, window: &str) {
        if !self.metas.contains_key(window) {
            self.metas.insert(window.to_owned(), None);
            self.head_bytes += HEAD_ITEM_BYTES + window.len() * ESCAPE_FACTOR;
            self.head.windows.push(window.to_owned());
        }
    }
}

fn empty_head(project: ProjectKey, recording: Option<RecordingId>, kind: BlockKind) -> BlockHead {
    BlockHead {
        project,
        recording,
        kind,
        start_ms: 0,
        end_ms: 0,
        event_count: 0,
        plain_bytes: 0,
        stored_bytes: 0,
        windows: Vec::new(),
        keyframes: Vec::new(),
        uploads: Vec::new(),
        hash: BlockHash::from_bytes([0; 32]),
        other: Map::new(),
    }
}
