//! Sealing: takes what waits out of the pending index, makes an object of it, enters it, and lets the inbox go of it.
//!
//! One object is made at a time. Whatever fails is put back and tried again, and after a failure the store looks at what
//! was written before it takes another number.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use reelcase_format::id::UploadId;
use tokio::sync::watch;

use super::{Store, StoreError, locked};
use crate::abort_point;
use crate::catalog::{DropCount, ObjectKind, ObjectRow};
use crate::inbox::{Inbox, InboxError, Position};
use crate::objects::{ObjectError, object_id};
use crate::pending::{DueRule, Group, GroupKey, PendingIndex, PendingItem, Room};
use crate::seal::{self, Gathered};

/// Bytes of uploads, their codings undone, that are sealed into one object. Bounds the memory that sealing takes.
const SEAL_INFLATED_BYTES_MAX: u64 = 24 << 20;
/// How often the sealer looks for what is due.
const SEAL_TICK: Duration = Duration::from_millis(250);
/// How long the sealer rests after the object store or the catalog refused.
const SEAL_RETRY: Duration = Duration::from_secs(1);

impl Store {
    /// Seals what is due by the clock. The store does so by itself; this is for whoever moves the clock by hand.
    pub async fn seal_due(self: &Arc<Self>) -> Result<(), StoreError> {
        let rule = DueRule {
            age_first_ms: self.options.seal_age_first_ms,
            age_ms: self.options.seal_age_ms,
            record_bytes_max: self.options.seal_bytes,
            remember_ms: self.options.seal_age_ms * 4,
        };
        let clock = Arc::clone(&self.clock);
        self.seal_picked(move |pending| pending.due(clock.now_ms(), &rule)).await
    }

    /// Seals the groups that `pick` names, in as many objects as their bytes need.
    pub(super) async fn seal_picked(
        self: &Arc<Self>,
        pick: impl FnOnce(&mut PendingIndex) -> Vec<GroupKey> + Send + 'static,
    ) -> Result<(), StoreError> {
        let store = Arc::clone(self);
        // A task of its own, because a reader that goes away must not take along what it made the store seal.
        let sealing = tokio::spawn(async move {
            let sealed = store.seal_each(pick).await;
            *locked(&store.trouble) = sealed.as_ref().err().map(describe);
            sealed
        });
        sealing.await.map_err(|error| ObjectError::Sync(std::io::Error::other(error)))?
    }

