//! What is still to be sent on: a second reader of the inbox.
//!
//! An upload that is acknowledged here and belongs to PostHog too is written once, to the inbox. Its record is let go
//! only when it is sealed *and* has been sent on. This module knows which records are still to be sent, in which order,
//! and how often that failed; it holds some 150 bytes for each and no bodies.
//!
//! **Order.** Records of one recording go one after the other, as they came. Others overtake each other freely. There
//! are two lanes, recordings and events, because PostHog limits them apart.
//!
//! **Bounds.** The segments that records lie in may take so many bytes of disk, and records may wait so long. Past
//! either, the oldest are given up for PostHog and counted; what is kept of them here is not affected.
//!
//! **After a crash** every record of the inbox comes back. Which of them have been sent is in `spool.json`, written
//! about once a second: what was sent since is sent again, with the same ids.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::inbox::Position;
use crate::record::RecordHead;

/// The file in the store's directory.
pub(crate) const FILE: &str = "spool.json";

/// Version of that file.
const VERSION: u32 = 1;

/// How far behind the oldest record of a lane is looked for one that can go.
const LOOK_AHEAD_MAX: usize = 1_000;

/// How much may wait to be sent on, and for how long.
#[derive(Debug, Clone)]
pub struct SpoolOptions {
    /// Most bytes of inbox segments that are held for records that are still to be sent.
    pub disk_bytes_max: u64,
    /// Longest that a record waits, ms. It has to be shorter than a sealed upload is remembered.
    pub age_max_ms: i64,
}

impl Default for SpoolOptions {
    fn default() -> Self {
        Self { disk_bytes_max: 4 << 30, age_max_ms: 24 * 3_600 * 1_000 }
    }
}

/// What is to be said to PostHog beside the body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Onward {
    /// The method.
    pub method: String,
    /// Path and query, as the client wrote them.
    pub target: String,
    /// The headers that matter, those that say where it comes from included.
    pub headers: Vec<(String, String)>,
    /// Which lane it goes.
    pub lane: Lane,
}

/// What PostHog limits apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Pieces of recordings.
    Recordings,
    /// Analytics events.
    Events,
}

impl Lane {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Recordings, Self::Events];

    fn index(self) -> usize {
        match self {
            Self::Recordings => 0,
            Self::Events => 1,
        }
    }
}

/// A record that is to be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Where it lies.
    pub position: Position,
    /// Which lane it goes.
    pub lane: Lane,
    /// How often it was tried before.
    pub attempts: u32,
}

/// Figures for metrics and for the state of health.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpoolStats {
    /// Records that are still to be sent, by lane.
    pub records: [u64; 2],
    /// Bytes of these records.
    pub bytes: u64,
    /// Inbox segments that are held for them.
    pub segments: u64,
    /// When the oldest of them arrived, ms; `None` when there is none.
    pub oldest_ms: Option<i64>,
    /// Records given up since the start because they had waited too long.
    pub expired: u64,
    /// Records given up since the start because they took too much disk.
    pub crowded_out: u64,
}

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Spool {
    /// Those that nobody is sending, by lane.
    waiting: [BTreeMap<Position, Waiting>; 2],
    /// Those that somebody is sending.
    under_way: HashMap<Position, Waiting>,
    /// What must not be overtaken by its own: recordings of which a piece is under way.
    busy: HashSet<u64>,
    /// How many records lie in each segment.
    segments: BTreeMap<u64, u32>,
    /// What was sent of segments that may come back.
    sent: BTreeMap<u64, BTreeSet<u64>>,
    is_changed: bool,
    bytes: u64,
    expired: u64,
    crowded_out: u64,
}

#[derive(Debug)]
struct Waiting {
    lane: Lane,
    /// The recordings it is of, hashed; its client where it is of none.
    keys: Box<[u64]>,
    received_at_ms: i64,
    attempts: u32,
    not_before_ms: i64,
    is_sealed: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct File {
    version: u32,
    sent: BTreeMap<u64, BTreeSet<u64>>,
}

impl Spool {
    /// Reads what was sent before. A file that cannot be read means that some of it is sent again.
    pub(crate) fn open(dir: &Path) -> Self {
        let file = std::fs::read(dir.join(FILE)).ok();
        let file = file.and_then(|bytes| serde_json::from_slice::<File>(&bytes).ok());
        let sent = file.filter(|file| file.version == VERSION).map(|file| file.sent).unwrap_or_default();
        Self { sent, ..Self::default() }
    }

