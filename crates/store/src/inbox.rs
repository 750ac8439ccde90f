//! The durable inbox: what was appended is on stable storage, until it is released.
//!
//! # Promises
//!
//! - [`Inbox::append`] returns a position only after `fdatasync` of the segment that holds the record succeeded.
//! - After a crash or a power loss [`Inbox::open`] hands back every acknowledged record that was not released, intact,
//!   once, in order. It may also hand back records that were released, or that were written and never acknowledged;
//!   each of them whole. Whoever releases therefore remembers what is sealed.
//! - After a failed write or sync a segment is never written or acknowledged from again: what a later sync of the same
//!   file answers means nothing. It stays for what it had acknowledged, and a new segment is opened.
//! - Damage is found by checksum, reported with its place, and costs the records that it hit and no others. A damaged
//!   segment is never deleted: when its good records are released it is renamed to `*.damaged`.
//!
//! # States
//!
//! A segment is *ready* (zeroes or the leavings of an earlier use; file and directory synced), then *open* (the writer
//! appends to it), then *full* or *abandoned*. When a full one has no record left that somebody waits for, it becomes
//! a *spare*, to be used again under a new sequence number, or is removed if there are enough spares. An abandoned one
//! is removed, because the place on the disk that it failed on is not to be trusted. After a start every segment found
//! counts as full.
//!
//! # What survives a crash
//!
//! Names of files are synced before records go in, so a segment that holds an acknowledged record is found. Records
//! are bound to sequence number and offset, so the leavings in a recycled segment are never taken for records. What is
//! released is not written down; only the renaming of a whole segment is. Damage to the very last batch before a crash
//! looks like an unfinished write; it is reported as [`DamageKind::Torn`], and the segment is recycled.
//!
//! # Costs
//!
//! Two threads. The writer takes everything that is queued, writes it in steps of a mebibyte and syncs once; with more
//! queued it does so again at once, so batches grow with the load and nobody who waits waits for a timer. What nobody
//! waits for is gathered for [`LEISURE`]. The other thread prepares the
//! next segment ahead of need and tidies up. Memory is the queue, the step, and some 24 bytes per waiting record.
//! Disk is bounded by `inbox_bytes_max`, segments set aside not counted.

mod files;
mod record;
mod recover;
mod segment;
#[doc(hidden)]
pub mod sim;
mod stock;
mod writer;

use std::{
    io,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use bytes::Bytes;
use tokio::sync::{Semaphore, oneshot};

pub use files::{DiskFiles, FileHandle, Files};
use record::HEAD_BYTES;
use stock::Stock;
pub use writer::LEISURE;
use writer::{Committer, Haste, Pending, Request};

/// How large the inbox and its parts may grow.
#[derive(Debug, Clone)]
pub struct InboxOptions {
    /// Size of one segment. A multiple of 4 KiB.
    pub segment_bytes: u64,
    /// Most bytes of segments on disk, spares included. At least two segments. Beyond it: [`InboxError::Full`].
    pub inbox_bytes_max: u64,
    /// Most spare segments kept for use again.
    pub spare_segments_max: usize,
    /// Longest record. What a segment can hold is a limit too.
    pub record_bytes_max: u32,
    /// Most bytes queued for the writer; beyond it callers wait.
    pub queue_bytes_max: u32,
    /// Most records queued for the writer; beyond it callers wait.
    pub queue_entries_max: usize,
}

impl Default for InboxOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            inbox_bytes_max: 4 << 30,
            spare_segments_max: 8,
            record_bytes_max: (32 << 20) + (64 << 10),
            queue_bytes_max: 48 << 20,
            queue_entries_max: 4096,
        }
    }
}

impl InboxOptions {
    fn check(&self) -> Result<(), InboxError> {
        if self.segment_bytes < 4096 || !self.segment_bytes.is_multiple_of(4096) {
            return Err(InboxError::Options("segment_bytes must be a multiple of 4096"));
        }
        if self.inbox_bytes_max / 2 < self.segment_bytes {
            return Err(InboxError::Options("inbox_bytes_max must hold at least two segments"));
        }
        if self.queue_bytes_max == 0 || self.queue_entries_max == 0 {
            return Err(InboxError::Options("queue_bytes_max and queue_entries_max must be at least 1"));
        }
        Ok(())
    }

    /// The longest record in truth: one head is its own, one is kept free for the mark that ends the segment.
    fn record_bytes_limit(&self) -> u32 {
        let fitting = self.segment_bytes - 2 * HEAD_BYTES;
        self.record_bytes_max.min(u32::try_from(fitting).unwrap_or(u32::MAX))
    }
}

/// Where a record lies. Valid from `append` or `open` until it is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Sequence number of the segment.
    pub segment: u64,
    /// Offset of the record's head in the segment.
    pub offset: u64,
    /// Bytes of the record, head not counted.
    pub len: u32,
}

