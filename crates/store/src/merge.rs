//! Reads a recording's lines in time order out of blocks that overlap, holding no more blocks than overlap at once.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use reelcase_format::block::BlockKind;
use reelcase_format::event::EventHead;
use reelcase_format::json;
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
    /// Makes the lines that take the place of a block which cannot be read, where they may. Without it such a block is an
    /// error.
    stand_in: Option<StandIn<'a>>,
    replaced: Vec<BlockRow>,
}

type StandIn<'a> = Box<dyn Fn(&BlockRow, &StoreError) -> Option<Vec<u8>> + Send + Sync + 'a>;

/// A block being read.
struct OpenBlock {
    plain: Vec<u8>,
    /// Timestamp, start and end of each line, newline included.
    lines: Vec<(i64, usize, usize)>,
    next: usize,
}

impl<'a> LineMerge<'a> {
    /// Begins with the live blocks of a recording; those of other kinds than `lines` are left out.
    pub fn new(store: &'a Store, blocks: Vec<BlockRow>) -> Self {
        Self::of_kind(store, blocks, BlockKind::Lines)
    }

    /// The same for blocks of any one kind.
    pub fn of_kind(store: &'a Store, mut blocks: Vec<BlockRow>, kind: BlockKind) -> Self {
        blocks.retain(|block| block.kind == kind);
        blocks.sort_by(|a, b| (b.start_ms, &b.object, b.block).cmp(&(a.start_ms, &a.object, a.block)));
        Self { store, closed: blocks, open: Vec::new(), stand_in: None, replaced: Vec::new() }
    }

    /// Goes on where a block cannot be read, with lines in its place: those that `stand_in` makes, if it does.
    pub(crate) fn with_stand_in(
        mut self,
        stand_in: impl Fn(&BlockRow, &StoreError) -> Option<Vec<u8>> + Send + Sync + 'a,
    ) -> Self {
        self.stand_in = Some(Box::new(stand_in));
        self
    }

    /// The blocks that lines have taken the place of since this was asked last.
    pub(crate) fn take_replaced(&mut self) -> Vec<BlockRow> {
        std::mem::take(&mut self.replaced)
    }

    /// The blocks that are not read yet, in playback order.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &BlockRow> {
        self.closed.iter().rev()
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
            let plain = match self.store.read_lines(&row).await {
                Ok(plain) => plain,
                Err(error) => {
                    let plain = self.stand_in.as_ref().and_then(|stand_in| stand_in(&row, &error)).ok_or(error)?;
                    self.replaced.push(row.clone());
                    plain
                }
            };
            let block = OpenBlock::new(plain, row.kind);
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
    fn new(plain: Vec<u8>, kind: BlockKind) -> Self {
        let mut starts = 0;
        let mut found = Vec::new();
        for line in lines(&plain) {
            let ends = starts + line.len() + 1;
            // A line whose time cannot be read stays beside the one before it.
            let timestamp_ms = timestamp_of(line, kind).or(found.last().map(|(timestamp_ms, _, _)| *timestamp_ms));
            found.push((timestamp_ms.unwrap_or_default(), starts, ends.min(plain.len())));
            starts = ends;
        }
        Self { plain, lines: found, next: 0 }
    }

    fn timestamp_ms(&self) -> i64 {
        self.lines.get(self.next).map_or(i64::MAX, |(timestamp_ms, _, _)| *timestamp_ms)
    }
}

/// When a line happened, if that can be read.
pub(crate) fn timestamp_of(line: &[u8], kind: BlockKind) -> Option<i64> {
    match kind {
        BlockKind::Lines => {
            split_line(line).and_then(|(_, event)| EventHead::read(event)).map(|head| head.timestamp_ms())
        }
        BlockKind::Events => json::member(line, "timestamp").and_then(json::number).map(|number| number.floor() as i64),
    }
}

/// Divides blocks so that no more than `open_bytes_max` of lines overlap within one run, unless a single block has
/// more.
/// Runs follow each other by where their blocks start; what overlaps too much is not in one order over all of them.
pub(crate) fn runs(mut blocks: Vec<BlockRow>, open_bytes_max: u64) -> Vec<Vec<BlockRow>> {
    blocks.sort_by(|a, b| (a.start_ms, &a.object, a.block).cmp(&(b.start_ms, &b.object, b.block)));
    let mut runs = Vec::new();
    let mut run: Vec<BlockRow> = Vec::new();
    let mut open: BinaryHeap<Reverse<(i64, u64)>> = BinaryHeap::new();
    let mut open_bytes = 0;
    for block in blocks {
        while open.peek().is_some_and(|Reverse((end_ms, _))| *end_ms < block.start_ms) {
            open_bytes -= open.pop().map_or(0, |Reverse((_, bytes))| bytes);
        }
        if !run.is_empty() && open_bytes + block.plain_bytes > open_bytes_max {
            runs.push(std::mem::take(&mut run));
            open.clear();
            open_bytes = 0;
        }
        open.push(Reverse((block.end_ms, block.plain_bytes)));
        open_bytes += block.plain_bytes;
        run.push(block);
    }
    if !run.is_empty() {
        runs.push(run);
    }
    runs
}
