//! The stock of segments: which exist, what waits in each, which is next, and what becomes of those that are done.
//!
//! The writer takes from it, releases go into it, and one thread ([`run`]) prepares and tidies. File operations happen
//! outside the lock, so a release never waits for the disk.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    InboxError, InboxOptions, InboxStats, Position,
    files::{FileHandle, Files, read_exact},
    record::{HEAD_BYTES, Head, Kind, Parsed},
    segment::{Role, Segment},
};
use crate::abort_point;

/// How long after a failure the disk is tried again.
const RETRY_MS: u64 = 250;

/// How far a segment with records has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The writer appends to it.
    Open,
    /// Done with; to be recycled when nothing waits in it.
    Full,
    /// A write or sync failed. To be removed when nothing waits in it.
    Abandoned,
}

/// A segment with records, and where those lie that somebody waits for.
pub(super) struct Tracked {
    pub(super) segment: Arc<Segment>,
    pub(super) stage: Stage,
    pub(super) waiting: HashMap<u64, u32>,
    /// What was written to it is not what it holds. To be set aside when nothing waits in it.
    pub(super) is_damaged: bool,
}

/// What is to become of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Recycle,
    Remove,
    SetAside,
}

/// A file that is done with, before the disk knows.
pub(super) struct Retired {
    pub(super) sequence: u64,
    pub(super) role: Role,
    pub(super) file_bytes: u64,
    pub(super) fate: Fate,
}

/// What the lock guards.
#[derive(Default)]
pub(super) struct Shelf {
    pub(super) segments: BTreeMap<u64, Tracked>,
    pub(super) spares: Vec<u64>,
    pub(super) retired: Vec<Retired>,
    pub(super) next_sequence: u64,
    /// Bytes of all files that are ours, those set aside not counted.
    pub(super) disk_bytes: u64,
    ready: Option<Arc<Segment>>,
    /// Why there is no ready segment. `None` while nobody has tried.
    shortage: Option<InboxError>,
    /// The last round of maintenance left something undone, so it is tried again after a while.
    is_retrying: bool,
    is_stopping: bool,
    totals: InboxStats,
}

pub(super) struct Stock {
    files: Arc<dyn Files>,
    segment_bytes: u64,
    inbox_bytes_max: u64,
    spare_segments_max: usize,
    /// Whether a thread runs [`run`]. Otherwise [`Stock::take`] prepares segments itself.
    is_in_background: bool,
    shelf: Mutex<Shelf>,
    changed: Condvar,
}

