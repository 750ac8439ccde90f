//! Reads files without trusting their index: what is intact is returned, what is not is named.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::io;

use memchr::memmem;

use super::read::{IndexReader, Step, read_header, read_index, read_tail};
use super::sign::check_signatures;
use super::{BlockEntry, Index, ReelError, ReelHeader, ReelLimits, TAIL_BYTES, within};
use crate::block::frame::{self, CLAIM_BYTES, Claim, FRAME_HEAD_BYTES, MAGIC, Tag};
use crate::block::{BlockError, BlockHead, BlockLimits, check_frame, decode_block, parse_head};
use crate::sign::PublicKey;

/// How many times the length of a file a search for intact frames may verify in all.
const SEARCH_FACTOR: u64 = 8;
/// What a search may verify besides, so that small files are always searched to the end.
const SEARCH_BYTES_FREE: u64 = 16 << 20;
/// How much of a file is searched at once.
const SEARCH_WINDOW_BYTES: u64 = 1 << 20;

/// A stretch of a file that could not be used, or a block that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// First byte of the stretch.
    pub offset: u64,
    /// The block's ordinal, where the damage is in one. Without an index it counts the blocks found before.
    pub block: Option<u32>,
    /// What is wrong.
    pub what: ReelError,
}

/// What [`recover`] found.
#[derive(Debug, Clone, PartialEq)]
pub struct Recovered {
    /// The header, where intact.
    pub header: Option<ReelHeader>,
    /// The intact blocks, in the order of the file.
    pub blocks: Vec<BlockEntry>,
    /// The index, where it and the tail are intact.
    pub index: Option<Index>,
    /// What was passed over, in the order of the file.
    pub damage: Vec<Damage>,
}

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// Blocks that are intact.
    pub block_count: u64,
    /// Recordings in the index.
    pub recording_count: u64,
    /// Lines in the intact blocks.
    pub event_count: u64,
    /// Whose signatures hold, each once, in the order of the file.
    pub signers: Vec<PublicKey>,
    /// What is wrong, in the order of the file. Empty for a sound file.
    pub damage: Vec<Damage>,
}

/// Where a file's bytes are read from: a slice, or whatever the caller opened. Memory grows with a block, never with a
/// file.
pub trait Source {
    /// How long the file is.
    fn file_bytes(&self) -> u64;

    /// Exactly `len` bytes from `offset` on. They lie within the file.
    fn read(&self, offset: u64, len: usize) -> io::Result<Cow<'_, [u8]>>;
}

impl Source for [u8] {
    fn file_bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Cow<'_, [u8]>> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..));
        let bytes = rest.and_then(|rest| rest.get(..len)).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Cow::Borrowed(bytes))
    }
}

/// Reads the index, without looking at anything else.
pub fn index_of(source: &(impl Source + ?Sized), limits: &ReelLimits) -> Result<Index, ReelError> {
    let mut reader = IndexReader::new(source.file_bytes(), limits.clone())?;
    loop {
        match reader.step() {
            Step::Need { offset, len } => reader.supply(&read_part(source, offset, len as u64)?)?,
            Step::Index(index) => return Ok(*index),
        }
    }
}

/// Finds the intact blocks of a file, whole or not, and says what it passed over.
///
/// A block is returned only if its head and its zstd frame verify and decode. Where a newer version is met, the walk
/// stops with [`ReelError::TooNew`] as the last damage.
pub fn recover(source: &(impl Source + ?Sized), limits: &ReelLimits) -> Recovered {
    let mut walk = Walk::new(source, limits, |frame, head, limits| decode_block(frame, head, limits).map(drop));
    walk.run();
    let index = match read_whole_index(source, limits) {
        Ok((index, _)) => Some(index),
        Err(damage) => {
            walk.damage.push(damage);
            None
        }
    };
    let mut damage = walk.damage;
    if let Some(index) = &index {
        number_blocks(&mut damage, index);
    }
    Recovered { header: walk.header, blocks: walk.blocks, index, damage }
}

/// Checks a whole file: every frame, hash and line count, that the index says what is there, and that all signatures
/// hold.
pub fn verify(source: &(impl Source + ?Sized), limits: &ReelLimits) -> Report {
    let mut walk = Walk::new(source, limits, check_content);
    walk.run();
    let mut report = Report {
        block_count: walk.blocks.len() as u64,
        recording_count: 0,
        event_count: walk.blocks.iter().map(|entry| entry.head.event_count).fold(0, u64::saturating_add),
        signers: Vec::new(),
        damage: std::mem::take(&mut walk.damage),
    };
    match read_whole_index(source, limits) {
        Ok((index, index_starts)) => {
            report.recording_count = index.recordings.len() as u64;
            number_blocks(&mut report.damage, &index);
            compare(walk.header.as_ref(), &walk.blocks, &index, index_starts, &mut report.damage);
            check_signatures(source, limits, &walk.signatures, &mut report);
        }
        Err(damage) => report.damage.push(damage),
    }
    report.damage.sort_by_key(|damage| damage.offset);
    report
}

