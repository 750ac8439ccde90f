//! Writing: batches into segments, one sync a batch, and the thread that does it.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{
    InboxError, Position,
    files::write_all,
    record::{HEAD_BYTES, Head, Kind, span_bytes},
    segment::Segment,
    stock::{Stage, Stock, lock},
};
use crate::abort_point;

/// Records are gathered into writes of about this size: large enough for the disk, small beside the queue.
const STEP_BYTES: usize = 1 << 20;

/// How long records that nobody waits for are gathered.
pub const LEISURE: Duration = Duration::from_millis(20);

/// When so many bytes of them are gathered, they are written at once.
const LEISURE_BYTES_MAX: u64 = 1 << 20;

/// A record that is not written yet. Its body's checksum is already known, so the writer thread need not take it.
pub(super) struct Pending {
    parts: Vec<Bytes>,
    body_bytes: u32,
    body_crc: u32,
}

impl Pending {
    pub(super) fn new(parts: Vec<Bytes>, record_bytes_max: u32) -> Result<Self, InboxError> {
        let record_bytes = parts.iter().map(|part| part.len() as u64).sum();
        let body_bytes = u32::try_from(record_bytes)
            .ok()
            .filter(|bytes| *bytes <= record_bytes_max)
            .ok_or(InboxError::TooLarge { record_bytes, record_bytes_max })?;
        let body_crc = parts.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part));
        Ok(Self { parts, body_bytes, body_crc })
    }

    pub(super) fn body_bytes(&self) -> u32 {
        self.body_bytes
    }
}

/// An acknowledgement on its way. Releases the record if nobody takes it, as when the caller has gone.
pub(super) struct Ticket {
    stock: Arc<Stock>,
    position: Position,
    is_kept: bool,
}

impl Ticket {
    pub(super) fn keep(mut self) -> Position {
        self.is_kept = true;
        self.position
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.is_kept {
            self.stock.release(self.position);
        }
    }
}

/// One queued append.
pub(super) struct Request {
    pending: Pending,
    reply: oneshot::Sender<Result<Ticket, InboxError>>,
    /// Room in the queue, given back with the answer.
    permits: [OwnedSemaphorePermit; 2],
}

impl Request {
    pub(super) fn new(
        pending: Pending,
        reply: oneshot::Sender<Result<Ticket, InboxError>>,
        permits: [OwnedSemaphorePermit; 2],
    ) -> Self {
        Self { pending, reply, permits }
    }
}

/// Whether somebody waits for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Haste {
    Now,
    Leisure,
}

/// What the writer wakes up for.
enum Call {
    Urgent(Request),
    /// Something was gathered where there was nothing.
    Leisure,
    /// Enough was gathered.
    Enough,
}

/// Records that nobody waits for.
#[derive(Default)]
struct Gathered {
    requests: Vec<Request>,
    bytes: u64,
}

/// The end of the queue that records are put in.
pub(super) struct Queue {
    calls: mpsc::Sender<Call>,
    gathered: Arc<Mutex<Gathered>>,
}

/// The end of the queue that the writer takes them from.
pub(super) struct Queued {
    calls: mpsc::Receiver<Call>,
    gathered: Arc<Mutex<Gathered>>,
}

pub(super) fn queue() -> (Queue, Queued) {
    let (sender, receiver) = mpsc::channel();
    let gathered = Arc::<Mutex<Gathered>>::default();
    (Queue { calls: sender, gathered: Arc::clone(&gathered) }, Queued { calls: receiver, gathered })
}

impl Queue {
    /// Returns false when nobody writes any more.
    pub(super) fn push(&self, request: Request, haste: Haste) -> bool {
        let call = match haste {
            Haste::Now => Call::Urgent(request),
            Haste::Leisure => {
                let mut gathered = lock(&self.gathered);
                let bytes_before = gathered.bytes;
                gathered.bytes += u64::from(request.pending.body_bytes());
                gathered.requests.push(request);
                // The writer is woken for the first of them, and for the one that makes them enough.
                if gathered.requests.len() == 1 {
                    Call::Leisure
                } else if bytes_before < LEISURE_BYTES_MAX && gathered.bytes >= LEISURE_BYTES_MAX {
                    Call::Enough
                } else {
                    return true;
                }
            }
        };
        self.calls.send(call).is_ok()
    }
}

