//! Reads files without trusting their index: what is intact is returned, what is not is named.

use std::collections::{HashMap, HashSet};

use memchr::memmem;

use super::read::{read_header, read_index, read_tail};
use super::{BlockEntry, Index, ReelError, ReelHeader, ReelLimits, TAIL_BYTES};
use crate::block::frame::{self, FRAME_HEAD_BYTES, Frame, MAGIC, Tag};
use crate::block::{BlockError, BlockHead, BlockLimits, check_frame, decode_block, parse_head};

/// How many times the length of a file a search for intact frames may verify in all.
const SEARCH_FACTOR: usize = 8;
/// What a search may verify besides, so that small files are always searched to the end.
const SEARCH_BYTES_FREE: usize = 16 << 20;

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
    /// What is wrong, in the order of the file. Empty for a sound file.
    pub damage: Vec<Damage>,
}

/// Finds the intact blocks of a file, whole or not, and says what it passed over.
///
/// A block is returned only if its head and its zstd frame verify and decode. Where a newer version is met, the walk
/// stops with [`ReelError::TooNew`] as the last damage.
pub fn recover(bytes: &[u8], limits: &ReelLimits) -> Recovered {
    let mut walk = Walk::new(bytes, limits, |frame, head, limits| decode_block(frame, head, limits).map(drop));
    walk.run();
    let index = match read_whole_index(bytes, limits) {
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

/// Checks a whole file: every frame, hash and line count, and that the index says what is there.
pub fn verify(bytes: &[u8], limits: &ReelLimits) -> Report {
    let mut walk = Walk::new(bytes, limits, check_content);
    walk.run();
    let mut report = Report {
        block_count: walk.blocks.len() as u64,
        recording_count: 0,
        event_count: walk.blocks.iter().map(|entry| entry.head.event_count).fold(0, u64::saturating_add),
        damage: std::mem::take(&mut walk.damage),
    };
    match read_whole_index(bytes, limits) {
        Ok((index, index_starts)) => {
            report.recording_count = index.recordings.len() as u64;
            number_blocks(&mut report.damage, &index);
            compare(&walk, &index, index_starts, &mut report.damage);
        }
        Err(damage) => report.damage.push(damage),
    }
    report.damage.sort_by_key(|damage| damage.offset);
    report
}

type CheckBlock = fn(&[u8], &BlockHead, &BlockLimits) -> Result<(), BlockError>;

/// Walks the frames of a file from the start.
struct Walk<'a> {
    bytes: &'a [u8],
    limits: &'a ReelLimits,
    check_block: CheckBlock,
    at: usize,
    header: Option<ReelHeader>,
    blocks: Vec<BlockEntry>,
    damage: Vec<Damage>,
    /// Bytes that searching may still verify. Without it, a file of nothing but false frame heads that each claim the
    /// rest of the file would take quadratic time.
    search_bytes_left: usize,
}

impl<'a> Walk<'a> {
    fn new(bytes: &'a [u8], limits: &'a ReelLimits, check_block: CheckBlock) -> Self {
        let search_bytes_left = bytes.len().saturating_mul(SEARCH_FACTOR).saturating_add(SEARCH_BYTES_FREE);
        let (blocks, damage) = (Vec::new(), Vec::new());
        Self { bytes, limits, check_block, at: 0, header: None, blocks, damage, search_bytes_left }
    }

    fn run(&mut self) {
        match read_header(self.bytes, self.limits) {
            Ok((header, header_bytes)) => {
                self.header = Some(header);
                self.at = header_bytes;
            }
            Err(what) => self.pass_over(0, 0, what),
        }
        while self.at < self.bytes.len() {
            self.take_frame();
        }
    }

    fn take_frame(&mut self) {
        let at = self.at;
        match frame::open(&self.bytes[at..]) {
            Ok(Frame::Ours { tag: Tag::Block, bytes: head_frame, body }) => {
                self.take_block(at, at + head_frame.len(), body);
            }
            Ok(Frame::Ours { bytes: frame, .. }) => self.at += frame.len(),
            Ok(Frame::Unknown { bytes }) => self.at += bytes,
            Ok(Frame::Other) => self.pass_over(at, at, ReelError::Stray { bytes: 0 }),
            Err(flaw) => self.pass_over(at, at, ReelError::from_flaw("frame", flaw)),
        }
    }

    fn take_block(&mut self, head_starts: usize, frame_starts: usize, body: &[u8]) {
        let head = match parse_head(body, &self.limits.block) {
            Ok(head) => head,
            Err(error) => return self.pass_over(head_starts, frame_starts, error.into()),
        };
        let Some((frame, frame_ends)) = self.frame_of(&head, frame_starts) else {
            return self.pass_over(frame_starts, frame_starts, ReelError::CutOff { part: "block" });
        };
        match (self.check_block)(frame, &head, &self.limits.block) {
            Ok(()) => {
                self.at = frame_ends;
                self.blocks.push(BlockEntry { head, offset: frame_starts as u64 });
            }
            // The head is intact, so its length can be believed if a frame follows. Searching inside the block first
            // would find what only looks like a block.
            Err(error) if self.is_frame_at(frame_ends) => {
                self.note(frame_starts, error.into());
                self.at = frame_ends;
            }
            Err(error) => self.pass_over(frame_starts, frame_starts, error.into()),
        }
    }

    fn frame_of(&self, head: &BlockHead, frame_starts: usize) -> Option<(&'a [u8], usize)> {
        let frame_ends = frame_starts.checked_add(usize::try_from(head.stored_bytes).ok()?)?;
        Some((self.bytes.get(frame_starts..frame_ends)?, frame_ends))
    }

    fn is_frame_at(&self, at: usize) -> bool {
        let rest = self.bytes.get(at..).unwrap_or_default();
        rest.is_empty() || matches!(frame::open(rest), Ok(Frame::Ours { .. } | Frame::Unknown { .. }))
    }

    /// Notes damage at `damaged`, and goes on at the next intact frame from `search_from` on.
    fn pass_over(&mut self, damaged: usize, search_from: usize, what: ReelError) {
        self.at = match what {
            // What a newer version means is not ours to guess.
            ReelError::TooNew { .. } => self.bytes.len(),
            _ => self.find_frame(search_from),
        };
        let bytes = (self.at - damaged) as u64;
        self.note(damaged, if matches!(what, ReelError::Stray { .. }) { ReelError::Stray { bytes } } else { what });
    }

    fn note(&mut self, offset: usize, what: ReelError) {
        let block = u32::try_from(self.blocks.len()).ok().filter(|_| !matches!(what, ReelError::NoHeader));
        self.damage.push(Damage { offset: offset as u64, block, what });
    }

    fn find_frame(&mut self, from: usize) -> usize {
        let mut at = from;
        while let Some(found) = self.bytes.get(at..).and_then(|rest| memmem::find(rest, &MAGIC.to_le_bytes())) {
            at += found;
            if self.search_bytes_left == 0 {
                break;
            }
            if self.is_intact_at(at) {
                return at;
            }
            at += 1;
        }
        self.bytes.len()
    }

    /// Whether a block head with its block, an index or a tail begins at `at`.
    fn is_intact_at(&mut self, at: usize) -> bool {
        let rest = &self.bytes[at..];
        let Some(frame_bytes) = self.plausible_bytes(rest) else { return false };
        self.search_bytes_left = self.search_bytes_left.saturating_sub(frame_bytes);
        match frame::open(rest) {
            Ok(Frame::Ours { tag: Tag::Block, bytes: head_frame, body }) => {
                let Ok(head) = parse_head(body, &self.limits.block) else { return false };
                let Some((frame, _)) = self.frame_of(&head, at + head_frame.len()) else { return false };
                self.search_bytes_left = self.search_bytes_left.saturating_sub(frame.len());
                check_frame(frame, &head, &self.limits.block).is_ok()
            }
            Ok(Frame::Ours { tag: Tag::Index | Tag::Tail, .. }) => true,
            _ => false,
        }
    }

    /// What a frame of ours claims to take, if that is possible here. Cheap, and true of few bytes that are no frame.
    fn plausible_bytes(&self, rest: &[u8]) -> Option<usize> {
        let frame_bytes = usize::try_from(frame::u32_at(rest, 4)?).ok()?.checked_add(8)?;
        let frame_bytes_max = match frame::tag(rest)? {
            Tag::Header => return None,
            Tag::Block => self.limits.block.head_bytes_max.saturating_add(FRAME_HEAD_BYTES),
            Tag::Index => self.limits.index_stored_bytes_max,
            Tag::Tail => TAIL_BYTES,
        };
        (frame_bytes <= frame_bytes_max.min(rest.len())).then_some(frame_bytes)
    }
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
fn read_whole_index(bytes: &[u8], limits: &ReelLimits) -> Result<(Index, u64), Damage> {
    let file_bytes = bytes.len() as u64;
    let tail_starts = file_bytes.saturating_sub(TAIL_BYTES as u64);
    let damage = |offset: u64, what: ReelError| Damage { offset, block: None, what };
    let place = read_tail(bytes, file_bytes, limits).map_err(|what| damage(tail_starts, what))?;
    let index_ends = bytes.len() - TAIL_BYTES;
    let frame = &bytes[index_ends - place.len..index_ends];
    let index = read_index(frame, place, limits).map_err(|what| damage(place.offset, what))?;
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
fn compare(walk: &Walk<'_>, index: &Index, index_starts: u64, damage: &mut Vec<Damage>) {
    let is_sound = damage.is_empty();
    let mut note = |offset: u64, ordinal: Option<usize>, what: String| {
        let block = ordinal.and_then(|ordinal| u32::try_from(ordinal).ok());
        damage.push(Damage { offset, block, what: ReelError::Inconsistent(what) });
    };
    if walk.header.as_ref().is_some_and(|header| header.object != index.object) {
        note(index_starts, None, "it names another object than the header".to_owned());
    }
    let listed: HashMap<u64, usize> = index.blocks.iter().enumerate().map(|(at, entry)| (entry.offset, at)).collect();
    for found in &walk.blocks {
        match listed.get(&found.offset) {
            Some(&at) if index.blocks[at].head == found.head => {}
            Some(&at) => note(found.offset, Some(at), "a block's entry differs from its head".to_owned()),
            None => note(found.offset, None, "a block is not listed".to_owned()),
        }
    }
    // With damage, the blocks that are missing are those already named by it.
    let found: HashSet<u64> = walk.blocks.iter().map(|entry| entry.offset).collect();
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
