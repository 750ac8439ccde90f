//! A whole store over a disk and an object store that fail on purpose, and a ledger of what it acknowledged.

#![allow(clippy::unwrap_used, clippy::panic, dead_code, reason = "tests fail by panicking, each using its part")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use reelcase_store::inbox::InboxOptions;
use reelcase_store::inbox::sim::{Chance, SimFiles};
use reelcase_store::merge::LineMerge;
use reelcase_store::{
    AcceptError, Accepted, Clock, ItemKind, ItemRef, Receipt, Store, StoreError, StoreOptions, Unsorted,
};

pub(crate) mod objects;

use objects::FaultyObjects;

pub(crate) const PROJECT: &str = "phc_world";

/// Markers are told by the timestamps of events.
const EPOCH_MS: i64 = 1_795_226_820_000;

/// A clock that goes on by a second whenever it is looked at, so that everything is due at once.
#[derive(Debug, Default)]
pub(crate) struct FastClock(AtomicI64);

impl Clock for FastClock {
    fn now_ms(&self) -> i64 {
        EPOCH_MS + self.0.fetch_add(1_000, Ordering::Relaxed)
    }
}

/// A directory in memory where there is one: the syncs of so many stores would keep a disk busy for minutes.
pub(crate) fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// What a size is in CI, unless the environment variable `name` says otherwise, as `make soak` does.
pub(crate) fn size(name: &str, in_ci: u64) -> u64 {
    std::env::var(name).map_or(in_ci, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Runs `check` for so many seeds, on both processors.
pub(crate) fn for_seeds(seeds: u64, check: impl Fn(u64) + Sync) {
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2)
            .map(|worker| {
                let check = &check;
                scope.spawn(move || (worker..seeds).step_by(2).for_each(check))
            })
            .collect();
        for worker in workers {
            if let Err(panic) = worker.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}

/// What was sent, and what of it was acknowledged.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Recording of each marker.
    pub(crate) sent: BTreeMap<u64, String>,
    pub(crate) acked: BTreeSet<u64>,
}

impl Ledger {
    /// Sends a new upload of one event.
    pub(crate) async fn send(&mut self, store: &Arc<Store>, chance: &mut Chance) -> Result<Receipt, AcceptError> {
        let marker = self.sent.len() as u64;
        self.sent.insert(marker, format!("recording-{}", chance.below(4)));
        self.send_again(store, marker).await
    }

    /// Sends an upload as a client that saw no answer would.
    pub(crate) async fn send_again(&mut self, store: &Arc<Store>, marker: u64) -> Result<Receipt, AcceptError> {
        let receipt = store.accept(upload(&self.sent[&marker], marker)).await;
        if receipt.is_ok() {
            self.acked.insert(marker);
        }
        receipt
    }

    /// Has a new upload of one event laid by, for [`Ledger::sort`] to look into.
    pub(crate) async fn lay_by(&mut self, store: &Arc<Store>, chance: &mut Chance) -> Result<(), AcceptError> {
        let marker = self.sent.len() as u64;
        let recording = format!("recording-{}", chance.below(4));
        let body = vec![upload(&recording, marker).body];
        self.sent.insert(marker, recording);
        store.lay_by(Unsorted { received_at_ms: EPOCH_MS, body, ..Unsorted::default() }).await?;
        self.acked.insert(marker);
        Ok(())
    }

    /// Looks into so many of those that were laid by, in this life or an earlier one.
    pub(crate) async fn sort(&self, store: &Arc<Store>, count: usize) {
        for _ in 0..count {
            let Ok(Some((position, unsorted))) = store.take_unsorted().await else { return };
            let marker = marker_of(&unsorted.body.concat());
            let sorted = upload(&self.sent[&marker], marker);
            store.sorted(position, sorted.inflated_bytes, [(&sorted.project, &sorted.items)]);
        }
    }

    /// Reads everything back: all that was acknowledged is there, and nothing is there twice.
    pub(crate) async fn check(&self, store: &Arc<Store>, seed: u64) {
        let recordings: BTreeSet<&String> = self.sent.values().collect();
        let mut found: BTreeMap<u64, u64> = BTreeMap::new();
        for recording in recordings {
            for marker in markers(store, recording).await.unwrap_or_else(|error| panic!("seed {seed}: {error}")) {
                *found.entry(marker).or_default() += 1;
                assert_eq!(self.sent.get(&marker), Some(recording), "seed {seed}: an event changed its recording");
            }
        }
        let lost: Vec<_> = self.acked.iter().filter(|marker| !found.contains_key(marker)).collect();
        let doubled: Vec<_> = found.iter().filter(|(_, count)| **count > 1).collect();
        assert!(lost.is_empty() && doubled.is_empty(), "seed {seed}: lost {lost:?}, doubled {doubled:?}");
    }
}

/// The markers of a recording, in time order.
pub(crate) async fn markers(store: &Arc<Store>, recording: &str) -> Result<Vec<u64>, StoreError> {
    let (project, id) = (PROJECT.parse().unwrap(), recording.parse().unwrap());
    let blocks = store.blocks(&project, &id).await?;
    let mut merge = LineMerge::new(store, blocks);
    let mut found = Vec::new();
    while let Some(chunk) = merge.next_chunk().await? {
        for line in chunk.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let (_, event) = reelcase_format::line::split_line(line).unwrap();
            let at_ms = reelcase_format::event::EventHead::read(event).unwrap().timestamp_ms();
            found.push(u64::try_from(at_ms - EPOCH_MS).unwrap());
        }
    }
    Ok(found)
}

