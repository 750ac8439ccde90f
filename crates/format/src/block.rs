//! Blocks: the unit that is compressed, stored, listed and sent. `docs/format.md` section 2.
//!
//! A block is a head (who, when, which windows, where playback can begin) and one zstd frame of lines. It depends on no
//! other block, and its zstd frame can go to a browser as it lies on disk.

use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::{ProjectKey, RecordingId, UploadId};

mod build;
pub(crate) mod frame;

pub use build::{BLOCK_HEAD_BYTES_TARGET, BLOCK_PLAIN_BYTES_TARGET, BlockBuilder, BlockDraft};

/// zstd's level that costs least.
const FASTEST_LEVEL: i32 = 1;

/// Entries of that level's table, as a power of two, where zstd has 14. Recordings say the same again far apart: four
/// times as many entries find 5 % more of it, in the same time.
const FASTEST_HASH_LOG: u32 = 16;

/// Largest window a block's zstd frame may need. Browsers refuse more in `Content-Encoding: zstd`.
pub const WINDOW_LOG_MAX: u32 = 23;

/// Smallest window that zstd knows.
const WINDOW_LOG_MIN: u32 = 10;

/// Highest zstd level that keeps to [`WINDOW_LOG_MAX`]; higher ones are taken as this.
pub const LEVEL_MAX: i32 = 19;

/// What one block may be. A writer obeys the default; a reader may allow less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockLimits {
    /// Bytes of the head's JSON.
    pub head_bytes_max: usize,
    /// Bytes of the zstd frame.
    pub stored_bytes_max: usize,
    /// Bytes of the lines.
    pub plain_bytes_max: usize,
}

impl Default for BlockLimits {
    fn default() -> Self {
        Self { head_bytes_max: 4 << 20, stored_bytes_max: 256 << 20, plain_bytes_max: 256 << 20 }
    }
}

/// What the lines of a block are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockKind {
    /// rrweb events, `["window id",{event}]`.
    Lines,
    /// Analytics events and whatever else belongs to a recording, `{"kind":…}`.
    Events,
}

impl BlockKind {
    /// `lines` or `events`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::Events => "events",
        }
    }
}

/// What a block holds, without decoding it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlockHead {
    /// The project it belongs to.
    pub project: ProjectKey,
    /// The recording it belongs to; `None` for what belongs to the project as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<RecordingId>,
    /// What its lines are.
    pub kind: BlockKind,
    /// Smallest timestamp, ms.
    #[serde(default)]
    pub start_ms: i64,
    /// Largest timestamp, ms.
    #[serde(default)]
    pub end_ms: i64,
    /// Lines.
    pub event_count: u64,
    /// Bytes of the lines, newlines included.
    pub plain_bytes: u64,
    /// Bytes of the zstd frame.
    pub stored_bytes: u64,
    /// Window ids in the order they first appear.
    #[serde(default)]
    pub windows: Vec<String>,
    /// Where playback can begin, ascending by `plain_offset`.
    #[serde(default)]
    pub keyframes: Vec<Keyframe>,
    /// The uploads that lines of this block came from; 32 hex digits each in JSON.
    #[serde(default, with = "hex_ids")]
    pub uploads: Vec<UploadId>,
    /// Hash of the zstd frame.
    pub hash: BlockHash,
    /// Keys of newer writers, kept as they are.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A place where a player can begin without anything earlier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyframe {
    /// The window whose picture can be built.
    pub window: String,
    /// Time of the full snapshot, ms: from then on there is a picture.
    pub timestamp_ms: i64,
    /// Where the line of the full snapshot, or of the Meta event directly before it, begins in the block's lines.
    pub plain_offset: u64,
}

/// BLAKE3 of a block's zstd frame. As text: 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BlockHash([u8; 32]);

/// A block ready to be appended to a file.
#[derive(Debug, Clone)]
pub struct EncodedBlock {
    head: BlockHead,
    bytes: Vec<u8>,
    frame_starts: usize,
}

/// Why a block cannot be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The bytes changed after they were stored. Retrying cannot help; another copy can.
    #[error("block is corrupt: hash {stored} stored, {computed} computed")]
    Corrupt {
        /// The hash in the head.
        stored: BlockHash,
        /// The hash of the bytes.
        computed: BlockHash,
    },
    /// More than the limit allows. Nothing was allocated for it.
    #[error("block has {found} {what}, the limit is {limit}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much there is, or is claimed to be.
        found: u64,
        /// How much may be.
        limit: u64,
    },
    /// The head and the zstd frame contradict each other: a faulty writer.
    #[error("block head says {claimed} {what}, there are {found}")]
    Mismatch {
        /// What they disagree on.
        what: &'static str,
        /// What the head says.
        claimed: u64,
        /// What is there.
        found: u64,
    },
    /// The bytes are not one zstd frame with a content size.
    #[error("block is not one zstd frame with a content size: {0}")]
    NotAFrame(&'static str),
    /// The head is not the JSON it should be.
    #[error("block head is not valid: {0}")]
    Head(String),
    /// A keyframe does not begin a line.
    #[error("keyframe at plain offset {plain_offset} is not at the start of a line")]
    Keyframe {
        /// What the head says.
        plain_offset: u64,
    },
    /// Lines must each end with a newline, and there must be one at least.
    #[error("block of {plain_bytes} bytes is empty or does not end with a newline")]
    NotLines {
        /// Bytes given.
        plain_bytes: u64,
    },
}

