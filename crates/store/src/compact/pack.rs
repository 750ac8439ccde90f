//! Packs lines, in the order they come, into large blocks that begin where playback can.

use reelcase_format::block::{BlockBuilder, BlockKind};
use reelcase_format::event::{EventHead, kind};
use reelcase_format::id::{ProjectKey, RecordingId, UploadId};
use reelcase_format::line::split_line;
use reelcase_format::summary::Counted;

use crate::merge::timestamp_of;

/// Bytes of lines that a block has about: as many as the largest window spans. Blocks half as large take 7 % more, and
/// larger ones would make a player fetch much to show little.
const BLOCK_BYTES_TARGET: usize = 8 << 20;

/// From this size on, a block ends where a keyframe comes up.
const BLOCK_BYTES_MIN: usize = BLOCK_BYTES_TARGET / 2;

/// At this size it ends, keyframe or not.
const BLOCK_BYTES_MAX: usize = BLOCK_BYTES_TARGET * 2;

/// Collects lines of one kind of one recording, or of a project.
pub(super) struct Packer {
    project: ProjectKey,
    recording: Option<RecordingId>,
    kind: BlockKind,
    builder: BlockBuilder,
    /// Whether the last line is a Meta event: the snapshot that follows belongs to it.
    is_after_meta: bool,
    /// The last time that could be read, for lines without one.
    last_ms: i64,
}

impl Packer {
    pub(super) fn new(project: ProjectKey, recording: Option<RecordingId>, kind: BlockKind) -> Self {
        let builder = BlockBuilder::new(project.clone(), recording.clone(), kind);
        Self { project, recording, kind, builder, is_after_meta: false, last_ms: 0 }
    }

    /// Adds one line, without its newline. Returns the block that was full before it.
    pub(super) fn push(&mut self, line: &[u8]) -> Option<BlockBuilder> {
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line);
        bytes.push(b'\n');
        let parts = if self.kind == BlockKind::Lines { split_line(line) } else { None };
        let event = parts.as_ref().and_then(|(window, event)| Some((window, event, EventHead::read(event)?)));
        let Some((window, event, head)) = event else {
            let full = self.cut_at(false);
            self.last_ms = timestamp_of(line, self.kind).unwrap_or(self.last_ms);
            self.builder.push_line(self.last_ms, &bytes);
            return full;
        };
        let is_keyframe = head.kind == kind::META || (head.kind == kind::FULL_SNAPSHOT && !self.is_after_meta);
        let full = self.cut_at(is_keyframe);
        self.is_after_meta = head.kind == kind::META;
        self.last_ms = head.timestamp_ms();
        self.builder.push(&Counted::new(window, &head, event), &bytes);
        full
    }

    /// Notes where the lines came from.
    pub(super) fn note_upload(&mut self, upload: UploadId) {
        self.builder.note_upload(upload);
    }

    /// The last block, if there is any line in it.
    pub(super) fn finish(self) -> Option<BlockBuilder> {
        (!self.builder.is_empty()).then_some(self.builder)
    }

    fn cut_at(&mut self, is_keyframe: bool) -> Option<BlockBuilder> {
        let plain_bytes = self.builder.plain_bytes();
        let is_full = plain_bytes >= BLOCK_BYTES_MAX || self.builder.is_head_full();
        let is_good_place = is_keyframe && plain_bytes >= BLOCK_BYTES_MIN;
        if !is_full && !is_good_place {
            return None;
        }
        let next = BlockBuilder::new(self.project.clone(), self.recording.clone(), self.kind);
        Some(std::mem::replace(&mut self.builder, next))
    }
}