    /// Files a record that is durable. Returns false when it is not to be sent, or was before.
    pub(crate) fn insert(&mut self, head: &RecordHead, position: Position) -> bool {
        let Some(onward) = &head.onward else { return false };
        if self.sent.get(&position.segment).is_some_and(|sent| sent.contains(&position.offset)) {
            return false;
        }
        let waiting = Waiting {
            lane: onward.lane,
            keys: keys_of(head, onward),
            received_at_ms: head.received_at_ms,
            attempts: 0,
            not_before_ms: i64::MIN,
            is_sealed: false,
        };
        self.bytes += u64::from(position.len);
        *self.segments.entry(position.segment).or_default() += 1;
        self.waiting[onward.lane.index()].insert(position, waiting);
        true
    }

    /// Forgets what was sent of segments that are not there any more: their numbers never come back, unless somebody
    /// deleted the inbox, and then they mean something else.
    pub(crate) fn keep_segments(&mut self, is_there: impl Fn(u64) -> bool) {
        self.sent.retain(|segment, _| is_there(*segment));
    }

    /// Takes the oldest record of a lane that may go now, and none of which an older piece is still to go.
    pub(crate) fn take(&mut self, lane: Lane, now_ms: i64) -> Option<Due> {
        let mut blocked = HashSet::new();
        let mut found = None;
        for (position, waiting) in self.waiting[lane.index()].iter().take(LOOK_AHEAD_MAX) {
            let is_held_up = |key: &u64| self.busy.contains(key) || blocked.contains(key);
            if waiting.not_before_ms <= now_ms && !waiting.keys.iter().any(is_held_up) {
                found = Some(*position);
                break;
            }
            blocked.extend(waiting.keys.iter().copied());
        }
        let position = found?;
        let waiting = self.waiting[lane.index()].remove(&position)?;
        self.busy.extend(waiting.keys.iter().copied());
        let due = Due { position, lane, attempts: waiting.attempts };
        self.under_way.insert(position, waiting);
        Some(due)
    }

    /// Notes that a record needs not be sent any more. Returns whether nobody else waits for it either.
    pub(crate) fn done(&mut self, position: Position) -> bool {
        let Some(waiting) = self.under_way.remove(&position) else { return false };
        for key in &waiting.keys {
            self.busy.remove(key);
        }
        self.forget(position);
        waiting.is_sealed
    }

    /// Puts a record back that could not be sent.
    pub(crate) fn retry(&mut self, position: Position, not_before_ms: i64) {
        let Some(mut waiting) = self.under_way.remove(&position) else { return };
        for key in &waiting.keys {
            self.busy.remove(key);
        }
        waiting.attempts += 1;
        waiting.not_before_ms = not_before_ms;
        self.waiting[waiting.lane.index()].insert(position, waiting);
    }

    /// Notes that a record is sealed. Returns whether nobody else waits for it either.
    pub(crate) fn sealed(&mut self, position: Position) -> bool {
        let of_lanes = self.waiting.iter_mut().find_map(|lane| lane.get_mut(&position));
        match of_lanes.or_else(|| self.under_way.get_mut(&position)) {
            Some(waiting) => {
                waiting.is_sealed = true;
                false
            }
            None => true,
        }
    }