impl BlockHash {
    /// The hash of `frame`.
    pub fn of(frame: &[u8]) -> Self {
        Self(*blake3::hash(frame).as_bytes())
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// From the 32 bytes, as a catalog may keep them.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BlockHash {
    type Err = BlockError;

    fn from_str(text: &str) -> Result<Self, BlockError> {
        let is_lower_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let hash = blake3::Hash::from_hex(text).ok().filter(|_| is_lower_hex);
        hash.map(|hash| Self(*hash.as_bytes()))
            .ok_or_else(|| BlockError::Head("hash is not 64 lower-case hex digits".to_owned()))
    }
}

impl TryFrom<String> for BlockHash {
    type Error = BlockError;

    fn try_from(text: String) -> Result<Self, BlockError> {
        text.parse()
    }
}

impl From<BlockHash> for String {
    fn from(hash: BlockHash) -> String {
        hash.to_string()
    }
}

impl EncodedBlock {
    /// Joins a head and its zstd frame as read from elsewhere, so that a block is copied without being compressed again.
    /// Fails where the two do not belong together.
    pub fn from_parts(head: BlockHead, frame: &[u8]) -> Result<Self, BlockError> {
        let limits = BlockLimits::default();
        check_frame(frame, &head, &limits)?;
        join(head, frame, &limits)
    }

    /// What the block holds.
    pub fn head(&self) -> &BlockHead {
        &self.head
    }

    /// The head frame and the zstd frame, as they are appended to a file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The zstd frame alone.
    pub fn frame(&self) -> &[u8] {
        &self.bytes[self.frame_starts..]
    }

    /// Head, bytes to append, and where in them the zstd frame begins.
    pub(crate) fn into_parts(self) -> (BlockHead, Vec<u8>, usize) {
        (self.head, self.bytes, self.frame_starts)
    }
}

/// Compresses `plain` and joins it with `head`, whose `plain_bytes`, `stored_bytes` and `hash` are set here.
///
/// `level` is zstd's; levels above [`LEVEL_MAX`] are taken as that. Prefer [`BlockBuilder`], which fills in the head.
pub fn encode_block(plain: &[u8], mut head: BlockHead, level: i32) -> Result<EncodedBlock, BlockError> {
    let limits = BlockLimits::default();
    if plain.last() != Some(&b'\n') {
        return Err(BlockError::NotLines { plain_bytes: plain.len() as u64 });
    }
    within("plain bytes", plain.len() as u64, limits.plain_bytes_max)?;
    with_compressed(plain, level, |stored| {
        head.plain_bytes = plain.len() as u64;
        head.stored_bytes = stored.len() as u64;
        head.hash = BlockHash::of(stored);
        join(head, stored, &limits)
    })
    .map_err(BlockError::NotAFrame)?
}

/// Verifies and decompresses the zstd frame of a block. Returns its lines.
///
/// Sizes are compared with `limits` before anything is allocated, and the hash before anything is decoded.
pub fn decode_block(frame: &[u8], head: &BlockHead, limits: &BlockLimits) -> Result<Vec<u8>, BlockError> {
    check_frame(frame, head, limits)?;
    let plain_bytes = usize::try_from(head.plain_bytes).map_err(|_| BlockError::NotAFrame("content size"))?;
    let mut plain = Vec::with_capacity(plain_bytes);
    let decoded = zstd::bulk::Decompressor::new().and_then(|mut zstd| zstd.decompress_to_buffer(frame, &mut plain));
    decoded.map_err(|_| BlockError::NotAFrame("content does not decode"))?;
    matches("plain bytes", head.plain_bytes, plain.len() as u64)?;
    Ok(plain)
}

/// Compares a zstd frame with its head and the limits, without decoding it: whoever copies a block needs no more.
pub fn check_frame(frame: &[u8], head: &BlockHead, limits: &BlockLimits) -> Result<(), BlockError> {
    within("stored bytes", head.stored_bytes, limits.stored_bytes_max)?;
    within("plain bytes", head.plain_bytes, limits.plain_bytes_max)?;
    matches("stored bytes", head.stored_bytes, frame.len() as u64)?;
    let computed = BlockHash::of(frame);
    if computed != head.hash {
        return Err(BlockError::Corrupt { stored: head.hash, computed });
    }
    let content_bytes = zstd_safe::get_frame_content_size(frame).map_err(|_| BlockError::NotAFrame("no frame"))?;
    let content_bytes = content_bytes.ok_or(BlockError::NotAFrame("no content size"))?;
    matches("plain bytes", head.plain_bytes, content_bytes)?;
    let frame_bytes = zstd_safe::find_frame_compressed_size(frame).map_err(zstd_safe::get_error_name);
    matches("stored bytes", head.stored_bytes, frame_bytes.map_err(BlockError::NotAFrame)? as u64)
}

/// Reads a block head from the body of its frame.
pub(crate) fn parse_head(body: &[u8], limits: &BlockLimits) -> Result<BlockHead, BlockError> {
    within("head bytes", body.len() as u64, limits.head_bytes_max)?;
    serde_json::from_slice(body).map_err(|error| BlockError::Head(error.to_string()))
}

/// Bytes of memory for what comes out that a thread keeps for the next block.
const COMPRESSED_KEPT_BYTES_MAX: usize = 4 << 20;

/// Tables of about a megabyte, and room for what comes out: taking them from the system for every block would cost more
/// than the compression of most.
struct Compressor {
    zstd: zstd_safe::CCtx<'static>,
    stored: Vec<u8>,
}

thread_local! {
    static COMPRESSOR: RefCell<Option<Compressor>> = const { RefCell::new(None) };
}

/// One zstd frame with content size and checksum, of a window that browsers accept.
pub(crate) fn compress(plain: &[u8], level: i32) -> Result<Vec<u8>, &'static str> {
    with_compressed(plain, level, <[u8]>::to_vec)
}