/// Why the inbox refused or could not.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InboxError {
    /// As much waits as may. Succeeds again when records are released.
    #[error("inbox is full: {inbox_bytes_max} bytes of segments are waiting to be sealed")]
    Full {
        /// The limit, `inbox_bytes_max`.
        inbox_bytes_max: u64,
    },
    /// No retry can help.
    #[error("record of {record_bytes} bytes is larger than the largest allowed, {record_bytes_max}")]
    TooLarge {
        /// Bytes of the record.
        record_bytes: u64,
        /// The limit.
        record_bytes_max: u32,
    },
    /// The disk refused. The record is not acknowledged; the next one goes to a new segment.
    #[error("inbox cannot {operation}: {source}")]
    Disk {
        /// What was being done.
        operation: &'static str,
        /// What the disk said.
        source: Arc<io::Error>,
    },
    /// The bytes changed after they were stored.
    #[error("record at offset {offset} of inbox segment {segment} is corrupt")]
    Corrupt {
        /// Sequence number of the segment.
        segment: u64,
        /// Offset of the record.
        offset: u64,
    },
    /// The record was released, or never was.
    #[error("no record is waiting at offset {offset} of inbox segment {segment}")]
    NotFound {
        /// Sequence number of the segment.
        segment: u64,
        /// Offset asked for.
        offset: u64,
    },
    /// A newer release wrote this. Nothing was touched; upgrade to read it.
    #[error("inbox format {found} is newer than the newest supported, {newest}: {name}")]
    TooNew {
        /// Version found.
        found: u32,
        /// Newest version that this release reads.
        newest: u32,
        /// The file.
        name: String,
    },
    /// The options contradict themselves.
    #[error("inbox options: {0}")]
    Options(&'static str),
    /// The inbox is shut.
    #[error("inbox is closed")]
    Closed,
}

impl InboxError {
    pub(crate) fn disk(operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Disk { operation, source: Arc::new(error) }
    }
}

/// What a start found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Segments that held records or damage.
    pub segment_count: u64,
    /// Records handed back.
    pub record_count: u64,
    /// Bytes of these records, heads not counted.
    pub record_bytes: u64,
    /// What could not be read, in order.
    pub damage: Vec<Damage>,
}

/// One place of a segment that could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// Sequence number of the segment.
    pub segment: u64,
    /// Where the unreadable stretch starts.
    pub offset: u64,
    /// How sure the loss is.
    pub kind: DamageKind,
}

/// How sure it is that something acknowledged was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DamageKind {
    /// An unfinished write of the last batch, as a crash leaves it. It was not acknowledged, unless it is bit rot.
    Torn,
    /// Was durable once and is not what was written. The segment is set aside.
    Corrupt,
    /// The disk refuses to read it. The segment is set aside.
    Unreadable,
}

/// Figures of the inbox, for metrics and for the state of health.
#[derive(Debug, Clone, Default)]
pub struct InboxStats {
    /// Records that are not released.
    pub records_waiting: u64,
    /// Bytes of these records.
    pub bytes_waiting: u64,
    /// Bytes of all segments on disk, those set aside not counted.
    pub disk_bytes: u64,
    /// Segments with records, the open one included.
    pub segment_count: u64,
    /// Segments kept for use again.
    pub spare_count: u64,
    /// Records acknowledged since the start.
    pub appended_records: u64,
    /// Bytes of these records.
    pub appended_bytes: u64,
    /// Batches made durable since the start, each by one sync.
    pub batch_count: u64,
    /// Segments given up after a failed write or sync since the start.
    pub abandoned_count: u64,
    /// Reads since the start that met a record which is not what was written.
    pub corrupt_records: u64,
    /// Why the latest batch failed. `None` when it did not.
    pub failing: Option<InboxError>,
}

/// The durable inbox. See the module's page for what it promises.
pub struct Inbox {
    stock: Arc<Stock>,
    record_bytes_max: u32,
    queue_bytes_max: u32,
    queue_bytes: Arc<Semaphore>,
    queue_entries: Arc<Semaphore>,
    queue: Mutex<Option<writer::Queue>>,
    stock_thread: Mutex<Option<JoinHandle<()>>>,
    writer_thread: Mutex<Option<JoinHandle<()>>>,
}