    /// Gives up what has waited too long or takes too much. Returns the records that nobody else waits for.
    pub(crate) fn give_up(&mut self, options: &SpoolOptions, segment_bytes: u64, now_ms: i64) -> Vec<Position> {
        let mut over = Vec::new();
        for lane in Lane::ALL {
            let old = self.waiting[lane.index()]
                .iter()
                .take_while(|(_, waiting)| now_ms.saturating_sub(waiting.received_at_ms) > options.age_max_ms);
            over.extend(old.map(|(position, _)| *position));
        }
        self.expired += over.len() as u64;
        let mut released = self.drop_all(over);
        let segments_max = (options.disk_bytes_max / segment_bytes).max(1) as usize;
        while self.segments.len() > segments_max {
            let Some(oldest) = self.segments.keys().next().copied() else { break };
            let of_oldest = self.waiting.iter().flat_map(BTreeMap::keys).filter(|position| position.segment == oldest);
            let over: Vec<_> = of_oldest.copied().collect();
            if over.is_empty() {
                // What is left of it is under way.
                break;
            }
            self.crowded_out += over.len() as u64;
            released.extend(self.drop_all(over));
        }
        released
    }

    fn drop_all(&mut self, positions: Vec<Position>) -> Vec<Position> {
        let mut released = Vec::new();
        for position in positions {
            let Some(waiting) = self.waiting.iter_mut().find_map(|lane| lane.remove(&position)) else { continue };
            self.forget(position);
            if waiting.is_sealed {
                released.push(position);
            }
        }
        released
    }

    /// Marks a record as not to be sent again, after a crash either.
    fn forget(&mut self, position: Position) {
        self.bytes = self.bytes.saturating_sub(u64::from(position.len));
        if let Some(count) = self.segments.get_mut(&position.segment) {
            *count -= 1;
            if *count == 0 {
                self.segments.remove(&position.segment);
            }
        }
        self.sent.entry(position.segment).or_default().insert(position.offset);
        self.is_changed = true;
    }