/// Does as [`compress`], and lends what comes out to `take`, which must not compress.
fn with_compressed<T>(plain: &[u8], level: i32, take: impl FnOnce(&[u8]) -> T) -> Result<T, &'static str> {
    COMPRESSOR.with_borrow_mut(|compressor| {
        let compressor = match compressor {
            Some(compressor) => compressor,
            None => compressor.insert(Compressor {
                zstd: zstd_safe::CCtx::try_create().ok_or("no memory for a compressor")?,
                stored: Vec::new(),
            }),
        };
        compressor.compress(plain, level)?;
        let taken = take(&compressor.stored);
        compressor.stored.clear();
        compressor.stored.shrink_to(COMPRESSED_KEPT_BYTES_MAX);
        Ok(taken)
    })
}

impl Compressor {
    /// Puts the frame into `stored`.
    fn compress(&mut self, plain: &[u8], level: i32) -> Result<(), &'static str> {
        let name = zstd_safe::get_error_name;
        // Zero is what the level has.
        let hash_log = if level == FASTEST_LEVEL { FASTEST_HASH_LOG } else { 0 };
        for parameter in [
            zstd_safe::CParameter::CompressionLevel(level.min(LEVEL_MAX)),
            zstd_safe::CParameter::WindowLog(window_log(plain.len())),
            zstd_safe::CParameter::HashLog(hash_log),
            zstd_safe::CParameter::ContentSizeFlag(true),
            zstd_safe::CParameter::ChecksumFlag(true),
        ] {
            self.zstd.set_parameter(parameter).map_err(name)?;
        }
        self.stored.clear();
        self.stored.reserve(zstd_safe::compress_bound(plain.len()));
        self.zstd.compress2(&mut self.stored, plain).map_err(name)?;
        Ok(())
    }
}

/// The smallest window that spans `plain_bytes`, as far as browsers allow: a page repeats what is megabytes back.
fn window_log(plain_bytes: usize) -> u32 {
    plain_bytes.max(1).next_power_of_two().ilog2().clamp(WINDOW_LOG_MIN, WINDOW_LOG_MAX)
}

fn join(head: BlockHead, stored: &[u8], limits: &BlockLimits) -> Result<EncodedBlock, BlockError> {
    within("stored bytes", stored.len() as u64, limits.stored_bytes_max)?;
    let json = serde_json::to_vec(&head).map_err(|error| BlockError::Head(error.to_string()))?;
    within("head bytes", json.len() as u64, limits.head_bytes_max)?;
    let mut bytes = frame::seal(frame::Tag::Block, &json).ok_or(BlockError::NotAFrame("head does not fit"))?;
    let frame_starts = bytes.len();
    bytes.reserve_exact(stored.len());
    bytes.extend_from_slice(stored);
    Ok(EncodedBlock { head, bytes, frame_starts })
}

fn within(what: &'static str, found: u64, limit: usize) -> Result<(), BlockError> {
    let limit = limit as u64;
    if found > limit { Err(BlockError::TooLarge { what, found, limit }) } else { Ok(()) }
}

fn matches(what: &'static str, claimed: u64, found: u64) -> Result<(), BlockError> {
    if claimed == found { Ok(()) } else { Err(BlockError::Mismatch { what, claimed, found }) }
}

/// Upload ids as hex in JSON.
pub(crate) mod hex_ids {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::id::{UploadId, upload_id_from_hex, upload_id_to_hex};

    pub(crate) fn serialize<S: Serializer>(ids: &[UploadId], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(ids.iter().map(upload_id_to_hex))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<UploadId>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let id =
            |text: &String| upload_id_from_hex(text).ok_or_else(|| D::Error::custom("upload id is not 32 hex digits"));
        texts.iter().map(id).collect()
    }
}
