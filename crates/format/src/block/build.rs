//! Collects the lines of one block and fills in its head.

use std::collections::{HashMap, HashSet};

use serde_json::Map;

use super::{BlockError, BlockHash, BlockHead, BlockKind, EncodedBlock, Keyframe, encode_block, matches};
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
    draft: BlockDraft,
    plain: Vec<u8>,
}

impl BlockBuilder {
    /// Starts an empty block. `recording` is `None` for what belongs to the project as a whole.
    pub fn new(project: ProjectKey, recording: Option<RecordingId>, kind: BlockKind) -> Self {
        Self { draft: BlockDraft::new(project, recording, kind), plain: Vec::new() }
    }

    /// Adds one rrweb event. `line` is its line, newline included (`line::write_line`).
    pub fn push(&mut self, counted: &Counted<'_>, line: &[u8]) {
        self.draft.push(counted, line.len());
        self.plain.extend_from_slice(line);
    }

    /// Adds one line of a block of kind `events`, newline included.
    pub fn push_line(&mut self, timestamp_ms: i64, line: &[u8]) {
        self.draft.push_line(timestamp_ms, line.len());
        self.plain.extend_from_slice(line);
    }

    /// Notes that lines of this block came from `upload`. Call it in each block that has lines of it; twice is as once.
    pub fn note_upload(&mut self, upload: UploadId) {
        self.draft.note_upload(upload);
    }

    /// Whether the next line should begin another block.
    pub fn is_full(&self) -> bool {
        self.draft.is_full()
    }

    /// Whether the head has become so large that the next line should begin another block, however few lines there are.
    pub fn is_head_full(&self) -> bool {
        self.draft.is_head_full()
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
        self.draft.encode_and_restart(&self.plain, level)
    }
}

/// A block whose lines lie one after the other somewhere else: fills in the head as [`BlockBuilder`] does, without a
/// copy of them.
#[derive(Debug)]
pub struct BlockDraft {
    head: BlockHead,
    plain_bytes: usize,
    head_bytes: usize,
    /// Places in `head.windows`.
    windows: HashMap<String, usize>,
    /// Of each of these windows, where its Meta event begins, if that was its last event.
    metas: Vec<Option<u64>>,
    /// The window of the last event, which is that of most.
    last_window: usize,
    upload_ids: HashSet<UploadId>,
}

impl BlockDraft {
    /// Starts an empty block. `recording` is `None` for what belongs to the project as a whole.
    pub fn new(project: ProjectKey, recording: Option<RecordingId>, kind: BlockKind) -> Self {
        Self {
            head: empty_head(project, recording, kind),
            plain_bytes: 0,
            head_bytes: 0,
            windows: HashMap::new(),
            metas: Vec::new(),
            last_window: 0,
            upload_ids: HashSet::new(),
        }
    }

    /// Counts one rrweb event, whose line, newline included, takes `line_bytes`.
    pub fn push(&mut self, counted: &Counted<'_>, line_bytes: usize) {
        let line_starts = self.plain_bytes as u64;
        let window = self.place_of(counted.window);
        let meta = self.metas[window].take();
        match counted.kind {
            kind::FULL_SNAPSHOT => {
                self.head_bytes += HEAD_ITEM_BYTES + counted.window.len() * ESCAPE_FACTOR;
                self.head.keyframes.push(Keyframe {
                    window: counted.window.to_owned(),
                    timestamp_ms: counted.timestamp_ms,
                    plain_offset: meta.unwrap_or(line_starts),
                });
            }
            kind::META => self.metas[window] = Some(line_starts),
            _ => {}
        }
        self.push_line(counted.timestamp_ms, line_bytes);
    }

    /// Counts one line of a block of kind `events`, of so many bytes, newline included.
    pub fn push_line(&mut self, timestamp_ms: i64, line_bytes: usize) {
        let head = &mut self.head;
        if head.event_count == 0 {
            (head.start_ms, head.end_ms) = (timestamp_ms, timestamp_ms);
        }
        head.start_ms = head.start_ms.min(timestamp_ms);
        head.end_ms = head.end_ms.max(timestamp_ms);
        head.event_count += 1;
        self.plain_bytes += line_bytes;
    }

    /// Notes that lines of this block came from `upload`. Call it in each block that has lines of it; twice is as once.
    pub fn note_upload(&mut self, upload: UploadId) {
        if self.head.uploads.last() != Some(&upload) && self.upload_ids.insert(upload) {
            self.head_bytes += HEAD_ITEM_BYTES;
            self.head.uploads.push(upload);
        }
    }

    /// Whether the next line should begin another block.
    pub fn is_full(&self) -> bool {
        self.plain_bytes >= BLOCK_PLAIN_BYTES_TARGET || self.is_head_full()
    }

    /// Whether the head has become so large that the next line should begin another block, however few lines there are.
    pub fn is_head_full(&self) -> bool {
        self.head_bytes >= BLOCK_HEAD_BYTES_TARGET
    }

    /// Compresses the lines that were counted, `plain`, and stands there as an empty block of the same kind of the same
    /// recording. Fails with [`BlockError::NotLines`] where there are none.
    pub fn encode_and_restart(&mut self, plain: &[u8], level: i32) -> Result<EncodedBlock, BlockError> {
        let BlockHead { project, recording, kind, .. } = &self.head;
        let restarted = Self::new(project.clone(), recording.clone(), *kind);
        let Self { mut head, plain_bytes, .. } = std::mem::replace(self, restarted);
        matches("plain bytes", plain_bytes as u64, plain.len() as u64)?;
        // A Meta line is only known to begin a keyframe once its snapshot came, so windows may have overtaken each
        // other.
        head.keyframes.sort_by_key(|keyframe| keyframe.plain_offset);
        encode_block(plain, head, level)
    }

    fn place_of(&mut self, window: &str) -> usize {
        if self.head.windows.get(self.last_window).is_some_and(|last| last == window) {
            return self.last_window;
        }
        self.last_window = match self.windows.get(window) {
            Some(known) => *known,
            None => {
                let place = self.metas.len();
                self.windows.insert(window.to_owned(), place);
                self.metas.push(None);
                self.head_bytes += HEAD_ITEM_BYTES + window.len() * ESCAPE_FACTOR;
                self.head.windows.push(window.to_owned());
                place
            }
        };
        self.last_window
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
