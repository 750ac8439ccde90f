//! What waits in the inbox, by recording: where each event of an upload lies, and which uploads are waiting.
//!
//! Memory is some 150 bytes an event of the client protocol; [`PendingIndex::is_full`] bounds it.

use std::collections::{BTreeMap, HashMap, HashSet};

use reelcase_format::id::{ProjectKey, RecordingId, UploadId};

use crate::inbox::Position;
use crate::record::{ItemKind, RecordHead};

/// Most events of the client protocol that may wait. Beyond it uploads are answered 503.
pub(crate) const PENDING_ITEMS_MAX: usize = 1_000_000;

/// Where pending items are filed: a recording, or `None` for what belongs to the project as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct GroupKey {
    pub(crate) project: ProjectKey,
    pub(crate) recording: Option<RecordingId>,
}

/// One event of an upload that waits to be sealed.
#[derive(Debug, Clone)]
pub(crate) struct PendingItem {
    pub(crate) position: Position,
    pub(crate) index: u32,
    pub(crate) kind: ItemKind,
    pub(crate) upload: UploadId,
}

/// The items of one group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) items: Vec<PendingItem>,
    /// When the oldest of them was accepted, server clock.
    pub(crate) since_ms: i64,
    /// Bytes of the records they lie in.
    pub(crate) record_bytes: u64,
}

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct PendingIndex {
    groups: HashMap<GroupKey, Group>,
    /// How many items of a record are not sealed yet.
    open_items: BTreeMap<Position, u32>,
    /// The uploads that are waiting or being sealed.
    uploads: HashSet<(ProjectKey, UploadId)>,
    /// When a group was last sealed, for those that are likely to go on.
    sealed_at_ms: HashMap<GroupKey, i64>,
    item_count: usize,
}

impl PendingIndex {
    /// Whether no more can be taken in.
    pub(crate) fn is_full(&self) -> bool {
        self.item_count >= PENDING_ITEMS_MAX
    }

    /// Whether the upload is durable and waiting.
    pub(crate) fn holds(&self, project: &ProjectKey, upload: &UploadId) -> bool {
        self.uploads.contains(&(project.clone(), *upload))
    }

    /// Files the items of a durable record. Returns false when there is nothing new in it, so it can be released.
    pub(crate) fn insert(&mut self, head: &RecordHead, position: Position, now_ms: i64) -> bool {
        let mut new_items = 0;
        for item in &head.items {
            if !self.uploads.insert((head.project.clone(), item.upload)) {
                continue;
            }
            let key = GroupKey { project: head.project.clone(), recording: item.recording.clone() };
            let group =
                self.groups.entry(key).or_insert(Group { items: Vec::new(), since_ms: now_ms, record_bytes: 0 });
            group.record_bytes += u64::from(position.len);
            let (index, kind, upload) = (item.index, item.kind, item.upload);
            group.items.push(PendingItem { position, index, kind, upload });
            new_items += 1;
        }
        if new_items > 0 {
            *self.open_items.entry(position).or_default() += new_items;
            self.item_count += new_items as usize;
        }
        new_items > 0
    }

    /// Takes out one group.
    pub(crate) fn take(&mut self, key: &GroupKey) -> Option<Group> {
        self.groups.remove(key)
    }

    /// Puts a group back that could not be sealed. What has come meanwhile stays behind it.
    pub(crate) fn put_back(&mut self, key: GroupKey, mut group: Group) {
        if let Some(newer) = self.groups.remove(&key) {
            group.items.extend(newer.items);
            group.record_bytes += newer.record_bytes;
        }
        self.groups.insert(key, group);
    }

    /// Marks items as sealed. Returns the records that nobody waits for any more.
    pub(crate) fn sealed(&mut self, key: &GroupKey, items: &[PendingItem], now_ms: i64) -> Vec<Position> {
        let mut done = Vec::new();
        for item in items {
            self.uploads.remove(&(key.project.clone(), item.upload));
            self.item_count = self.item_count.saturating_sub(1);
            if let Some(open) = self.open_items.get_mut(&item.position) {
                *open -= 1;
                if *open == 0 {
                    self.open_items.remove(&item.position);
                    done.push(item.position);
                }
            }
        }
        self.sealed_at_ms.insert(key.clone(), now_ms);
        done
    }

    /// The groups that are due: new ones after `age_first_ms`, others after `age_ms`, large ones at once. Sorted.
    pub(crate) fn due(&mut self, now_ms: i64, rule: &DueRule) -> Vec<GroupKey> {
        self.sealed_at_ms.retain(|_, sealed_at_ms| now_ms - *sealed_at_ms < rule.remember_ms);
        let is_due = |key: &GroupKey, group: &Group| {
            let age_ms = now_ms - group.since_ms;
            let age_max_ms = if self.sealed_at_ms.contains_key(key) { rule.age_ms } else { rule.age_first_ms };
            age_ms >= age_max_ms || age_ms < 0 || group.record_bytes >= rule.record_bytes_max
        };
        let mut keys: Vec<_> =
            self.groups.iter().filter(|(key, group)| is_due(key, group)).map(|(key, _)| key.clone()).collect();
        keys.sort();
        keys
    }

    /// All groups. Sorted.
    pub(crate) fn keys(&self) -> Vec<GroupKey> {
        let mut keys: Vec<_> = self.groups.keys().cloned().collect();
        keys.sort();
        keys
    }

    /// How many items wait, those being sealed included.
    pub(crate) fn item_count(&self) -> usize {
        self.item_count
    }
}

/// When a group is due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DueRule {
    /// A group that was not sealed of late is due this soon, so that a new recording shows up in lists.
    pub(crate) age_first_ms: i64,
    /// Others may wait longer, because larger blocks compress better.
    pub(crate) age_ms: i64,
    /// Groups whose records take this many bytes are due at once.
    pub(crate) record_bytes_max: u64,
    /// For how long a sealed group counts as going on.
    pub(crate) remember_ms: i64,
}