type CheckBlock = fn(&[u8], &BlockHead, &BlockLimits) -> Result<(), BlockError>;

/// Walks the frames of a file from the start.
struct Walk<'a, S: ?Sized> {
    source: &'a S,
    file_bytes: u64,
    limits: &'a ReelLimits,
    check_block: CheckBlock,
    at: u64,
    header: Option<ReelHeader>,
    blocks: Vec<BlockEntry>,
    /// Where signatures begin.
    signatures: Vec<u64>,
    damage: Vec<Damage>,
    /// Bytes that searching may still verify. Without it, a file of nothing but false frame heads that each claim the
    /// rest of the file would take quadratic time.
    search_bytes_left: u64,
}

/// A frame met on the walk.
enum Met<'a> {
    /// One of ours, verified.
    Ours { tag: Tag, frame: Cow<'a, [u8]> },
    /// Someone else's, of this many bytes.
    Unknown { bytes: u64 },
    /// No frame that can stand here.
    Other,
}

impl<'a, S: Source + ?Sized> Walk<'a, S> {
    fn new(source: &'a S, limits: &'a ReelLimits, check_block: CheckBlock) -> Self {
        let file_bytes = source.file_bytes();
        let search_bytes_left = file_bytes.saturating_mul(SEARCH_FACTOR).saturating_add(SEARCH_BYTES_FREE);
        let (blocks, signatures, damage) = (Vec::new(), Vec::new(), Vec::new());
        let (at, header) = (0, None);
        Self { source, file_bytes, limits, check_block, at, header, blocks, signatures, damage, search_bytes_left }
    }

    fn run(&mut self) {
        match self.read_header() {
            Ok((header, header_bytes)) => {
                self.header = Some(header);
                self.at = header_bytes as u64;
            }
            Err(what) => self.pass_over(0, 0, what),
        }
        while self.at < self.file_bytes {
            self.take_frame();
        }
    }

    fn read_header(&self) -> Result<(ReelHeader, usize), ReelError> {
        match self.frame_at(0)? {
            Met::Ours { tag: Tag::Header, frame } => read_header(&frame, self.limits),
            _ => Err(ReelError::NoHeader),
        }
    }

    fn take_frame(&mut self) {
        let at = self.at;
        match self.frame_at(at) {
            Ok(Met::Ours { tag: Tag::Block, frame }) => self.take_block(at, &frame),
            Ok(Met::Ours { tag, frame }) => {
                if tag == Tag::Signature {
                    self.signatures.push(at);
                }
                self.at += frame.len() as u64;
            }
            Ok(Met::Unknown { bytes }) => self.at += bytes,
            Ok(Met::Other) => self.pass_over(at, at, ReelError::Stray { bytes: 0 }),
            Err(what) => self.pass_over(at, at, what),
        }
    }

    fn take_block(&mut self, head_starts: u64, head_frame: &[u8]) {
        let frame_starts = head_starts + head_frame.len() as u64;
        let head = match parse_head(&head_frame[FRAME_HEAD_BYTES..], &self.limits.block) {
            Ok(head) => head,
            Err(error) => return self.pass_over(head_starts, frame_starts, error.into()),
        };
        let frame_ends = frame_starts.saturating_add(head.stored_bytes);
        let check_block = self.check_block;
        let checked = self.block_frame(&head, frame_starts).and_then(|frame| {
            check_block(&frame, &head, &self.limits.block)?;
            Ok(())
        });
        match checked {
            Ok(()) => {
                self.at = frame_ends;
                self.blocks.push(BlockEntry { head, offset: frame_starts });
            }
            // The head is intact, so its length can be believed if a frame follows. Searching inside the block first
            // would find what only looks like a block.
            Err(what) if frame_ends <= self.file_bytes && self.is_frame_at(frame_ends) => {
                self.note(frame_starts, what);
                self.at = frame_ends;
            }
            Err(what) => self.pass_over(frame_starts, frame_starts, what),
        }
    }