fn marker_of(body: &[u8]) -> u64 {
    let text = std::str::from_utf8(body).unwrap();
    let digits = text.split("\"payload\":").nth(1).unwrap();
    digits[..digits.find('}').unwrap()].parse().unwrap()
}

/// An upload of one event, whose timestamp and uuid are the marker.
pub(crate) fn upload(recording: &str, marker: u64) -> Accepted {
    let mut id = [7; 16];
    id[8..].copy_from_slice(&marker.to_be_bytes());
    let at_ms = EPOCH_MS + i64::try_from(marker).unwrap();
    let body = format!(
        r#"[{{"uuid":"{}","event":"$snapshot","properties":{{"$session_id":"{recording}","$window_id":"w","token":"{PROJECT}",
        "distinct_id":"d","$snapshot_data":[{{"type":5,"timestamp":{at_ms},"data":{{"tag":"marker","payload":{marker}}}}}]}}}}]"#,
        uuid::Uuid::from_bytes(id),
    );
    Accepted {
        project: PROJECT.parse().unwrap(),
        received_at_ms: EPOCH_MS,
        content_type: None,
        compression: None,
        user_agent: None,
        inflated_bytes: body.len() as u64,
        body: body.into(),
        onward: None,
        items: vec![ItemRef {
            index: 0,
            kind: ItemKind::Snapshot,
            upload: id,
            recording: Some(recording.parse().unwrap()),
        }],
    }
}

pub(crate) fn options(dir: &Path) -> StoreOptions {
    let inbox = InboxOptions {
        segment_bytes: 16 << 10,
        inbox_bytes_max: 256 << 10,
        record_bytes_max: 8 << 10,
        ..InboxOptions::default()
    };
    StoreOptions { inbox, ..StoreOptions::new(dir) }
}

/// Opens the store; what fails for want of the object store is tried again, as a supervisor would.
pub(crate) async fn open(dir: &Path, files: &SimFiles, objects: &FaultyObjects) -> Arc<Store> {
    let clock = Arc::new(FastClock::default());
    for _ in 0..1_000 {
        let opened =
            Store::open_with(options(dir), clock.clone(), Arc::new(files.clone()), Arc::new(objects.clone())).await;
        match opened {
            Ok(store) => return store,
            Err(StoreError::Object(_) | StoreError::Lock(_)) => {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            Err(error) => panic!("cannot open: {error:?}"),
        }
    }
    panic!("the store never opened");
}

/// Lives through `life` and ends as a killed process does: tasks stop where they are.
pub(crate) fn killed<T>(life: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(life)
}