impl Inbox {
    /// Opens the inbox in `files` and hands every record found to `recovered`, in order. Blocks on the disk.
    ///
    /// Everything handed back has been synced again, because a record that outlived a killed process may never have
    /// reached the disk.
    pub fn open(
        files: Arc<dyn Files>,
        options: InboxOptions,
        recovered: impl FnMut(Position, Vec<u8>),
    ) -> Result<(Self, Recovery), InboxError> {
        options.check()?;
        let (stock, recovery) = recover::recover(files, &options, recovered)?;
        let stock = Arc::new(stock.in_background());
        let (queue, queued) = writer::queue();
        let committer = Committer::new(Arc::clone(&stock));
        let inbox = Self {
            record_bytes_max: options.record_bytes_limit(),
            queue_bytes_max: options.queue_bytes_max,
            queue_bytes: Arc::new(Semaphore::new(options.queue_bytes_max as usize)),
            queue_entries: Arc::new(Semaphore::new(options.queue_entries_max.min(Semaphore::MAX_PERMITS))),
            queue: Mutex::new(Some(queue)),
            stock_thread: Mutex::new(None),
            writer_thread: Mutex::new(None),
            stock: Arc::clone(&stock),
        };
        let stock_thread = spawn("inbox-stock", move || stock::run(&stock))?;
        *stock::lock(&inbox.stock_thread) = Some(stock_thread);
        let writer_thread = spawn("inbox-writer", move || writer::run(&queued, committer))?;
        *stock::lock(&inbox.writer_thread) = Some(writer_thread);
        Ok((inbox, recovery))
    }

    /// Appends one record, given in parts. When this returns a position, the record is on stable storage.
    ///
    /// Waits while the queue is full. Dropping the future gives the record up: it may or may not be written, and is
    /// released if it is.
    pub async fn append(&self, parts: Vec<Bytes>) -> Result<Position, InboxError> {
        self.append_in(parts, Haste::Now).await
    }

    /// Does as [`Inbox::append`] for a record that no client waits for: it may be left in the queue for [`LEISURE`], so
    /// that many of them, or an urgent one and those before it, share one sync.
    pub async fn append_at_leisure(&self, parts: Vec<Bytes>) -> Result<Position, InboxError> {
        self.append_in(parts, Haste::Leisure).await
    }

    async fn append_in(&self, parts: Vec<Bytes>, haste: Haste) -> Result<Position, InboxError> {
        let pending = Pending::new(parts, self.record_bytes_max)?;
        let queued_bytes = pending.body_bytes().clamp(1, self.queue_bytes_max);
        let closed = |_| InboxError::Closed;
        let entry = Arc::clone(&self.queue_entries).acquire_owned().await.map_err(closed)?;
        let bytes = Arc::clone(&self.queue_bytes).acquire_many_owned(queued_bytes).await.map_err(closed)?;
        let (reply, answer) = oneshot::channel();
        let request = Request::new(pending, reply, [entry, bytes]);
        let is_queued = stock::lock(&self.queue).as_ref().is_some_and(|queue| queue.push(request, haste));
        if !is_queued {
            return Err(InboxError::Closed);
        }
        let ticket = answer.await.map_err(|_| InboxError::Closed)??;
        Ok(ticket.keep())
    }

    /// Reads a waiting record back and checks it. Blocks on the disk.
    pub fn read(&self, position: Position) -> Result<Vec<u8>, InboxError> {
        self.read_into(position, Vec::new())
    }

    /// Does as [`Inbox::read`], in memory that another record used before.
    pub fn read_into(&self, position: Position, memory: Vec<u8>) -> Result<Vec<u8>, InboxError> {
        self.stock.read_into(position, memory)
    }

    /// Lets a record go: it is sealed elsewhere. Does not block. Releasing twice does nothing.
    pub fn release(&self, position: Position) {
        self.stock.release(position);
    }

    /// Whether a segment holds records that are not released.
    pub fn holds_segment(&self, segment: u64) -> bool {
        self.stock.holds_segment(segment)
    }

    /// Counts the bytes of records that are not released.
    pub fn bytes_waiting(&self) -> u64 {
        self.stock.stats().bytes_waiting
    }

    /// Takes the inbox's figures.
    pub fn stats(&self) -> InboxStats {
        self.stock.stats()
    }

    /// Writes and answers what is queued, then stops. Blocks until that is done. Later appends fail with
    /// [`InboxError::Closed`]; reads and releases go on working, but nothing is tidied up any more.
    pub fn close(&self) {
        self.queue_bytes.close();
        self.queue_entries.close();
        drop(stock::lock(&self.queue).take());
        // The writer ends first, since it may wait for a segment from the other.
        join(&self.writer_thread);
        self.stock.stop();
        join(&self.stock_thread);
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.close();
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, InboxError> {
    thread::Builder::new().name(name.to_owned()).spawn(body).map_err(InboxError::disk("start its threads"))
}

fn join(thread: &Mutex<Option<JoinHandle<()>>>) {
    let thread = stock::lock(thread).take();
    if thread.is_some_and(|thread| thread.join().is_err()) {
        tracing::error!("a thread of the inbox panicked");
    }
}
