//! Finds and reads the index of a file, asking for the bytes it needs.

use super::{Index, ReelError, ReelHeader, ReelLimits, TAIL_BYTES, within};
use crate::block::frame::{self, Frame, FrameFlaw, Tag};

/// The first read takes this much of the file's end, since most indexes are smaller and then need no second read.
const SUFFIX_BYTES: u64 = 64 << 10;

/// What an [`IndexReader`] wants next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Read this range of the file and [`supply`](IndexReader::supply) it.
    Need {
        /// First byte.
        offset: u64,
        /// How many bytes.
        len: usize,
    },
    /// Done.
    Index(Box<Index>),
}

/// Reads a file's index in one or two range reads.
///
/// ```text
/// loop { match reader.step()? { Step::Need { offset, len } => reader.supply(read(offset, len))?, Step::Index(i) => … } }
/// ```
#[derive(Debug)]
pub struct IndexReader {
    file_bytes: u64,
    limits: ReelLimits,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The end of the file is wanted.
    Suffix { offset: u64, len: usize },
    /// The tail was read and the index is before the suffix.
    Body { place: Place },
    /// All is read.
    Done(Box<Index>),
}

/// Where the tail says the index is. Compared with the file and the limits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) len: usize,
    check: [u8; 16],
}

impl IndexReader {
    /// Begins with the length of the file. Fails where it is too short for a tail.
    pub fn new(file_bytes: u64, limits: ReelLimits) -> Result<Self, ReelError> {
        if file_bytes < TAIL_BYTES as u64 {
            return Err(ReelError::NoTail { file_bytes });
        }
        let len = file_bytes.min(SUFFIX_BYTES);
        let state = State::Suffix { offset: file_bytes - len, len: usize::try_from(len).unwrap_or(TAIL_BYTES) };
        Ok(Self { file_bytes, limits, state })
    }

    /// What to do next. Asking again gives the same answer.
    pub fn step(&self) -> Step {
        match &self.state {
            State::Suffix { offset, len } => Step::Need { offset: *offset, len: *len },
            State::Body { place } => Step::Need { offset: place.offset, len: place.len },
            State::Done(index) => Step::Index(index.clone()),
        }
    }

    /// Takes the bytes that the last [`Step::Need`] asked for. After an error the reader asks for the same again.
    pub fn supply(&mut self, bytes: &[u8]) -> Result<(), ReelError> {
        if let Step::Need { len, .. } = self.step()
            && len != bytes.len()
        {
            return Err(ReelError::WrongSupply { found: bytes.len() as u64, needed: len as u64 });
        }
        self.state = match &self.state {
            State::Suffix { .. } => {
                let place = read_tail(bytes, self.file_bytes, &self.limits)?;
                match bytes.len().checked_sub(place.len + TAIL_BYTES) {
                    Some(starts) => self.read(&bytes[starts..starts + place.len], place)?,
                    None => State::Body { place },
                }
            }
            State::Body { place } => self.read(bytes, *place)?,
            State::Done(_) => return Ok(()),
        };
        Ok(())
    }

    fn read(&self, frame: &[u8], place: Place) -> Result<State, ReelError> {
        Ok(State::Done(Box::new(read_index(frame, place, &self.limits)?)))
    }
}

/// Reads the tail at the end of `suffix`, which is the end of a file of `file_bytes`.
pub(super) fn read_tail(suffix: &[u8], file_bytes: u64, limits: &ReelLimits) -> Result<Place, ReelError> {
    let no_tail = || ReelError::NoTail { file_bytes };
    let tail = suffix.len().checked_sub(TAIL_BYTES).map(|starts| &suffix[starts..]).ok_or_else(no_tail)?;
    let body = match frame::open(tail) {
        Ok(Frame::Ours { tag: Tag::Tail, bytes, body }) if bytes.len() == TAIL_BYTES => body,
        Err(FrameFlaw::TooNew(found)) => return Err(ReelError::TooNew { found }),
        _ => return Err(no_tail()),
    };
    let offset = frame::u64_at(body, 0).ok_or_else(no_tail)?;
    let index_bytes = frame::u64_at(body, 8).ok_or_else(no_tail)?;
    let check = body.get(16..32).and_then(|check| check.try_into().ok()).ok_or_else(no_tail)?;
    within("index", index_bytes, limits.index_stored_bytes_max)?;
    if offset.checked_add(index_bytes) != Some(file_bytes - TAIL_BYTES as u64) {
        return Err(ReelError::corrupt("tail", format!("the index at {offset} does not end where the tail begins")));
    }
    let len = usize::try_from(index_bytes).map_err(|_| no_tail())?;
    Ok(Place { offset, len, check })
}

/// Reads the index out of its whole frame.
pub(super) fn read_index(bytes: &[u8], place: Place, limits: &ReelLimits) -> Result<Index, ReelError> {
    if frame::check(bytes, &[]) != place.check {
        return Err(ReelError::corrupt("index", "the tail's check of it does not match"));
    }
    let body = match frame::open(bytes).map_err(|flaw| ReelError::from_flaw("index", flaw))? {
        Frame::Ours { tag: Tag::Index, bytes: frame, body } if frame.len() == bytes.len() => body,
        _ => return Err(ReelError::corrupt("index", "there is another frame in its place")),
    };
    let index: Index =
        serde_json::from_slice(&inflate(body, limits)?).map_err(|error| ReelError::corrupt("index", error))?;
    index.validate(place.offset, limits)?;
    Ok(index)
}

/// The version of a file of a newer format, told by its first bytes: enough for its header, which a reader of any release
/// can check. `None` where it is no newer, or does not say so.
pub fn newer_version(start: &[u8]) -> Option<u16> {
    match frame::open(start) {
        Err(FrameFlaw::TooNew(found)) => Some(found),
        _ => None,
    }
}

/// Reads the header at the start of a file. Returns it and the bytes it takes.
pub(super) fn read_header(bytes: &[u8], limits: &ReelLimits) -> Result<(ReelHeader, usize), ReelError> {
    match frame::open(bytes).map_err(|flaw| ReelError::from_flaw("header", flaw))? {
        Frame::Ours { tag: Tag::Header, bytes: frame, body } => {
            within("header", body.len() as u64, limits.header_bytes_max)?;
            let header = serde_json::from_slice(body).map_err(|error| ReelError::corrupt("header", error))?;
            Ok((header, frame.len()))
        }
        _ => Err(ReelError::NoHeader),
    }
}

fn inflate(stored: &[u8], limits: &ReelLimits) -> Result<Vec<u8>, ReelError> {
    let claimed = zstd_safe::get_frame_content_size(stored).ok().flatten();
    let claimed = claimed.ok_or_else(|| ReelError::corrupt("index", "it has no content size"))?;
    within("index content", claimed, limits.index_plain_bytes_max)?;
    let plain_bytes = usize::try_from(claimed).map_err(|error| ReelError::corrupt("index", error))?;
    zstd::bulk::decompress(stored, plain_bytes).map_err(|error| ReelError::corrupt("index", error))
}