impl Queued {
    /// Takes all that is there, once there is something to write. `None` when there will be no more.
    fn next_batch(&self) -> Option<Vec<Request>> {
        let mut urgent = match self.calls.recv().ok()? {
            Call::Urgent(request) => vec![request],
            Call::Leisure => self.at_leisure(),
            Call::Enough => Vec::new(),
        };
        urgent.extend(self.calls.try_iter().filter_map(|call| match call {
            Call::Urgent(request) => Some(request),
            Call::Leisure | Call::Enough => None,
        }));
        let mut batch = std::mem::take(&mut *lock(&self.gathered)).requests;
        batch.append(&mut urgent);
        Some(batch)
    }

    /// Waits until gathering is over, for a request that ends it, if one does.
    fn at_leisure(&self) -> Vec<Request> {
        let until = Instant::now() + LEISURE;
        loop {
            match self.calls.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Call::Urgent(request)) => return vec![request],
                Ok(Call::Leisure) => {}
                Ok(Call::Enough) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Vec::new();
                }
            }
        }
    }
}

/// Writes whatever is queued until the queue's other end is dropped.
pub(super) fn run(queue: &Queued, mut committer: Committer) {
    while let Some(requests) = queue.next_batch() {
        let mut batch = Vec::new();
        let mut replies = Vec::new();
        for Request { pending, reply, permits } in requests {
            batch.push(pending);
            replies.push((reply, permits));
        }
        let stock = Arc::clone(&committer.stock);
        let mut replies = replies.into_iter();
        committer.commit(&batch, |answer| {
            let Some((reply, _permits)) = replies.next() else { return };
            let ticket = answer.map(|position| Ticket { stock: Arc::clone(&stock), position, is_kept: false });
            // A caller that has gone drops the ticket here, and with it the record.
            let _ = reply.send(ticket);
        });
    }
    committer.close();
}

/// Puts batches into segments, and is the only one that writes to them.
pub(super) struct Committer {
    stock: Arc<Stock>,
    open: Option<Open>,
    step: Vec<u8>,
}

/// The segment that is appended to.
struct Open {
    segment: Arc<Segment>,
    /// Everything below is durable, and acknowledged or about to be.
    synced_bytes: u64,
}

impl Committer {
    pub(super) fn new(stock: Arc<Stock>) -> Self {
        Self { stock, open: None, step: Vec::new() }
    }

    /// Makes `batch` durable and answers each record of it, in order. A failure fails the rest of the batch.
    pub(super) fn commit(&mut self, batch: &[Pending], mut answer: impl FnMut(Result<Position, InboxError>)) {
        let mut rest = batch;
        while !rest.is_empty() {
            match self.commit_front(rest) {
                Ok(positions) => {
                    rest = rest.get(positions.len()..).unwrap_or_default();
                    self.stock.note_success();
                    positions.into_iter().for_each(|position| answer(Ok(position)));
                }
                Err(error) => {
                    self.stock.note_failure(&error);
                    rest.iter().for_each(|_| answer(Err(error.clone())));
                    return;
                }
            }
        }
    }