    /// The lock is taken even when nothing waits: what another caller is sealing counts as waiting until it is done.
    async fn seal_each(&self, pick: impl FnOnce(&mut PendingIndex) -> Vec<GroupKey>) -> Result<(), StoreError> {
        let mut next_seq = self.next_seq.lock().await;
        if next_seq.is_none() {
            *next_seq = Some(self.adopt().await?);
        }
        // One queue to begin with. Groups that failed together are tried again one by one, in queues of their own.
        let mut queues = VecDeque::from([VecDeque::from(pick(&mut self.pending()))]);
        let mut failed = None;
        while let Some(keys) = queues.front_mut() {
            let taken = self.take_for_one_object(keys);
            if taken.is_empty() {
                queues.pop_front();
                continue;
            }
            match self.seal_taken(&taken, &mut next_seq).await {
                Ok(()) => self.release(taken),
                Err(error) => {
                    let tried: Vec<_> = taken.iter().map(|(key, _)| key.clone()).collect();
                    self.put_back(taken);
                    // An upload that cannot be read must not hold up those that can. Other errors are everybody's.
                    let StoreError::Inbox(error) = error else { return Err(error) };
                    keys.retain(|key| !tried.contains(key));
                    if tried.len() > 1 {
                        tried.into_iter().rev().for_each(|key| queues.push_front(VecDeque::from([key])));
                    } else {
                        failed = Some(StoreError::Inbox(error));
                    }
                }
            }
            // Readers that want one recording get their turn between two objects.
            drop(next_seq);
            next_seq = self.next_seq.lock().await;
            if next_seq.is_none() {
                *next_seq = Some(self.adopt().await?);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Takes out groups, or the first part of a large one, until an object is full. Those that found no room stay in
    /// `keys`; others further on may lie in records that are taken already, and cost nothing.
    fn take_for_one_object(&self, keys: &mut VecDeque<GroupKey>) -> Vec<(GroupKey, Group)> {
        let mut taken = Vec::new();
        let mut room = Room::new(SEAL_INFLATED_BYTES_MAX);
        let mut pending = self.pending();
        keys.retain(|key| match pending.take(key, &mut room) {
            Some((group, is_whole)) => {
                taken.push((key.clone(), group));
                !is_whole
            }
            None => pending.has(key),
        });
        taken
    }

    /// Makes, writes and enters one object, unless everything in the groups was sealed before.
    async fn seal_taken(&self, taken: &[(GroupKey, Group)], next_seq: &mut Option<u64>) -> Result<(), StoreError> {
        let fresh = self.without_sealed(taken).await?;
        let Some(seq) = next_seq.filter(|_| !fresh.is_empty()) else { return Ok(()) };
        let (inbox, limits, now_ms) = (Arc::clone(&self.inbox), self.options.limits.clone(), self.clock.now_ms());
        let object = ObjectRow {
            seq,
            key: object_id(&self.store_id, seq),
            kind: ObjectKind::Batch,
            stored_bytes: 0,
            recording_count: 0,
        };
        let key = object.key.clone();
        let memory = Arc::clone(&self.seal_memory);
        let sealed = tokio::task::spawn_blocking(move || {
            let mut read = |position, memory| read(&inbox, position, memory);
            seal::seal(gather(fresh), &mut read, object, &limits, now_ms, &mut locked(&memory))
        });
        let sealed = sealed.await.map_err(|error| ObjectError::Sync(std::io::Error::other(error)))??;
        abort_point!("seal.decoded");
        // From here on an error does not say what was done. Whoever is next looks before it takes a number.
        *next_seq = None;
        self.objects.put(&key, sealed.bytes).await?;
        abort_point!("catalog.before_commit");
        self.catalog.commit(sealed.commit).await?;
        abort_point!("catalog.committed");
        *next_seq = Some(seq + 1);
        if !sealed.drops.is_empty() {
            let drops: Vec<_> = sealed
                .drops
                .iter()
                .map(|(reason, count)| DropCount { reason: (*reason).to_owned(), count: *count })
                .collect();
            self.catalog.add_drops(&drops).await?;
        }
        Ok(())
    }

    /// The groups without the uploads that an object holds already: retries, and what a crash left in the inbox.
    async fn without_sealed(&self, taken: &[(GroupKey, Group)]) -> Result<Vec<(GroupKey, Group)>, StoreError> {
        let mut fresh = Vec::with_capacity(taken.len());
        for (key, group) in taken {
            let uploads: Vec<UploadId> = group.items.iter().map(|item| item.upload).collect();
            let is_sealed = self.catalog.sealed_uploads(&key.project, &uploads).await?;
            let items = group.items.iter().zip(is_sealed).filter(|(_, is_sealed)| !is_sealed);
            let items: Vec<_> = items.map(|(item, _)| item.clone()).collect();
            if !items.is_empty() {
                let (since_ms, record_bytes) = (group.since_ms, group.record_bytes);
                fresh.push((key.clone(), Group { items, since_ms, record_bytes }));
            }
        }
        Ok(fresh)
    }

    fn put_back(&self, taken: Vec<(GroupKey, Group)>) {
        let mut pending = self.pending();
        taken.into_iter().for_each(|(key, group)| pending.put_back(key, group));
    }

    fn release(&self, taken: Vec<(GroupKey, Group)>) {
        abort_point!("inbox.before_release");
        let now_ms = self.clock.now_ms();
        for (key, group) in taken {
            let done = self.pending().sealed(&key, &group.items, now_ms);
            done.into_iter().for_each(|position| self.let_go_sealed(position));
        }
        abort_point!("inbox.released");
    }
}

/// Seals what is due, until the store is closed. A failure is logged and tried again: nothing is lost by waiting.
pub(super) async fn run(store: Arc<Store>, mut stopping: watch::Receiver<bool>) {
    let mut pause = SEAL_TICK;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        locked(&store.seal_memory).rest();
        pause = match store.seal_due().await {
            Ok(()) => SEAL_TICK,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot seal; uploads stay in the inbox");
                SEAL_RETRY
            }
        };
    }
}

/// Names each record once, however many of its items are wanted.
fn gather(groups: Vec<(GroupKey, Group)>) -> Gathered {
    let mut places: HashMap<Position, usize> = HashMap::new();
    let mut gathered = Gathered::default();
    for (key, group) in groups {
        let place_of = |item: PendingItem| {
            let place = *places.entry(item.position).or_insert_with(|| {
                gathered.records.push(item.position);
                gathered.records.len() - 1
            });
            (item, place)
        };
        gathered.groups.push((key, group.items.into_iter().map(place_of).collect()));
    }
    gathered
}

/// Reads a record, unless it is lost.
fn read(inbox: &Inbox, position: Position, memory: Vec<u8>) -> Result<Option<Vec<u8>>, InboxError> {
    match inbox.read_into(position, memory) {
        Ok(record) => Ok(Some(record)),
        Err(error @ (InboxError::Corrupt { .. } | InboxError::NotFound { .. })) => {
            // The rest must not wait for what no retry can bring back; the inbox keeps the segment.
            tracing::error!(error = &error as &dyn std::error::Error, "an accepted upload is lost");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// An error with its causes, in one line.
fn describe(error: &StoreError) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