    /// The zstd frame that belongs to `head`.
    fn block_frame(&self, head: &BlockHead, frame_starts: u64) -> Result<Cow<'a, [u8]>, ReelError> {
        within("block", head.stored_bytes, self.limits.block.stored_bytes_max)?;
        if head.stored_bytes > self.file_bytes - frame_starts {
            return Err(ReelError::CutOff { part: "block" });
        }
        self.read(frame_starts, head.stored_bytes)
    }

    /// The frame at `at`, which lies within the file.
    fn frame_at(&self, at: u64) -> Result<Met<'a>, ReelError> {
        let bytes_left = self.file_bytes - at;
        let first = self.read(at, bytes_left.min(CLAIM_BYTES as u64))?;
        let flawed = |flaw| ReelError::from_flaw("frame", flaw);
        let (tag, frame_bytes) = match frame::claim(&first).map_err(flawed)? {
            Claim::Other => return Ok(Met::Other),
            Claim::Unknown { bytes } | Claim::Ours { bytes, .. } if bytes > bytes_left => {
                return Err(ReelError::CutOff { part: "frame" });
            }
            Claim::Unknown { bytes } => return Ok(Met::Unknown { bytes }),
            Claim::Ours { tag, bytes } => (tag, bytes),
        };
        within("frame", frame_bytes, self.frame_bytes_max(tag))?;
        let frame = self.read(at, frame_bytes)?;
        frame::open(&frame).map_err(flawed)?;
        Ok(Met::Ours { tag, frame })
    }

    fn frame_bytes_max(&self, tag: Tag) -> usize {
        match tag {
            // One of a newer version may be larger, and is to say that it is newer.
            Tag::Header | Tag::Signature => self.limits.header_bytes_max.saturating_add(FRAME_HEAD_BYTES),
            Tag::Block => self.limits.block.head_bytes_max.saturating_add(FRAME_HEAD_BYTES),
            Tag::Index => self.limits.index_stored_bytes_max,
            Tag::Tail => TAIL_BYTES,
        }
    }

    fn read(&self, offset: u64, len: u64) -> Result<Cow<'a, [u8]>, ReelError> {
        read_part(self.source, offset, len)
    }

    fn is_frame_at(&self, at: u64) -> bool {
        at == self.file_bytes || matches!(self.frame_at(at), Ok(Met::Ours { .. } | Met::Unknown { .. }))
    }

    /// Notes damage at `damaged`, and goes on at the next intact frame from `search_from` on.
    fn pass_over(&mut self, damaged: u64, search_from: u64, what: ReelError) {
        self.at = match what {
            // What a newer version means is not ours to guess.
            ReelError::TooNew { .. } => self.file_bytes,
            _ => self.find_frame(search_from),
        };
        let bytes = self.at - damaged;
        self.note(damaged, if matches!(what, ReelError::Stray { .. }) { ReelError::Stray { bytes } } else { what });
    }

    fn note(&mut self, offset: u64, what: ReelError) {
        let block = u32::try_from(self.blocks.len()).ok().filter(|_| !matches!(what, ReelError::NoHeader));
        self.damage.push(Damage { offset, block, what });
    }

    /// Where the next intact frame begins, from `from` on: looked for in one window of the file after another.
    fn find_frame(&mut self, from: u64) -> u64 {
        let magic = MAGIC.to_le_bytes();
        let mut window_starts = from;
        while window_starts < self.file_bytes && self.search_bytes_left > 0 {
            let window_bytes = SEARCH_WINDOW_BYTES.min(self.file_bytes - window_starts);
            if let Ok(window) = self.read(window_starts, window_bytes) {
                for found in memmem::find_iter(&window, &magic) {
                    let at = window_starts + found as u64;
                    if self.search_bytes_left > 0 && self.is_intact_at(at) {
                        return at;
                    }
                }
            }
            // The windows overlap, so that a magic number across their border is seen.
            window_starts += window_bytes.saturating_sub(magic.len() as u64 - 1).max(1);
        }
        self.file_bytes
    }

    /// Whether a block head with its block, a signature, an index or a tail begins at `at`.
    fn is_intact_at(&mut self, at: u64) -> bool {
        let first = self.read(at, (self.file_bytes - at).min(CLAIM_BYTES as u64));
        let Ok(Claim::Ours { tag, bytes }) = first.map_or(Ok(Claim::Other), |first| frame::claim(&first)) else {
            return false;
        };
        // Cheap, and true of few bytes that are no frame.
        if tag == Tag::Header || bytes > self.file_bytes - at || bytes > self.frame_bytes_max(tag) as u64 {
            return false;
        }
        self.search_bytes_left = self.search_bytes_left.saturating_sub(bytes);
        let Ok(Met::Ours { frame, .. }) = self.frame_at(at) else { return false };
        if tag != Tag::Block {
            return true;
        }
        let Ok(head) = parse_head(&frame[FRAME_HEAD_BYTES..], &self.limits.block) else { return false };
        let Ok(frame) = self.block_frame(&head, at + bytes) else { return false };
        self.search_bytes_left = self.search_bytes_left.saturating_sub(frame.len() as u64);
        check_frame(&frame, &head, &self.limits.block).is_ok()
    }
}