    /// Ends the open segment, so that the next start knows that nothing of it is missing.
    pub(super) fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.finish(&open);
        }
    }

    /// Commits as many records as the open segment, or else the next one, has room for: at least one.
    fn commit_front(&mut self, batch: &[Pending]) -> Result<Vec<Position>, InboxError> {
        let open = match self.open.take() {
            Some(open) if !open.layout(batch).is_empty() => open,
            full => {
                let next = match self.stock.take() {
                    Ok(segment) => Open { segment, synced_bytes: 0 },
                    Err(error) => {
                        // There may still be room for a smaller record.
                        self.open = full;
                        return Err(error);
                    }
                };
                if let Some(full) = full {
                    self.finish(&full);
                }
                next
            }
        };
        let positions = open.layout(batch);
        let written = self.write(&open, batch, &positions);
        let sequence = open.segment.sequence;
        abort_point!("inbox.written");
        match written.and_then(|()| open.segment.handle.sync_data().map_err(InboxError::disk("sync a segment"))) {
            Ok(()) => {
                abort_point!("inbox.synced");
                self.stock.register(sequence, &positions);
                abort_point!("inbox.registered");
                let end = positions.last().map_or(open.synced_bytes, |last| last.offset + span_bytes(last.len));
                self.open = Some(Open { synced_bytes: end, ..open });
                Ok(positions)
            }
            Err(error) => {
                // Never again from this one: the kernel may have dropped the pages and will call the next sync a success.
                tracing::error!(segment = sequence, %error, "inbox segment abandoned");
                self.stock.finish(sequence, Stage::Abandoned);
                Err(error)
            }
        }
    }

    fn write(&mut self, open: &Open, batch: &[Pending], positions: &[Position]) -> Result<(), InboxError> {
        let mut step = Step { bytes: &mut self.step, offset: open.synced_bytes, segment: &open.segment };
        step.bytes.clear();
        for (pending, position) in batch.iter().zip(positions) {
            let head = Head {
                kind: Kind::Record,
                body_bytes: pending.body_bytes,
                synced_bytes: open.synced_bytes,
                body_crc: pending.body_crc,
            };
            step.push(&head.encode(position.segment, position.offset))?;
            for part in &pending.parts {
                step.push(part)?;
            }
            let padding = span_bytes(pending.body_bytes) - HEAD_BYTES - u64::from(pending.body_bytes);
            step.push([0; 8].get(..padding as usize).unwrap_or_default())?;
        }
        step.flush()
    }

    /// Marks the end of a segment. The mark is a convenience of recovery, so its failure costs nobody an answer.
    fn finish(&self, open: &Open) {
        let head = Head { kind: Kind::End, body_bytes: 0, synced_bytes: open.synced_bytes, body_crc: 0 };
        let bytes = head.encode(open.segment.sequence, open.synced_bytes);
        let handle = open.segment.handle.as_ref();
        let marked = write_all(handle, open.synced_bytes, &bytes).and_then(|()| handle.sync_data());
        let stage = if marked.is_ok() { Stage::Full } else { Stage::Abandoned };
        self.stock.finish(open.segment.sequence, stage);
        abort_point!("inbox.rolled");
    }
}

impl Open {
    /// Places as many records of `batch` as fit, keeping room for the mark at the end.
    fn layout(&self, batch: &[Pending]) -> Vec<Position> {
        let mut offset = self.synced_bytes;
        let mut positions = Vec::new();
        for pending in batch {
            let end = offset + span_bytes(pending.body_bytes);
            if end + HEAD_BYTES > self.segment.segment_bytes {
                break;
            }
            positions.push(Position { segment: self.segment.sequence, offset, len: pending.body_bytes });
            offset = end;
        }
        positions
    }
}

/// Gathers bytes that follow each other in a segment into large writes.
struct Step<'a> {
    bytes: &'a mut Vec<u8>,
    offset: u64,
    segment: &'a Segment,
}

impl Step<'_> {
    fn push(&mut self, mut bytes: &[u8]) -> Result<(), InboxError> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(STEP_BYTES - self.bytes.len()));
            self.bytes.extend_from_slice(now);
            bytes = later;
            if self.bytes.len() == STEP_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), InboxError> {
        write_all(self.segment.handle.as_ref(), self.offset, self.bytes)
            .map_err(InboxError::disk("write to a segment"))?;
        self.offset += self.bytes.len() as u64;
        self.bytes.clear();
        Ok(())
    }
}
