//! The `.reel` file: blocks of one recording or of many, with an index at the end. `docs/format.md`.
//!
//! Nothing here opens a file. [`ReelWriter`] returns the bytes to append; [`IndexReader`] says which bytes it needs;
//! [`recover`], [`verify`] and [`sign`] read through a [`Source`]. Every length in a file is a claim, compared with the file
//! and with [`ReelLimits`] before memory is taken for it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::block::frame::{FRAME_HEAD_BYTES, FrameFlaw};
use crate::block::{BlockError, BlockHead, BlockLimits};
use crate::count::counted_as;
use crate::id::{ProjectKey, RecordingId, UploadId};
use crate::sign::PublicKey;
use crate::summary::Summary;

mod read;
mod recover;
mod sign;
mod write;

pub use read::{IndexReader, Step, newer_version};
pub use recover::{Damage, Recovered, Report, Source, index_of, recover, verify};
pub use sign::{
    NotSigned, SIGNATURE_FRAME_BYTES, SIGNATURES_MAX, SignError, Signed, bearing, is_among, listed, sign, sign_stored,
    stored_signers,
};
pub use write::{Finished, ReelWriter};

/// Bytes of the tail, which ends every file.
pub const TAIL_BYTES: usize = FRAME_HEAD_BYTES + 32;

/// Longest object id, in bytes.
pub const OBJECT_ID_BYTES_MAX: usize = 256;

/// The newest format version this code reads, and the one it writes.
pub const REEL_VERSION: u16 = crate::block::frame::VERSION;

/// What a file may be. A writer obeys the default; a reader may allow less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReelLimits {
    /// Of each block.
    pub block: BlockLimits,
    /// Bytes of the header's JSON.
    pub header_bytes_max: usize,
    /// Bytes of the index as stored, its frame included.
    pub index_stored_bytes_max: usize,
    /// Bytes of the index's JSON.
    pub index_plain_bytes_max: usize,
}

impl Default for ReelLimits {
    fn default() -> Self {
        Self {
            block: BlockLimits::default(),
            header_bytes_max: 64 << 10,
            index_stored_bytes_max: 64 << 20,
            index_plain_bytes_max: 256 << 20,
        }
    }
}

/// The first frame of a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReelHeader {
    /// Names this file among others; 1 to [`OBJECT_ID_BYTES_MAX`] bytes.
    pub object: String,
    /// Program and version that wrote it, such as `reelcase/0.1.0`.
    #[serde(default)]
    pub creator: String,
    /// Keys of newer writers, kept as they are.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// What a file holds and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Index {
    /// As in the header.
    pub object: String,
    /// As in the header.
    #[serde(default)]
    pub creator: String,
    /// What else is known of the file, such as who wrote it and when.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// One entry for each recording.
    pub recordings: Vec<RecordingEntry>,
    /// One entry for each block, ascending by offset. The place in this list is a block's ordinal.
    pub blocks: Vec<BlockEntry>,
    /// Keys of newer writers, kept as they are.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A recording, or the part of it that is in this file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordingEntry {
    /// The recording.
    pub id: RecordingId,
    /// The project it belongs to.
    pub project: ProjectKey,
    /// Figures over the blocks of this file alone.
    #[serde(default)]
    pub summary: Summary,
    /// Ordinals of its blocks, in playback order.
    #[serde(default)]
    pub blocks: Vec<u32>,
    /// Uploads with lines in these blocks whose heads do not name them; 32 hex digits each in JSON.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "crate::block::hex_ids")]
    pub uploads: Vec<UploadId>,
    /// What else is known of it, such as `person`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// Blocks of other files whose lines are in this one, and which are not to be read beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<BlockRef>,
    /// Keys of newer writers, kept as they are.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Names a block of any file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlockRef {
    /// The object id of the file.
    pub object: String,
    /// The block's ordinal in it.
    pub block: u32,
}

/// A block and where it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlockEntry {
    /// What the block holds.
    #[serde(flatten)]
    pub head: BlockHead,
    /// Where its zstd frame begins in the file. It ends `head.stored_bytes` later.
    pub offset: u64,
}