pub(super) fn read_part<S: Source + ?Sized>(source: &S, offset: u64, len: u64) -> Result<Cow<'_, [u8]>, ReelError> {
    let unreadable = |error: io::Error| ReelError::Unreadable(error.to_string());
    let len = usize::try_from(len).map_err(|_| unreadable(io::ErrorKind::OutOfMemory.into()))?;
    source.read(offset, len).map_err(unreadable)
}

/// Checks what a head says of the lines: their count, their ends, and that keyframes begin one.
fn check_content(frame: &[u8], head: &BlockHead, limits: &BlockLimits) -> Result<(), BlockError> {
    let plain = decode_block(frame, head, limits)?;
    if plain.last() != Some(&b'\n') {
        return Err(BlockError::NotLines { plain_bytes: head.plain_bytes });
    }
    let found = memchr::memchr_iter(b'\n', &plain).count() as u64;
    if found != head.event_count {
        return Err(BlockError::Mismatch { what: "lines", claimed: head.event_count, found });
    }
    let begins_line = |offset: u64| {
        let at = usize::try_from(offset).ok().filter(|at| *at < plain.len());
        at.is_some_and(|at| at == 0 || plain[at - 1] == b'\n')
    };
    match head.keyframes.iter().find(|keyframe| !begins_line(keyframe.plain_offset)) {
        Some(keyframe) => Err(BlockError::Keyframe { plain_offset: keyframe.plain_offset }),
        None => Ok(()),
    }
}

/// Reads the index of a file that is all there. Returns where it begins as well.
fn read_whole_index(source: &(impl Source + ?Sized), limits: &ReelLimits) -> Result<(Index, u64), Damage> {
    let file_bytes = source.file_bytes();
    let tail_starts = file_bytes.saturating_sub(TAIL_BYTES as u64);
    let damage = |offset: u64, what: ReelError| Damage { offset, block: None, what };
    let place = read_part(source, tail_starts, file_bytes - tail_starts)
        .and_then(|tail| read_tail(&tail, file_bytes, limits))
        .map_err(|what| damage(tail_starts, what))?;
    let index = read_part(source, place.offset, place.len as u64)
        .and_then(|frame| read_index(&frame, place, limits))
        .map_err(|what| damage(place.offset, what))?;
    Ok((index, place.offset))
}

/// Names the block that each damage is in, counting a block's head to it.
fn number_blocks(damage: &mut [Damage], index: &Index) {
    for damage in damage.iter_mut().filter(|damage| damage.block.is_some()) {
        let ordinal = index.blocks.partition_point(|entry| entry.offset + entry.head.stored_bytes <= damage.offset);
        damage.block = u32::try_from(ordinal).ok().filter(|_| ordinal < index.blocks.len());
    }
}

/// Compares what the index says with what the walk found.
fn compare(
    header: Option<&ReelHeader>,
    blocks: &[BlockEntry],
    index: &Index,
    index_starts: u64,
    damage: &mut Vec<Damage>,
) {
    let is_sound = damage.is_empty();
    let mut note = |offset: u64, ordinal: Option<usize>, what: String| {
        let block = ordinal.and_then(|ordinal| u32::try_from(ordinal).ok());
        damage.push(Damage { offset, block, what: ReelError::Inconsistent(what) });
    };
    if header.is_some_and(|header| header.object != index.object) {
        note(index_starts, None, "it names another object than the header".to_owned());
    }
    let listed: HashMap<u64, usize> = index.blocks.iter().enumerate().map(|(at, entry)| (entry.offset, at)).collect();
    for found in blocks {
        match listed.get(&found.offset) {
            Some(&at) if index.blocks[at].head == found.head => {}
            Some(&at) => note(found.offset, Some(at), "a block's entry differs from its head".to_owned()),
            None => note(found.offset, None, "a block is not listed".to_owned()),
        }
    }
    // With damage, the blocks that are missing are those already named by it.
    let found: HashSet<u64> = blocks.iter().map(|entry| entry.offset).collect();
    for (at, entry) in index.blocks.iter().enumerate().filter(|(_, entry)| is_sound && !found.contains(&entry.offset)) {
        note(entry.offset, Some(at), "a listed block is not there".to_owned());
    }
    let owned: HashSet<u32> = index.recordings.iter().flat_map(|recording| recording.blocks.iter().copied()).collect();
    for (at, entry) in index.blocks.iter().enumerate() {
        if entry.head.recording.is_some() && !u32::try_from(at).is_ok_and(|at| owned.contains(&at)) {
            note(entry.offset, Some(at), "a recording's block is not in its entry".to_owned());
        }
    }
}
