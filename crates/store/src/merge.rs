//! Reads a recording's lines in time order out of blocks that overlap, holding no more blocks than overlap at once.

use reelcase_format::block::BlockKind;
use reelcase_format::event::EventHead;
use reelcase_format::line::{lines, split_line};

use crate::catalog::BlockRow;
use crate::store::{Store, StoreError};

/// How many bytes of lines [`LineMerge::next_chunk`] gathers at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// The lines of one recording, merged by time. Lines of the same millisecond keep the order of their blocks.
pub struct LineMerge<'a> {
    store: &'a Store,
    /// Blocks that are not opened yet, latest first.
    closed: Vec<BlockRow>,
    open: Vec<OpenBlock>,
}

/// A block being read.
struct OpenBlock {
    plain: Vec<u8>,
    /// Timestamp, start and end of each line, newline included.
    lines: Vec<(i64, usize, usize)>,
    next: usize,
}

impl<'a> LineMerge<'a> {
    /// Begins with the live blocks of a recording; those of other kinds than `lines` are left out.
    pub fn new(store: &'a Store, mut blocks: Vec<BlockRow>) -> Self {
        blocks.retain(|block| block.kind == BlockKind::Lines);
        blocks.sort_by(|a, b| (b.start_ms, &b.object, b.block).cmp(&(a.start_ms, &a.object, a.block)));
        Self { store, closed: blocks, open: Vec::new() }
    }

    /// The next mebibyte or so of lines. `None` at the end.
    pub async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        let mut chunk = Vec::new();
        while chunk.len() < CHUNK_BYTES {
            self.open_what_may_come_next().await?;
            let Some(next) = self.earliest() else { break };
            let block = &mut self.open[next];
            let (_, starts, ends) = block.lines[block.next];
            chunk.extend_from_slice(&block.plain[starts..ends]);
            block.next += 1;
            if block.next == block.lines.len() {
                self.open.remove(next);
            }
        }
        Ok(if chunk.is_empty() { None } else { Some(chunk) })
    }

    async fn open_what_may_come_next(&mut self) -> Result<(), StoreError> {
        loop {
            let earliest_ms = self.earliest().map(|index| self.open[index].timestamp_ms());
            let is_needed = |block: &BlockRow| earliest_ms.is_none_or(|earliest_ms| block.start_ms <= earliest_ms);
            let Some(row) = self.closed.pop_if(|block| is_needed(block)) else { return Ok(()) };
            let block = OpenBlock::new(self.store.read_lines(&row).await?);
            if !block.lines.is_empty() {
                self.open.push(block);
            }
        }
    }

    fn earliest(&self) -> Option<usize> {
        (0..self.open.len()).min_by_key(|index| self.open[*index].timestamp_ms())
    }
}

impl OpenBlock {
    fn new(plain: Vec<u8>) -> Self {
        let mut starts = 0;
        let mut found = Vec::new();
        for line in lines(&plain) {
            let ends = starts + line.len() + 1;
            let timestamp_ms =
                split_line(line).and_then(|(_, event)| EventHead::read(event)).map(|head| head.timestamp_ms());
            // A line whose time cannot be read stays beside the one before it.
            let timestamp_ms = timestamp_ms.or(found.last().map(|(timestamp_ms, _, _)| *timestamp_ms));
            found.push((timestamp_ms.unwrap_or_default(), starts, ends.min(plain.len())));
            starts = ends;
        }
        Self { plain, lines: found, next: 0 }
    }

    fn timestamp_ms(&self) -> i64 {
        self.lines.get(self.next).map_or(i64::MAX, |(timestamp_ms, _, _)| *timestamp_ms)
    }
}
