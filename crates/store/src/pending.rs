//! What waits in the inbox, by recording: where each event of an upload lies, and which uploads are waiting.
//!
//! Memory is some 150 bytes an event of the client protocol; `StoreOptions::pending_items_max` bounds it.

use std::collections::{BTreeMap, HashMap, HashSet};

use reelcase_format::id::{ProjectKey, RecordingId, UploadId};

use crate::inbox::Position;
use crate::record::{ItemKind, RecordHead};

/// How much an upload inflates, where nobody counted.
const GUESSED_RATIO: u64 = 8;

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
    /// Bytes of its whole upload once the coding is undone.
    pub(crate) inflated_bytes: u64,
}

/// What one object may still take in. Each record counts once, however many items of it are taken.
#[derive(Debug)]
pub(crate) struct Room {
    inflated_bytes_left: u64,
    records: HashSet<Position>,
}

impl Room {
    pub(crate) fn new(inflated_bytes_max: u64) -> Self {
        Self { inflated_bytes_left: inflated_bytes_max, records: HashSet::new() }
    }

    /// Takes an item in, if there is any room left: the last one may take more than that.
    fn admits(&mut self, item: &PendingItem) -> bool {
        if self.records.contains(&item.position) {
            return true;
        }
        if self.inflated_bytes_left == 0 {
            return false;
        }
        self.inflated_bytes_left = self.inflated_bytes_left.saturating_sub(item.inflated_bytes);
        self.records.insert(item.position)
    }
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
    /// Whether the upload is durable and waiting.
    pub(crate) fn holds(&self, project: &ProjectKey, upload: &UploadId) -> bool {
        self.uploads.contains(&(project.clone(), *upload))
    }

    /// Files the items of a durable record. Returns false when there is nothing new in it, so it can be released.
    pub(crate) fn insert(&mut self, head: &RecordHead, position: Position, now_ms: i64) -> bool {
        let mut new_items = 0;
        let inflated_bytes = match head.inflated_bytes {
            0 => u64::from(position.len) * GUESSED_RATIO,
            counted => counted,
        };
        for item in head.items() {
            if !self.uploads.insert((head.project.clone(), item.upload)) {
                continue;
            }
            let key = GroupKey { project: head.project.clone(), recording: item.recording.clone() };
            let group =
                self.groups.entry(key).or_insert(Group { items: Vec::new(), since_ms: now_ms, record_bytes: 0 });
            group.record_bytes += u64::from(position.len);
            let (index, kind, upload) = (item.index, item.kind, item.upload);
            group.items.push(PendingItem { position, index, kind, upload, inflated_bytes });
            new_items += 1;
        }
        if new_items > 0 {
            *self.open_items.entry(position).or_default() += new_items;
            self.item_count += new_items as usize;
        }
        new_items > 0
    }

    /// Takes out one group, or as many of its first items as there is room for. Says whether that was all of it.
    pub(crate) fn take(&mut self, key: &GroupKey, room: &mut Room) -> Option<(Group, bool)> {
        let group = self.groups.get_mut(key)?;
        let fitting = group.items.iter().take_while(|item| room.admits(item)).count();
        if fitting == 0 {
            return None;
        }
        let mut group = self.groups.remove(key)?;
        if fitting >= group.items.len() {
            return Some((group, true));
        }
        let rest = group.items.split_off(fitting);
        let taken_bytes = group.items.iter().map(|item| u64::from(item.position.len)).sum();
        let rest_bytes = group.record_bytes.saturating_sub(taken_bytes);
        let rest = Group { items: rest, since_ms: group.since_ms, record_bytes: rest_bytes };
        group.record_bytes = taken_bytes;
        self.groups.insert(key.clone(), rest);
        Some((group, false))
    }