/// Takes a lock. What is guarded here is consistent between statements, so a panic elsewhere does not spoil it.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prepares segments ahead of need and tidies up, until the stock is stopped.
pub(super) fn run(stock: &Stock) {
    loop {
        stock.maintain();
        let mut shelf = lock(&stock.shelf);
        if shelf.is_stopping {
            drop(shelf);
            return stock.shut();
        }
        if shelf.is_retrying {
            let wait = Duration::from_millis(RETRY_MS);
            drop(stock.changed.wait_timeout(shelf, wait).unwrap_or_else(PoisonError::into_inner));
            continue;
        }
        while !shelf.has_work() && !shelf.is_stopping {
            shelf = stock.changed.wait(shelf).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Stock {
    pub(super) fn new(files: Arc<dyn Files>, options: &InboxOptions, shelf: Shelf) -> Self {
        Self {
            files,
            segment_bytes: options.segment_bytes,
            inbox_bytes_max: options.inbox_bytes_max,
            spare_segments_max: options.spare_segments_max,
            is_in_background: false,
            shelf: Mutex::new(shelf),
            changed: Condvar::new(),
        }
    }

    /// Says that a thread of its own is going to run [`run`].
    pub(super) fn in_background(self) -> Self {
        Self { is_in_background: true, ..self }
    }

    /// Takes the next segment to write into. Waits for one that is being prepared; fails when none can be had.
    pub(super) fn take(&self) -> Result<Arc<Segment>, InboxError> {
        let mut shelf = lock(&self.shelf);
        let mut has_tried = self.is_in_background;
        loop {
            if let Some(segment) = shelf.ready.take() {
                let tracked = Tracked {
                    segment: Arc::clone(&segment),
                    stage: Stage::Open,
                    waiting: HashMap::new(),
                    is_damaged: false,
                };
                shelf.segments.insert(segment.sequence, tracked);
                self.changed.notify_all();
                return Ok(segment);
            }
            if has_tried {
                if let Some(shortage) = &shelf.shortage {
                    return Err(shortage.clone());
                }
                if shelf.is_stopping || !self.is_in_background {
                    return Err(InboxError::Closed);
                }
                shelf = self.changed.wait(shelf).unwrap_or_else(PoisonError::into_inner);
            } else {
                drop(shelf);
                self.maintain();
                shelf = lock(&self.shelf);
                has_tried = true;
            }
        }
    }

    /// Notes records that are durable now.
    pub(super) fn register(&self, sequence: u64, positions: &[Position]) {
        let mut shelf = lock(&self.shelf);
        let shelf = &mut *shelf;
        if let Some(tracked) = shelf.segments.get_mut(&sequence) {
            tracked.waiting.extend(positions.iter().map(|position| (position.offset, position.len)));
        }
        let bytes: u64 = positions.iter().map(|position| u64::from(position.len)).sum();
        shelf.totals.batch_count += 1;
        shelf.totals.appended_records += positions.len() as u64;
        shelf.totals.appended_bytes += bytes;
        shelf.totals.records_waiting += positions.len() as u64;
        shelf.totals.bytes_waiting += bytes;
    }

    /// Notes that nothing more will be written to a segment.
    pub(super) fn finish(&self, sequence: u64, stage: Stage) {
        let mut shelf = lock(&self.shelf);
        if let Some(tracked) = shelf.segments.get_mut(&sequence) {
            tracked.stage = stage;
        }
        shelf.totals.abandoned_count += u64::from(stage == Stage::Abandoned);
        self.retire_if_done(&mut shelf, sequence);
    }

    pub(super) fn release(&self, position: Position) {
        let mut shelf = lock(&self.shelf);
        let Some(tracked) = shelf.segments.get_mut(&position.segment) else { return };
        let Some(record_bytes) = tracked.waiting.remove(&position.offset) else { return };
        shelf.totals.records_waiting -= 1;
        shelf.totals.bytes_waiting -= u64::from(record_bytes);
        self.retire_if_done(&mut shelf, position.segment);
    }

    pub(super) fn read_into(&self, position: Position, memory: Vec<u8>) -> Result<Vec<u8>, InboxError> {
        let Position { segment, offset, .. } = position;
        let waiting = {
            let shelf = lock(&self.shelf);
            let tracked = shelf.segments.get(&segment);
            tracked.and_then(|tracked| Some((Arc::clone(&tracked.segment), *tracked.waiting.get(&offset)?)))
        };
        let (file, body_bytes) = waiting.ok_or(InboxError::NotFound { segment, offset })?;
        let (mut head, mut body) = ([0; HEAD_BYTES as usize], memory);
        body.resize(body_bytes as usize, 0);
        let handle = file.handle.as_ref();
        read_exact(handle, offset, &mut head)
            .and_then(|()| read_exact(handle, offset + HEAD_BYTES, &mut body))
            .map_err(InboxError::disk("read a record"))?;
        match Head::parse(&head, segment, offset) {
            Parsed::Head(head)
                if head.kind == Kind::Record
                    && head.body_bytes == body_bytes
                    && head.body_crc == crc32c::crc32c(&body) =>
            {
                Ok(body)
            }
            _ => {
                let mut shelf = lock(&self.shelf);
                if let Some(tracked) = shelf.segments.get_mut(&segment) {
                    tracked.is_damaged = true;
                }
                shelf.totals.corrupt_records += 1;
                Err(InboxError::Corrupt { segment, offset })
            }
        }
    }

    pub(super) fn holds_segment(&self, sequence: u64) -> bool {
        lock(&self.shelf).segments.contains_key(&sequence)
    }

    pub(super) fn note_success(&self) {
        if lock(&self.shelf).totals.failing.take().is_some() {
            tracing::info!("the inbox takes uploads again");
        }
    }

    pub(super) fn note_failure(&self, error: &InboxError) {
        // Once, and not for every upload that is refused: a full disk is often that of the log, too.
        if lock(&self.shelf).totals.failing.replace(error.clone()).is_none() {
            tracing::error!(%error, "the inbox takes no uploads");
        }
    }

    pub(super) fn stats(&self) -> InboxStats {
        let shelf = lock(&self.shelf);
        InboxStats {
            disk_bytes: shelf.disk_bytes,
            segment_count: shelf.segments.len() as u64,
            spare_count: shelf.spares.len() as u64,
            ..shelf.totals.clone()
        }
    }

    /// Asks [`run`] to end.
    pub(super) fn stop(&self) {
        lock(&self.shelf).is_stopping = true;
        self.changed.notify_all();
    }

    /// Puts the unused ready segment with the spares, so that the next start need not read it.
    pub(super) fn shut(&self) {
        {
            let mut shelf = lock(&self.shelf);
            shelf.is_stopping = true;
            if let Some(segment) = shelf.ready.take() {
                let Segment { sequence, segment_bytes: file_bytes, .. } = *segment;
                shelf.retired.push(Retired { sequence, role: Role::Log, file_bytes, fate: Fate::Recycle });
            }
        }
        self.maintain();
    }

    /// Does what there is to do on the disk, once. What fails stays to be done.
    pub(super) fn maintain(&self) {
        let retired = {
            let mut shelf = lock(&self.shelf);
            shelf.is_retrying = false;
            std::mem::take(&mut shelf.retired)
        };
        let has_retired = !retired.is_empty();
        for file in retired {
            self.dispose(file);
        }
        // Nothing depends on these names yet: a file that comes back after a crash is found and tidied up again.
        if has_retired && let Err(error) = self.files.sync_dir() {
            tracing::warn!(%error, "cannot sync the inbox directory");
        }
        self.prepare();
    }

    fn retire_if_done(&self, shelf: &mut Shelf, sequence: u64) {
        let Some(tracked) = shelf.segments.get(&sequence) else { return };
        let fate = match tracked.stage {
            Stage::Open => return,
            _ if !tracked.waiting.is_empty() => return,
            _ if tracked.is_damaged => Fate::SetAside,
            Stage::Full => Fate::Recycle,
            Stage::Abandoned => Fate::Remove,
        };
        let file_bytes = tracked.segment.segment_bytes;
        shelf.segments.remove(&sequence);
        shelf.retired.push(Retired { sequence, role: Role::Log, file_bytes, fate });
        if matches!(shelf.shortage, Some(InboxError::Full { .. })) {
            shelf.shortage = None;
        }
        self.changed.notify_all();
    }

    fn dispose(&self, file: Retired) {
        let Retired { sequence, role, file_bytes, fate } = file;
        let is_wanted = file_bytes == self.segment_bytes && lock(&self.shelf).spares.len() < self.spare_segments_max;
        let name = role.name(sequence);
        let done = match fate {
            Fate::Recycle if is_wanted => self.files.rename(&name, &Role::Spare.name(sequence)),
            Fate::SetAside => self.files.rename(&name, &Role::Damaged.name(sequence)),
            Fate::Recycle | Fate::Remove => match self.files.remove(&name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                removed => removed,
            },
        };
        abort_point!("inbox.recycled");
        let mut shelf = lock(&self.shelf);
        match done {
            Ok(()) if fate == Fate::Recycle && is_wanted => shelf.spares.push(sequence),
            Ok(()) => shelf.disk_bytes = shelf.disk_bytes.saturating_sub(file_bytes),
            Err(error) => {
                tracing::warn!(name, %error, "cannot tidy up an inbox segment");
                // A file that will not be renamed may still be removed; a damaged one never is.
                let fate = if fate == Fate::SetAside { fate } else { Fate::Remove };
                shelf.retired.push(Retired { fate, ..file });
                shelf.is_retrying = true;
            }
        }
    }

    /// Makes a segment ready if there is none.
    fn prepare(&self) {
        let (sequence, spare) = {
            let mut shelf = lock(&self.shelf);
            if shelf.ready.is_some() || shelf.is_stopping {
                return;
            }
            let spare = shelf.spares.pop();
            if spare.is_none() {
                if shelf.disk_bytes + self.segment_bytes > self.inbox_bytes_max {
                    shelf.shortage = Some(InboxError::Full { inbox_bytes_max: self.inbox_bytes_max });
                    self.changed.notify_all();
                    return;
                }
                shelf.disk_bytes += self.segment_bytes;
            }
            shelf.next_sequence += 1;
            (shelf.next_sequence - 1, spare)
        };
        let prepared = self.prepare_file(sequence, spare);
        let mut shelf = lock(&self.shelf);
        match prepared {
            Ok(handle) => {
                shelf.ready = Some(Arc::new(Segment { sequence, segment_bytes: self.segment_bytes, handle }));
                shelf.shortage = None;
            }
            Err(error) => {
                // Whichever name the file has now, it goes; only one of the two counts.
                let file_bytes = self.segment_bytes;
                shelf.retired.push(Retired { sequence, role: Role::Log, file_bytes, fate: Fate::Remove });
                if let Some(sequence) = spare {
                    shelf.retired.push(Retired { sequence, role: Role::Spare, file_bytes: 0, fate: Fate::Remove });
                }
                shelf.shortage = Some(InboxError::disk("prepare a segment")(error));
                shelf.is_retrying = true;
            }
        }
        self.changed.notify_all();
    }

    fn prepare_file(&self, sequence: u64, spare: Option<u64>) -> io::Result<Box<dyn FileHandle>> {
        let name = Role::Log.name(sequence);
        let handle = match spare {
            Some(spare) => {
                self.files.rename(&Role::Spare.name(spare), &name)?;
                self.files.open(&name)?
            }
            None => {
                let handle = self.files.create(&name, self.segment_bytes)?;
                handle.sync_data()?;
                handle
            }
        };
        // A record in a file whose name is not durable would be lost with the name.
        self.files.sync_dir()?;
        Ok(handle)
    }
}

impl Shelf {
    fn has_work(&self) -> bool {
        !self.retired.is_empty() || (self.ready.is_none() && self.shortage.is_none())
    }

    /// Takes in a record found at the start.
    pub(super) fn count_waiting(&mut self, position: Position) {
        self.totals.records_waiting += 1;
        self.totals.bytes_waiting += u64::from(position.len);
    }
}