/// Why a file cannot be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReelError {
    /// Written by a newer release. The data is fine; upgrade to read it.
    #[error("reel format {found} is newer than the newest supported, {REEL_VERSION}")]
    TooNew {
        /// The version in the file.
        found: u16,
    },
    /// There is no tail in the last bytes: not a reel file, or cut off. [`recover`] may find blocks in it.
    #[error("the last {TAIL_BYTES} of {file_bytes} bytes are not the tail of a reel file")]
    NoTail {
        /// Length of the file.
        file_bytes: u64,
    },
    /// The file does not begin with a header.
    #[error("the file does not begin with a reel header")]
    NoHeader,
    /// A part of the file does not match its check, or does not say what it should.
    #[error("{part} is corrupt: {what}")]
    Corrupt {
        /// Which part.
        part: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// More than the limit allows. Nothing was allocated for it.
    #[error("{part} has {found} bytes, the limit is {limit}")]
    TooLarge {
        /// Which part.
        part: &'static str,
        /// Its length, or what is claimed to be.
        found: u64,
        /// What is allowed.
        limit: u64,
    },
    /// The medium does not give the bytes.
    #[error("the bytes cannot be read: {0}")]
    Unreadable(String),
    /// A part claims to reach beyond the file.
    #[error("{part} is cut off")]
    CutOff {
        /// Which part.
        part: &'static str,
    },
    /// Bytes that are no frame, or a zstd frame without a block head.
    #[error("{}", counted_as(*bytes, "byte belongs to no intact block", "bytes belong to no intact block"))]
    Stray {
        /// How many.
        bytes: u64,
    },
    /// The caller handed an [`IndexReader`] other bytes than it asked for.
    #[error("{found} bytes supplied, {needed} needed")]
    WrongSupply {
        /// What was supplied.
        found: u64,
        /// What was asked for.
        needed: u64,
    },
    /// An index entry names what is not there, or contradicts a block.
    #[error("index is inconsistent: {0}")]
    Inconsistent(String),
    /// A signature was made for other bytes than these.
    #[error("the signature of {signer} does not fit: something was changed since, or it is of another file")]
    Signature {
        /// Whose it is said to be.
        signer: PublicKey,
    },
    /// A block is damaged.
    #[error(transparent)]
    Block(#[from] BlockError),
}

impl ReelError {
    fn corrupt(part: &'static str, what: impl ToString) -> Self {
        Self::Corrupt { part, what: what.to_string() }
    }

    fn from_flaw(part: &'static str, flaw: FrameFlaw) -> Self {
        match flaw {
            FrameFlaw::CutOff => Self::CutOff { part },
            FrameFlaw::Corrupt => Self::corrupt(part, "its check does not match"),
            FrameFlaw::TooNew(found) => Self::TooNew { found },
        }
    }
}

fn within(part: &'static str, found: u64, limit: usize) -> Result<(), ReelError> {
    let limit = limit as u64;
    if found > limit { Err(ReelError::TooLarge { part, found, limit }) } else { Ok(()) }
}

impl Index {
    /// Checks what a reader relies on: blocks ascend, do not overlap, end before `blocks_end` and keep to the limits;
    /// each recording names blocks that exist and are its own, each once.
    fn validate(&self, blocks_end: u64, limits: &ReelLimits) -> Result<(), ReelError> {
        let mut free_from = 0;
        for (ordinal, entry) in self.blocks.iter().enumerate() {
            let head = &entry.head;
            within("block", head.stored_bytes, limits.block.stored_bytes_max)?;
            within("block content", head.plain_bytes, limits.block.plain_bytes_max)?;
            let end = entry.offset.checked_add(head.stored_bytes).filter(|end| *end <= blocks_end);
            let Some(end) = end.filter(|_| entry.offset >= free_from) else {
                return Err(ReelError::Inconsistent(format!(
                    "block {ordinal} at {} overlaps another part",
                    entry.offset
                )));
            };
            free_from = end;
        }
        let mut is_taken = vec![false; self.blocks.len()];
        self.recordings.iter().try_for_each(|recording| self.validate_recording(recording, &mut is_taken))
    }

    fn validate_recording(&self, recording: &RecordingEntry, is_taken: &mut [bool]) -> Result<(), ReelError> {
        for &ordinal in &recording.blocks {
            let entry = usize::try_from(ordinal).ok().and_then(|at| self.blocks.get(at).zip(is_taken.get_mut(at)));
            let is_its_own = entry.is_some_and(|(entry, is_taken)| {
                let head = &entry.head;
                let is_free = !std::mem::replace(is_taken, true);
                is_free && head.project == recording.project && head.recording.as_ref() == Some(&recording.id)
            });
            if !is_its_own {
                let id = &recording.id;
                return Err(ReelError::Inconsistent(format!(
                    "block {ordinal} is not of recording {id}, or named twice"
                )));
            }
        }
        Ok(())
    }
}