    /// Whether anything of a group waits.
    pub(crate) fn has(&self, key: &GroupKey) -> bool {
        self.groups.contains_key(key)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ItemRef;

    fn head(uploads: std::ops::Range<u8>) -> RecordHead {
        RecordHead {
            project: "phc_test".parse().unwrap(),
            received_at_ms: 0,
            content_type: None,
            compression: None,
            user_agent: None,
            inflated_bytes: 100,
            items: Some(
                uploads
                    .map(|upload| ItemRef {
                        index: u32::from(upload),
                        kind: ItemKind::Snapshot,
                        upload: [upload; 16],
                        recording: Some("one".parse().unwrap()),
                    })
                    .collect(),
            ),
            onward: None,
        }
    }

    fn at(offset: u64) -> Position {
        Position { segment: 1, offset, len: 100 }
    }

    fn key() -> GroupKey {
        GroupKey { project: "phc_test".parse().unwrap(), recording: Some("one".parse().unwrap()) }
    }

    #[test]
    fn an_upload_that_waits_already_is_not_filed_again() {
        let mut pending = PendingIndex::default();
        assert!(pending.insert(&head(0..2), at(0), 5));
        assert!(!pending.insert(&head(0..2), at(100), 6));
        assert_eq!(pending.take(&key(), &mut Room::new(u64::MAX)).unwrap().0.items.len(), 2);
    }

    #[test]
    fn a_record_is_done_when_its_last_item_is_sealed() {
        let mut pending = PendingIndex::default();
        pending.insert(&head(0..2), at(0), 5);
        let (group, _) = pending.take(&key(), &mut Room::new(u64::MAX)).unwrap();
        assert!(pending.sealed(&key(), &group.items[..1], 9).is_empty());
        assert!(pending.holds(&key().project, &[1; 16]));
        assert_eq!(pending.sealed(&key(), &group.items[1..], 9), [at(0)]);
        assert!(!pending.holds(&key().project, &[1; 16]));
    }

    #[test]
    fn a_large_group_is_taken_in_parts_and_in_order() {
        let mut pending = PendingIndex::default();
        for upload in 0..5 {
            pending.insert(&head(upload..upload + 1), at(u64::from(upload) * 100), 5);
        }
        let (first, is_whole) = pending.take(&key(), &mut Room::new(200)).unwrap();
        assert_eq!((first.items.len(), first.record_bytes, is_whole), (2, 200, false));
        let (second, _) = pending.take(&key(), &mut Room::new(200)).unwrap();
        assert_eq!(second.items[0].upload, [2; 16]);
        let (last, is_whole) = pending.take(&key(), &mut Room::new(1)).unwrap();
        assert_eq!((last.items.len(), is_whole), (1, true));
    }

    #[test]
    fn a_record_takes_room_once_however_many_of_its_items_are_taken() {
        let mut pending = PendingIndex::default();
        pending.insert(&head(0..3), at(0), 5);
        pending.insert(&head(3..4), at(100), 5);
        let mut room = Room::new(100);
        let (first, is_whole) = pending.take(&key(), &mut room).unwrap();
        assert_eq!((first.items.len(), is_whole), (3, false));
        assert!(pending.take(&key(), &mut room).is_none(), "there is no room left");
    }

    #[test]
    fn what_could_not_be_sealed_stays_before_what_came_later() {
        let mut pending = PendingIndex::default();
        pending.insert(&head(0..1), at(0), 5);
        let (group, _) = pending.take(&key(), &mut Room::new(u64::MAX)).unwrap();
        pending.insert(&head(1..2), at(100), 6);
        pending.put_back(key(), group);
        let (group, _) = pending.take(&key(), &mut Room::new(u64::MAX)).unwrap();
        assert_eq!(group.items.iter().map(|item| item.upload[0]).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(group.since_ms, 5);
    }

    #[test]
    fn new_recordings_are_due_sooner_than_those_that_go_on() {
        let rule = DueRule { age_first_ms: 10, age_ms: 100, record_bytes_max: 1_000, remember_ms: 1_000 };
        let mut pending = PendingIndex::default();
        pending.insert(&head(0..1), at(0), 0);
        assert!(pending.due(9, &rule).is_empty());
        assert_eq!(pending.due(10, &rule), [key()]);
        let (group, _) = pending.take(&key(), &mut Room::new(u64::MAX)).unwrap();
        pending.sealed(&key(), &group.items, 10);
        pending.insert(&head(1..2), at(100), 20);
        assert!(pending.due(119, &rule).is_empty());
        assert_eq!(pending.due(120, &rule), [key()]);
    }
}
