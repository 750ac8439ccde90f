//! Raw snappy, which is how PostHog keeps blocks of recordings: a length, then literals and copies of what came before.
//!
//! It is read as a stream, since whole recordings are kept as one block too. Every writer of snappy compresses 64 KiB at
//! a time, so that no copy reaches back further, and no more than that is held.

use std::io::{self, BufRead, BufReader, Read};

/// How far back a copy may reach.
const WINDOW_BYTES: usize = 64 << 10;

/// How much is decoded before it is handed out.
const DECODED_BYTES: usize = 64 << 10;

/// Longest block that is believed, in bytes as it is stored. Above it the first of four bytes could be a letter.
const BLOCK_BYTES_MAX: u32 = 1 << 28;

/// Bytes of the largest number that a length may be.
const VARINT_BYTES_MAX: usize = 5;

/// Whether these bytes begin one block of JSON lines.
pub(in crate::foreign) fn begins_block(bytes: &[u8]) -> bool {
    let Some((plain_bytes, varint_bytes)) = varint(bytes) else { return false };
    let Some(tag) = bytes.get(varint_bytes) else { return false };
    let extra_bytes = usize::from(tag >> 2).saturating_sub(59);
    let opens = bytes.get(varint_bytes + 1 + extra_bytes);
    plain_bytes > 1 && tag & 3 == 0 && matches!(opens, Some(b'[' | b'{'))
}

/// Whether these bytes begin blocks that each have their length before them.
pub(super) fn begins_list(bytes: &[u8]) -> bool {
    let Some((length, block)) = bytes.split_first_chunk::<4>() else { return false };
    (1..BLOCK_BYTES_MAX).contains(&u32::from_be_bytes(*length)) && begins_block(block)
}

fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut number = 0;
    for (at, byte) in bytes.iter().enumerate().take(VARINT_BYTES_MAX) {
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((number, at + 1));
        }
    }
    None
}

/// Decodes one block, or one after another.
pub(in crate::foreign) struct Snappy<R> {
    source: BufReader<R>,
    blocks: Blocks,
    state: State,
    /// Bytes of the source that were read.
    stored_bytes: u64,
    /// What was decoded last, with as much before it as copies may want.
    out: Vec<u8>,
    /// How much of it was handed out.
    given: usize,
    /// Where the block at hand begins in it, unless it is longer than what is held.
    block_starts: usize,
    /// Why there is no more, once what was decoded before is handed out.
    failure: Option<io::Error>,
}

/// What a source has of them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Blocks {
    One,
    /// Each behind its length.
    Listed,
    /// One after another. Each is read to its end and then the next is asked for.
    Batched,
}

enum State {
    /// Before a block.
    Between,
    /// In a block.
    Within {
        /// Plain bytes that are still to come.
        plain_left: u64,
        /// Stored bytes that are still to come, where the length is known.
        stored_left: Option<u64>,
        /// Bytes of a literal that are still to come.
        literal_left: u64,
    },
    Over,
}

impl<R: Read> Snappy<R> {
    /// The file is one block.
    pub(super) fn one(source: R) -> Self {
        Self {
            source: BufReader::new(source),
            blocks: Blocks::One,
            state: State::Between,
            stored_bytes: 0,
            out: Vec::new(),
            given: 0,
            block_starts: 0,
            failure: None,
        }
    }

    /// The file is blocks, each behind its length.
    pub(super) fn list(source: R) -> Self {
        Self { blocks: Blocks::Listed, ..Self::one(source) }
    }

    /// The file is blocks one after another, and nothing says where they end.
    pub(in crate::foreign) fn batch(source: R) -> Self {
        Self { blocks: Blocks::Batched, state: State::Over, ..Self::one(source) }
    }

    /// Goes on to the next block of a batch, once the one before is read, and says where it begins. `None` at the end.
    pub(in crate::foreign) fn next_block(&mut self) -> io::Result<Option<u64>> {
        if self.source.fill_buf()?.is_empty() {
            return Ok(None);
        }
        self.out.clear();
        (self.given, self.block_starts, self.state) = (0, 0, State::Between);
        Ok(Some(self.stored_bytes))
    }

    /// Bytes of the source that were read.
    pub(in crate::foreign) fn stored_bytes(&self) -> u64 {
        self.stored_bytes
    }

    fn fill(&mut self) -> io::Result<()> {
        let kept_from = self.given.saturating_sub(WINDOW_BYTES);
        self.out.drain(..kept_from);
        self.given -= kept_from;
        self.block_starts = self.block_starts.saturating_sub(kept_from);
        while self.out.len() - self.given < DECODED_BYTES && !matches!(self.state, State::Over) {
            self.step()?;
        }
        Ok(())
    }

    fn step(&mut self) -> io::Result<()> {
        self.state = match self.state {
            State::Between => self.begin()?,
            State::Within { plain_left: 0, stored_left, literal_left: 0 } => self.end(stored_left)?,
            State::Within { plain_left, stored_left, literal_left } => {
                let (mut plain_left, mut stored_left, mut literal_left) = (plain_left, stored_left, literal_left);
                if literal_left > 0 {
                    let bytes = literal_left.min(DECODED_BYTES as u64);
                    self.literal(bytes)?;
                    (plain_left, literal_left) = (plain_left - bytes, literal_left - bytes);
                    take(&mut stored_left, bytes)?;
                } else {
                    let (element, read_bytes) = self.element()?;
                    take(&mut stored_left, read_bytes)?;
                    match element {
                        Element::Literal { bytes } if bytes <= plain_left => literal_left = bytes,
                        Element::Copy { bytes, back } if bytes as u64 <= plain_left => {
                            self.copy(bytes, back)?;
                            plain_left -= bytes as u64;
                        }
                        _ => return Err(invalid("it holds more than its length says")),
                    }
                }
                State::Within { plain_left, stored_left, literal_left }
            }
            State::Over => State::Over,
        };
        Ok(())
    }