    /// What is to be written down, if anything has changed since the last time.
    pub(crate) fn changed_file(&mut self) -> Option<Vec<u8>> {
        if !std::mem::take(&mut self.is_changed) {
            return None;
        }
        serde_json::to_vec(&File { version: VERSION, sent: self.sent.clone() }).ok()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    pub(crate) fn stats(&self) -> SpoolStats {
        let first = |lane: &BTreeMap<Position, Waiting>| lane.values().next().map(|waiting| waiting.received_at_ms);
        let under_way = self.under_way.values().map(|waiting| waiting.received_at_ms).min();
        let mut records = self.waiting.each_ref().map(|lane| lane.len() as u64);
        self.under_way.values().for_each(|waiting| records[waiting.lane.index()] += 1);
        SpoolStats {
            records,
            bytes: self.bytes,
            segments: self.segments.len() as u64,
            oldest_ms: self.waiting.iter().filter_map(first).chain(under_way).min(),
            expired: self.expired,
            crowded_out: self.crowded_out,
        }
    }
}

/// Writes the file whole or not at all. Blocks on the disk.
pub(crate) fn write(dir: &Path, file: &[u8]) -> std::io::Result<()> {
    use std::io::Write;

    let (path, unfinished) = (dir.join(FILE), dir.join("spool.json.new"));
    let mut new = std::fs::File::create(&unfinished)?;
    new.write_all(file)?;
    new.sync_data()?;
    std::fs::rename(unfinished, path)
}

fn keys_of(head: &RecordHead, onward: &Onward) -> Box<[u64]> {
    let hash = |value: &dyn Fn(&mut DefaultHasher)| {
        let mut hasher = DefaultHasher::new();
        value(&mut hasher);
        hasher.finish()
    };
    let recordings = head.items().iter().filter_map(|item| item.recording.as_ref());
    let keys: BTreeSet<u64> =
        recordings.map(|recording| hash(&|hasher| (&head.project, recording).hash(hasher))).collect();
    if !keys.is_empty() {
        return keys.into_iter().collect();
    }
    let from = onward.headers.iter().find(|(name, _)| name == "x-forwarded-for").map(|(_, from)| from);
    Box::new([hash(&|hasher| from.hash(hasher))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{ItemKind, ItemRef};

    fn head(recording: &str, lane: Lane, received_at_ms: i64) -> RecordHead {
        let item = ItemRef { index: 0, kind: ItemKind::Snapshot, upload: [0; 16], recording: recording.parse().ok() };
        let onward = Onward { method: "POST".into(), target: "/s/".into(), headers: Vec::new(), lane };
        RecordHead {
            project: "phc_test".parse().unwrap(),
            received_at_ms,
            content_type: None,
            compression: None,
            user_agent: None,
            inflated_bytes: 1,
            items: Some(vec![item]),
            onward: Some(onward),
        }
    }

    fn at(segment: u64, offset: u64) -> Position {
        Position { segment, offset, len: 10 }
    }

    fn spool(recordings: &[&str]) -> Spool {
        let mut spool = Spool::default();
        for (offset, recording) in (0..).zip(recordings) {
            assert!(spool.insert(&head(recording, Lane::Recordings, offset), at(1, offset as u64)));
        }
        spool
    }

    fn take(spool: &mut Spool) -> Option<u64> {
        spool.take(Lane::Recordings, 0).map(|due| due.position.offset)
    }

    #[test]
    fn pieces_of_one_recording_go_one_after_the_other_and_others_beside_them() {
        let mut spool = spool(&["a", "a", "b"]);
        assert_eq!([take(&mut spool), take(&mut spool), take(&mut spool)], [Some(0), Some(2), None]);
        spool.done(at(1, 0));
        assert_eq!(take(&mut spool), Some(1));
    }

    #[test]
    fn one_that_failed_holds_up_its_own_recording_only() {
        let mut spool = spool(&["a", "a", "b"]);
        take(&mut spool);
        spool.retry(at(1, 0), 100);
        assert_eq!([take(&mut spool), take(&mut spool)], [Some(2), None]);
        let due = spool.take(Lane::Recordings, 100).unwrap();
        assert_eq!((due.position, due.attempts), (at(1, 0), 1));
    }

    #[test]
    fn lanes_do_not_wait_for_each_other() {
        let mut spool = spool(&["a"]);
        spool.insert(&head("a", Lane::Events, 0), at(1, 50));
        assert_eq!(spool.take(Lane::Events, 0).unwrap().position, at(1, 50));
        assert_eq!(spool.stats().records, [1, 1]);
    }

    #[test]
    fn a_record_is_let_go_when_it_is_sealed_and_sent_whichever_comes_first() {
        let mut spool = spool(&["a", "b"]);
        take(&mut spool);
        assert!(!spool.sealed(at(1, 0)));
        assert!(spool.done(at(1, 0)));
        take(&mut spool);
        assert!(!spool.done(at(1, 1)));
        assert!(spool.sealed(at(1, 1)));
        assert_eq!((spool.stats().bytes, spool.stats().segments), (0, 0));
    }

    #[test]
    fn what_was_sent_is_not_sent_again_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut before = spool(&["a", "b"]);
        take(&mut before);
        before.done(at(1, 0));
        write(dir.path(), &before.changed_file().unwrap()).unwrap();
        assert!(before.changed_file().is_none());
        let mut after = Spool::open(dir.path());
        assert!(!after.insert(&head("a", Lane::Recordings, 0), at(1, 0)));
        assert!(after.insert(&head("b", Lane::Recordings, 0), at(1, 1)));
        std::fs::write(dir.path().join(FILE), b"{").unwrap();
        assert!(Spool::open(dir.path()).insert(&head("a", Lane::Recordings, 0), at(1, 0)));
    }

    #[test]
    fn the_oldest_are_given_up_when_they_are_too_old_or_too_many() {
        let options = SpoolOptions { disk_bytes_max: 200, age_max_ms: 50 };
        let mut spool = Spool::default();
        for segment in 1..=4 {
            spool.insert(&head("a", Lane::Recordings, segment * 10), at(segment as u64, 0));
        }
        spool.sealed(at(1, 0));
        spool.sealed(at(2, 0));
        assert_eq!(spool.give_up(&options, 100, 60), [at(1, 0), at(2, 0)], "those that are sealed can go");
        assert_eq!(spool.stats().records, [2, 0]);
        assert!(spool.give_up(&options, 100, 81).is_empty());
        let stats = spool.stats();
        assert_eq!((stats.records, stats.expired, stats.crowded_out, stats.oldest_ms), ([1, 0], 1, 2, Some(40)));
    }
}