    /// Begins the next block, if there is one.
    fn begin(&mut self) -> io::Result<State> {
        let mut stored_left = None;
        if self.blocks == Blocks::Listed {
            if self.source.fill_buf()?.is_empty() {
                return Ok(State::Over);
            }
            let mut length = [0; 4];
            self.source.read_exact(&mut length).map_err(cut_off)?;
            self.stored_bytes += 4;
            stored_left = Some(u64::from(u32::from_be_bytes(length)));
        }
        let mut bytes = Vec::with_capacity(VARINT_BYTES_MAX);
        let (plain_left, _) = loop {
            if bytes.len() == VARINT_BYTES_MAX {
                return Err(invalid("its length is no number"));
            }
            bytes.push(self.byte()?);
            if let Some(read) = varint(&bytes) {
                break read;
            }
        };
        take(&mut stored_left, bytes.len() as u64)?;
        if !self.out.is_empty() {
            // The last line of a block may lack its end.
            self.out.push(b'\n');
        }
        self.block_starts = self.out.len();
        Ok(State::Within { plain_left, stored_left, literal_left: 0 })
    }

    /// Looks at what follows a block.
    fn end(&mut self, stored_left: Option<u64>) -> io::Result<State> {
        match stored_left {
            Some(0) => return Ok(State::Between),
            Some(_) => return Err(invalid("it ends before its length says")),
            None if self.blocks == Blocks::Batched => return Ok(State::Over),
            None => {}
        }
        loop {
            let held = self.source.fill_buf()?;
            if held.is_empty() {
                return Ok(State::Over);
            }
            if held.iter().any(|byte| *byte != 0) {
                return Err(invalid(
                    "other bytes follow it: a batch of PostHog's bucket holds blocks of many recordings, and where they \
                     begin stands in ClickHouse; cut it by the ranges of its block urls",
                ));
            }
            let bytes = held.len();
            self.source.consume(bytes);
        }
    }

    fn element(&mut self) -> io::Result<(Element, u64)> {
        let tag = self.byte()?;
        let size = usize::from(tag >> 2);
        Ok(match tag & 3 {
            0 if size < 60 => (Element::Literal { bytes: size as u64 + 1 }, 1),
            0 => (Element::Literal { bytes: self.number(size - 59)? + 1 }, size as u64 - 58),
            1 => {
                let back = usize::from(tag >> 5) << 8 | usize::from(self.byte()?);
                (Element::Copy { bytes: (size & 7) + 4, back }, 2)
            }
            2 => (Element::Copy { bytes: size + 1, back: self.number(2)? as usize }, 3),
            _ => (Element::Copy { bytes: size + 1, back: self.number(4)? as usize }, 5),
        })
    }

    fn literal(&mut self, bytes: u64) -> io::Result<()> {
        let read_bytes = self.source.by_ref().take(bytes).read_to_end(&mut self.out)? as u64;
        self.stored_bytes += read_bytes;
        if read_bytes < bytes { Err(cut_off(io::ErrorKind::UnexpectedEof.into())) } else { Ok(()) }
    }

    fn copy(&mut self, bytes: usize, back: usize) -> io::Result<()> {
        let from = self.out.len().checked_sub(back).filter(|from| *from >= self.block_starts && back > 0);
        let from = from.ok_or_else(|| invalid("it copies what it does not hold, or from further back than 64 KiB"))?;
        if back >= bytes {
            self.out.extend_from_within(from..from + bytes);
        } else {
            (from..from + bytes).for_each(|at| self.out.push(self.out[at]));
        }
        Ok(())
    }

    fn byte(&mut self) -> io::Result<u8> {
        Ok(self.number(1)? as u8)
    }

    /// A little-endian number.
    fn number(&mut self, bytes: usize) -> io::Result<u64> {
        let mut number = [0; 8];
        self.source.read_exact(&mut number[..bytes]).map_err(cut_off)?;
        self.stored_bytes += bytes as u64;
        Ok(u64::from_le_bytes(number))
    }
}

enum Element {
    Literal { bytes: u64 },
    Copy { bytes: usize, back: usize },
}

impl<R: Read> Read for Snappy<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.given == self.out.len() {
            if self.failure.is_none()
                && let Err(error) = self.fill()
            {
                self.state = State::Over;
                self.failure = Some(error);
            }
            if self.given == self.out.len()
                && let Some(error) = self.failure.take()
            {
                return Err(error);
            }
        }
        let bytes = out.len().min(self.out.len() - self.given);
        out[..bytes].copy_from_slice(&self.out[self.given..self.given + bytes]);
        self.given += bytes;
        Ok(bytes)
    }
}

fn take(left: &mut Option<u64>, bytes: u64) -> io::Result<()> {
    if let Some(left) = left {
        *left = left.checked_sub(bytes).ok_or_else(|| invalid("it goes on where its length says that it ends"))?;
    }
    Ok(())
}

fn cut_off(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "the file ends within a block of snappy"),
        _ => error,
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a block of snappy is damaged: {what}"))
}
