//! Compacting and sweeping change how recordings are stored, and nothing else: whatever happens in between, every event
//! is there once, and every figure is what it was.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says no more clearly that it failed")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use reelcase_format::block::BlockKind;
use reelcase_format::id::{ProjectKey, RecordingId};
use reelcase_format::line::lines;
use reelcase_store::catalog::{BlockRow, ListQuery, ObjectKind, Project};
use reelcase_store::inbox::sim::Chance;
use reelcase_store::merge::LineMerge;
use reelcase_store::step::{Step, StepHook};
use reelcase_store::sweep::UPLOADS_REMEMBERED_MS;
use reelcase_store::{Accepted, Clock, ItemKind, ItemRef, Store, StoreOptions};
use serde_json::{Value, json};

const PROJECT: &str = "phc_one";
const START_MS: i64 = 1_700_000_000_000;
const HOUR_MS: i64 = 60 * 60 * 1_000;

/// A clock that tests move by hand.
#[derive(Clone)]
struct HandClock(Arc<AtomicI64>);

impl HandClock {
    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(START_MS)))
    }

    fn pass(&self, ms: i64) {
        self.0.fetch_add(ms, Relaxed);
    }
}

impl Clock for HandClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// A store that seals, compacts and sweeps only when it is told to.
async fn open(dir: &Path, clock: &HandClock) -> Arc<Store> {
    open_with(dir, clock, |_| {}).await
}

async fn open_with(dir: &Path, clock: &HandClock, change: impl FnOnce(&mut StoreOptions)) -> Arc<Store> {
    let never = 1_000 * 365 * 24 * HOUR_MS;
    let mut options = StoreOptions::new(dir);
    (options.seal_age_first_ms, options.seal_age_ms, options.seal_bytes) = (never, never / 8, u64::MAX);
    change(&mut options);
    Store::open(options, Arc::new(clock.clone())).await.unwrap()
}

fn project() -> ProjectKey {
    PROJECT.parse().unwrap()
}

fn id(recording: &str) -> RecordingId {
    recording.parse().unwrap()
}

/// One upload of a recording: a page at its start, then moves and clicks, each event with a number of its own.
struct Upload {
    recording: String,
    number: u32,
    at_ms: i64,
    event_count: u32,
    page_bytes: usize,
}

impl Upload {
    fn new(recording: &str, number: u32) -> Self {
        let at_ms = START_MS + i64::from(number) * 3_000;
        Self { recording: recording.to_owned(), number, at_ms, event_count: 8, page_bytes: 200 }
    }

    fn uuid(&self) -> [u8; 16] {
        let mut uuid = [0; 16];
        let name = format!("{:>10}:{:05}", self.recording, self.number);
        uuid.copy_from_slice(&name.as_bytes()[..16]);
        uuid
    }

    fn events(&self) -> Vec<Value> {
        let page = "p".repeat(self.page_bytes);
        let number = |event: u32| format!("{}/{}/{event}", self.recording, self.number);
        let mut events = vec![
            json!({"type": 4, "timestamp": self.at_ms, "data": {"href": "https://a.test/", "n": number(0)}}),
            json!({"type": 2, "timestamp": self.at_ms, "data": {"n": number(1), "page": page}}),
        ];
        events.extend((2..self.event_count).map(|event| {
            let data = json!({"source": 2, "type": 2, "id": event, "n": number(event)});
            json!({"type": 3, "timestamp": self.at_ms + i64::from(event) * 100, "data": data})
        }));
        events
    }

    async fn send(&self, store: &Arc<Store>) -> usize {
        let uuid: String = self.uuid().iter().map(|byte| format!("{byte:02x}")).collect();
        let mut identify_id = self.uuid();
        identify_id[0] ^= 0xff;
        let identify: String = identify_id.iter().map(|byte| format!("{byte:02x}")).collect();
        let body = json!([
            {"event": "$snapshot", "uuid": uuid, "properties": {"$session_id": self.recording, "$window_id": "w",
             "distinct_id": "ada", "$lib": "web", "$snapshot_data": self.events()}},
            {"event": "$identify", "uuid": identify, "timestamp": "2023-11-14T22:13:20Z", "distinct_id": "ada",
             "$set": {"visits": self.number}, "properties": {"$session_id": self.recording}},
        ]);
        let recording = Some(id(&self.recording));
        let items = vec![
            ItemRef { index: 0, kind: ItemKind::Snapshot, upload: self.uuid(), recording: recording.clone() },
            ItemRef { index: 1, kind: ItemKind::Event, upload: identify_id, recording },
        ];
        accept(store, body, items).await
    }
}

async fn accept(store: &Arc<Store>, body: Value, items: Vec<ItemRef>) -> usize {
    let body = serde_json::to_vec(&body).unwrap();
    let upload = Accepted {
        project: project(),
        received_at_ms: store.now_ms(),
        content_type: Some("application/json".to_owned()),
        compression: None,
        user_agent: None,
        inflated_bytes: body.len() as u64,
        body: body.into(),
        items,
        onward: None,
    };
    store.accept(upload).await.unwrap().new_items
}

/// Says who somebody is, in no recording.
async fn identify(store: &Arc<Store>, number: u8) {
    let (upload, distinct_id) = ([number; 16], format!("person-{number}"));
    let uuid: String = upload.iter().map(|byte| format!("{byte:02x}")).collect();
    let body = json!([{"event": "$identify", "uuid": uuid, "timestamp": "2023-11-14T22:13:20Z",
        "distinct_id": distinct_id, "$set": {"n": number}, "properties": {}}]);
    accept(store, body, vec![ItemRef { index: 0, kind: ItemKind::Person, upload, recording: None }]).await;
}

async fn seal_each(store: &Arc<Store>, recording: &str, numbers: std::ops::Range<u32>) {
    for number in numbers {
        Upload::new(recording, number).send(store).await;
        store.seal_all().await.unwrap();
    }
}

/// All there is to see of a store, apart from how it is stored: lines and figures of each recording, and the persons.
async fn seen(store: &Arc<Store>) -> Value {
    let mut all = BTreeMap::new();
    let page = store.catalog().list(ListQuery::default()).await.unwrap();
    for row in page.recordings {
        let blocks = store.blocks(&row.project, &row.id).await.unwrap();
        let mut merge = LineMerge::new(store, blocks.clone());
        let mut text = Vec::new();
        while let Some(chunk) = merge.next_chunk().await.unwrap() {
            text.extend(lines(&chunk).map(|line| String::from_utf8(line.to_vec()).unwrap()).collect::<Vec<_>>());
        }
        let mut analytics = Vec::new();
        for block in blocks.iter().filter(|block| block.kind == BlockKind::Events) {
            let plain = store.read_lines(block).await.unwrap();
            analytics.extend(lines(&plain).map(|line| String::from_utf8(line.to_vec()).unwrap()).collect::<Vec<_>>());
        }
        analytics.sort();
        let figures = json!({"summary": row.summary, "updated_at_ms": row.updated_at_ms, "person": row.person});
        all.insert(row.id.to_string(), json!({"lines": text, "analytics": analytics, "figures": figures}));
    }
    let dump = store.catalog().dump().await.unwrap();
    json!({"recordings": all, "persons": dump["persons"], "uploads": dump["uploads"]})
}

/// That a catalog made anew from the objects alone says the same as the one there is.
async fn assert_rebuilds(dir: &Path, clock: &HandClock, expected_seen: &Value) {
    let store = open(dir, clock).await;
    let expected = store.catalog().dump().await.unwrap();
    let projects = store.catalog().projects().await.unwrap();
    store.close().await.unwrap();
    drop(store);
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(dir.join(format!("catalog.sqlite{suffix}")));
    }
    Store::rebuild(dir, "test").await.unwrap();
    let store = open(dir, clock).await;
    assert_eq!(store.catalog().dump().await.unwrap(), expected);
    assert_eq!(store.catalog().projects().await.unwrap(), projects);
    assert_eq!(&seen(&store).await, expected_seen);
    store.close().await.unwrap();
}

async fn kinds(store: &Store) -> Vec<ObjectKind> {
    store.catalog().objects().await.unwrap().iter().map(|object| object.kind).collect()
}

async fn blocks(store: &Store, recording: &str) -> Vec<BlockRow> {
    store.catalog().blocks(&project(), &id(recording)).await.unwrap()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            match std::fs::copy(entry.path(), target) {
                // The inbox tidies up by itself; what it renames or removes holds nothing that waits.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                copied => drop(copied.unwrap()),
            }
        }
    }
}

#[tokio::test]
async fn finished_recordings_become_one_object_and_stay_what_they_were() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = open(dir.path(), &clock).await;
    for recording in ["a", "b", "c"] {
        seal_each(&store, recording, 0..5).await;
    }
    let before = seen(&store).await;
    store.compact_due().await.unwrap();
    assert_eq!(store.catalog().objects().await.unwrap().len(), 15, "they may still go on");
    clock.pass(36 * 60 * 1_000);
    store.compact_due().await.unwrap();
    store.sweep().await.unwrap();
    assert_eq!(store.catalog().objects().await.unwrap().len(), 16, "readers have time to ask for the list again");
    clock.pass(11 * 60 * 1_000);
    store.sweep().await.unwrap();
    assert_eq!(kinds(&store).await, [ObjectKind::Compacted]);
    assert_eq!(blocks(&store, "a").await.len(), 2, "one block of lines, one of analytics events");
    assert_eq!(seen(&store).await, before);
    assert_eq!(
        std::fs::read_dir(dir.path().join("objects")).unwrap().flatten().filter(|entry| entry.path().is_dir()).count(),
        1
    );
    store.close().await.unwrap();
    drop(store);
    assert_rebuilds(dir.path(), &clock, &before).await;
}

#[tokio::test]
async fn a_retry_adds_nothing_after_compaction_sweep_and_rebuild() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = open(dir.path(), &clock).await;
    seal_each(&store, "a", 0..4).await;
    clock.pass(HOUR_MS);
    store.compact_due().await.unwrap();
    clock.pass(HOUR_MS);
    store.sweep().await.unwrap();
    let before = seen(&store).await;
    store.close().await.unwrap();
    drop(store);
    Store::rebuild(dir.path(), "test").await.unwrap();
    clock.pass(22 * HOUR_MS);
    let store = open(dir.path(), &clock).await;
    store.sweep().await.unwrap();
    seal_each(&store, "a", 0..4).await;
    assert_eq!(seen(&store).await, before);
    clock.pass(UPLOADS_REMEMBERED_MS);
    store.sweep().await.unwrap();
    let dump = store.catalog().dump().await.unwrap();
    assert_eq!(dump["uploads"], json!([]), "no client sends again after so long");
}

#[tokio::test]
async fn a_late_upload_is_taken_in_by_a_later_compaction() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = open(dir.path(), &clock).await;
    seal_each(&store, "a", 2..5).await;
    clock.pass(HOUR_MS);
    store.compact_due().await.unwrap();
    // Back-dated: it happened before everything else.
    seal_each(&store, "a", 0..2).await;
    let before = seen(&store).await;
    assert_eq!(before["recordings"]["a"]["lines"].as_array().unwrap().len(), 5 * 8);
    // What the first compaction replaced is still there when the second one's predecessor is swept.
    clock.pass(HOUR_MS);
    store.compact_due().await.unwrap();
    assert_eq!(seen(&store).await, before);
    assert_eq!(blocks(&store, "a").await.len(), 2);
    store.close().await.unwrap();
    drop(store);
    assert_rebuilds(dir.path(), &clock, &before).await;
}

#[tokio::test]
async fn sweeping_one_generation_does_not_bring_back_the_one_before() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = open(dir.path(), &clock).await;
    // One batch object that a live recording keeps, with a block of `a` in it.
    Upload::new("a", 0).send(&store).await;
    Upload::new("live", 0).send(&store).await;
    store.seal_all().await.unwrap();
    store.compact_recording(&project(), &id("a")).await.unwrap();
    seal_each(&store, "a", 1..2).await;
    store.compact_recording(&project(), &id("a")).await.unwrap();
    let before = seen(&store).await;
    clock.pass(HOUR_MS);
    store.sweep().await.unwrap();
    assert_eq!(kinds(&store).await, [ObjectKind::Batch, ObjectKind::Compacted], "the first compaction is swept");
    store.close().await.unwrap();
    drop(store);
    assert_rebuilds(dir.path(), &clock, &before).await;
}

#[tokio::test]
async fn who_holds_an_old_list_can_read_its_blocks_until_the_sweep() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = open(dir.path(), &clock).await;
    seal_each(&store, "a", 0..3).await;
    let old = blocks(&store, "a").await;
    let expected = store.read_lines(&old[0]).await.unwrap();
    let find = async |row: &BlockRow| store.block(&project(), &id("a"), &row.object, row.block).await.unwrap();
    assert!(find(&old[1]).await.is_some(), "from here on it is known without the catalog");
    clock.pass(HOUR_MS);
    store.compact_due().await.unwrap();
    store.sweep().await.unwrap();
    let found = find(&old[0]).await.unwrap();
    assert_eq!(store.read_lines(&found).await.unwrap(), expected);
    assert_eq!(store.block(&project(), &id("b"), &old[0].object, old[0].block).await.unwrap(), None);
    clock.pass(HOUR_MS);
    store.sweep().await.unwrap();
    assert_eq!(find(&old[0]).await, None);
    assert_eq!(store.known_block(&old[1].object, old[1].block), None);
}

#[tokio::test]
async fn what_objects_say_of_persons_outlives_them() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = open(dir.path(), &clock).await;
    for number in 0..5 {
        identify(&store, number).await;
        seal_each(&store, "a", u32::from(number)..u32::from(number) + 1).await;
    }
    identify(&store, 9).await;
    store.seal_all().await.unwrap();
    let before = seen(&store).await;
    assert_eq!(before["persons"].as_array().unwrap().len(), 7);
    for _ in 0..3 {
        clock.pass(HOUR_MS);
        store.compact_due().await.unwrap();
        store.sweep().await.unwrap();
    }
    // The first object held recordings, and dies with them only after its persons are carried.
    clock.pass(HOUR_MS);
    seal_each(&store, "b", 0..1).await;
    clock.pass(HOUR_MS);
    store.compact_due().await.unwrap();
    clock.pass(HOUR_MS);
    store.sweep().await.unwrap();
    assert!(kinds(&store).await.iter().all(|kind| *kind == ObjectKind::Compacted));
    let after = seen(&store).await;
    assert_eq!(after["recordings"]["a"], before["recordings"]["a"]);
    for number in 0..10 {
        let name = format!("person-{number}");
        let person = store.catalog().person(&project(), &name).await.unwrap();
        assert_eq!(person.is_some(), number < 5 || number == 9);
    }
    store.close().await.unwrap();
    drop(store);
    assert_rebuilds(dir.path(), &clock, &after).await;
}

#[tokio::test]
async fn a_damaged_block_stays_where_it_is_and_the_rest_is_compacted() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = open(dir.path(), &clock).await;
    seal_each(&store, "a", 0..4).await;
    seal_each(&store, "b", 0..4).await;
    let before = seen(&store).await;
    let victim = blocks(&store, "a").await.into_iter().find(|block| block.kind == BlockKind::Lines).unwrap();
    let (store_id, seq) = victim.object.split_once('/').unwrap();
    let file = dir.path().join(format!("objects/{store_id}/{:013x}/{seq}.reel", 0));
    let mut bytes = std::fs::read(&file).unwrap();
    let at = usize::try_from(victim.offset + victim.stored_bytes / 2).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    for _ in 0..2 {
        clock.pass(HOUR_MS);
        store.compact_due().await.unwrap();
        store.sweep().await.unwrap();
    }
    assert_eq!(std::fs::read(&file).unwrap(), bytes, "damage stays where it is");
    assert_eq!(kinds(&store).await, [ObjectKind::Batch, ObjectKind::Compacted]);
    assert_eq!(store.compaction().recordings_damaged, 1, "it is not tried over and over");
    let row = store.catalog().get(&project(), &id("a")).await.unwrap().unwrap();
    assert_eq!(json!(row.summary), before["recordings"]["a"]["figures"]["summary"]);
    let lines: u64 = blocks(&store, "a").await.iter().map(|block| block.event_count).sum();
    assert_eq!(lines, 4 * (8 + 1));
    // Somebody restores the file: the next look, hours later, takes it in.
    bytes[at] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    clock.pass(7 * HOUR_MS);
    store.compact_due().await.unwrap();
    clock.pass(HOUR_MS);
    store.sweep().await.unwrap();
    assert_eq!(kinds(&store).await, [ObjectKind::Compacted, ObjectKind::Compacted]);
    assert_eq!(seen(&store).await["recordings"], before["recordings"]);
}

#[tokio::test]
async fn a_long_recording_becomes_large_blocks_that_begin_with_a_page() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = open(dir.path(), &clock).await;
    for number in 0..60 {
        Upload { page_bytes: 700_000, ..Upload::new("a", number) }.send(&store).await;
        if number % 4 == 3 {
            store.seal_all().await.unwrap();
        }
    }
    clock.pass(HOUR_MS);
    store.compact_due().await.unwrap();
    let blocks: Vec<_> = blocks(&store, "a").await.into_iter().filter(|block| block.kind == BlockKind::Lines).collect();
    assert!((3..=10).contains(&blocks.len()), "{} blocks", blocks.len());
    for block in &blocks {
        assert_eq!(block.keyframes[0].plain_offset, 0, "a block begins where playback can");
        assert!(block.plain_bytes <= 17 << 20);
    }
    assert!(blocks.is_sorted_by(|one, next| one.end_ms <= next.start_ms));
}

#[tokio::test]
async fn ten_thousand_recordings_do_not_become_ten_thousand_objects() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = open(dir.path(), &clock).await;
    for batch in 0..5 {
        let recordings: Vec<_> = (0..500).map(|number| format!("r{batch}-{number}")).collect();
        let (mut body, mut items) = (Vec::new(), Vec::new());
        for (index, recording) in (0..).zip(&recordings) {
            let upload = Upload { event_count: 2, ..Upload::new(recording, 0) };
            body.push(json!({"event": "$snapshot", "properties": {"$session_id": recording, "$window_id": "w",
                "$snapshot_data": upload.events()}}));
            let (upload, recording) = (upload.uuid(), Some(id(recording)));
            items.push(ItemRef { index, kind: ItemKind::Snapshot, upload, recording });
        }
        accept(&store, json!(body), items).await;
        store.seal_all().await.unwrap();
    }
    clock.pass(HOUR_MS);
    store.compact_due().await.unwrap();
    clock.pass(HOUR_MS);
    store.sweep().await.unwrap();
    assert_eq!(kinds(&store).await, [ObjectKind::Compacted; 3]);
    assert_eq!(store.compaction().recordings, 2_500);
}

#[tokio::test]
async fn names_and_settings_come_back_from_the_objects_directory_alone() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = open(dir.path(), &clock).await;
    let shop = Project { key: project(), name: "The shop".to_owned(), created_at_ms: 7 };
    assert_eq!(store.create_project(shop.clone()).await.unwrap(), shop);
    store.set_setting("retention_days", "30").await.unwrap();
    seal_each(&store, "a", 0..2).await;
    store.close().await.unwrap();
    drop(store);

    let other = tempfile::tempdir().unwrap();
    copy(&dir.path().join("objects"), &other.path().join("objects"));
    let store = open(other.path(), &clock).await;
    assert_eq!(store.catalog().projects().await.unwrap(), std::slice::from_ref(&shop));
    assert_eq!(store.catalog().setting("retention_days").await.unwrap().as_deref(), Some("30"));
    let again = Project { name: "Another".to_owned(), ..shop.clone() };
    assert_eq!(store.create_project(again).await.unwrap(), shop, "the first name stays");
}

/// Of each step, how often a copy is taken.
const STEP_SNAPSHOTS_MAX: usize = 2;

/// A copy of the directory after each step, as a process that is killed there would leave it; and, for a power cut,
/// without what the catalog had not synced.
#[derive(Clone)]
struct Snapshots {
    dir: PathBuf,
    into: PathBuf,
    taken: Arc<Mutex<Vec<(Step, PathBuf)>>>,
}

impl Snapshots {
    fn hook(&self) -> StepHook {
        let this = self.clone();
        StepHook::new(move |step| {
            let mut taken = this.taken.lock().unwrap();
            if taken.iter().filter(|(known, _)| *known == step).count() >= 2 * STEP_SNAPSHOTS_MAX {
                return;
            }
            let to = this.into.join(taken.len().to_string());
            copy(&this.dir, &to);
            taken.push((step, to));
            let power_cut = this.into.join(taken.len().to_string());
            copy(&this.dir, &power_cut);
            let _ = std::fs::remove_file(power_cut.join("catalog.sqlite-wal"));
            let _ = std::fs::remove_file(power_cut.join("catalog.sqlite-shm"));
            taken.push((step, power_cut));
        })
    }
}

#[tokio::test]
async fn a_crash_at_any_step_loses_and_doubles_nothing() {
    let (dir, into, clock) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), HandClock::new());
    let (path, into) = (dir.path().to_owned(), into.path().to_owned());
    let snapshots = Snapshots { dir: path.clone(), into, taken: Arc::default() };
    let store = open_with(dir.path(), &clock, |options| options.on_step = Some(snapshots.hook())).await;
    for recording in ["a", "b"] {
        seal_each(&store, recording, 0..3).await;
    }
    identify(&store, 1).await;
    let late = Upload::new("a", 3);
    late.send(&store).await;
    store.seal_all().await.unwrap();
    let before = seen(&store).await;
    for _ in 0..2 {
        clock.pass(HOUR_MS);
        store.compact_due().await.unwrap();
        store.sweep().await.unwrap();
    }
    assert_eq!(seen(&store).await, before);
    let taken = std::mem::take(&mut *snapshots.taken.lock().unwrap());
    for step in [Step::Drafted, Step::Placed, Step::Entered, Step::Deleted, Step::Forgotten] {
        assert!(taken.iter().any(|(taken, _)| *taken == step), "{step:?} was never reached");
    }
    for (step, snapshot) in taken {
        for round in 0..3 {
            let store = open(&snapshot, &clock).await;
            late.send(&store).await;
            store.seal_all().await.unwrap();
            assert_eq!(seen(&store).await, before, "{step:?}, round {round}");
            store.compact_due().await.unwrap();
            store.sweep().await.unwrap();
            assert_eq!(seen(&store).await, before, "{step:?}, round {round}, compacted");
            store.close().await.unwrap();
        }
        assert_rebuilds(&snapshot, &clock, &before).await;
    }
}

/// What a seed's store must hold: each recording's numbers of uploads that were acknowledged.
async fn live_through(seed: u64) {
    let mut chance = Chance::new(seed);
    let (dir, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let mut store = open(dir.path(), &clock).await;
    let mut sent: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for _ in 0..40 {
        match chance.below(14) {
            0..=4 => {
                let recording = format!("r{}", chance.below(4));
                let known = sent.entry(recording.clone()).or_default();
                // Now and then one is sent again.
                let number = chance.below(known.len() + 2).min(known.len()) as u32;
                let at_ms = START_MS + chance.below(100_000) as i64;
                let is_new = usize::try_from(number).unwrap() == known.len();
                let at_ms = if is_new { at_ms } else { START_MS };
                Upload { at_ms, event_count: 4, ..Upload::new(&recording, number) }.send(&store).await;
                if is_new {
                    known.push(number);
                }
            }
            5 => identify(&store, chance.below(200) as u8).await,
            6..=7 => store.seal_all().await.unwrap(),
            8 => store.compact_due().await.unwrap(),
            9 => store.compact_recording(&project(), &id(&format!("r{}", chance.below(4)))).await.unwrap(),
            10 => store.sweep().await.unwrap(),
            11 => clock.pass(chance.below(40) as i64 * 60_000),
            12 => {
                // A kill: nothing is sealed on the way out.
                let other = dir.path().join("copy");
                copy_store(dir.path(), &other);
                store.close().await.unwrap();
                drop(store);
                restore(&other, dir.path());
                store = open(dir.path(), &clock).await;
            }
            _ => {
                store.close().await.unwrap();
                drop(store);
                Store::rebuild(dir.path(), "test").await.unwrap();
                store = open(dir.path(), &clock).await;
            }
        }
    }
    store.seal_all().await.unwrap();
    let end = seen(&store).await;
    for (recording, numbers) in &sent {
        let found = &end["recordings"][recording];
        let mut events: Vec<String> = found["lines"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| serde_json::from_str::<Value>(line.as_str().unwrap()).unwrap()[1]["data"]["n"].to_string())
            .collect();
        events.sort();
        let mut expected: Vec<String> = numbers
            .iter()
            .flat_map(|number| (0..4).map(move |event| format!("\"{recording}/{number}/{event}\"")))
            .collect();
        expected.sort();
        assert_eq!(events, expected, "seed {seed}, {recording}");
        let (figures, count) = (&found["figures"]["summary"], expected.len());
        assert_eq!(figures["event_count"], json!(count), "seed {seed}, {recording}");
        assert_eq!(figures["message_count"], json!(numbers.len()), "seed {seed}, {recording}");
        assert_eq!(figures["analytics_event_count"], json!(numbers.len()), "seed {seed}, {recording}");
    }
    store.close().await.unwrap();
    drop(store);
    assert_rebuilds(dir.path(), &clock, &end).await;
}

fn copy_store(dir: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    for name in ["objects", "inbox"] {
        copy(&dir.join(name), &to.join(name));
    }
    for file in ["store-id", "catalog.sqlite", "catalog.sqlite-wal"] {
        let _ = std::fs::copy(dir.join(file), to.join(file));
    }
}

fn restore(from: &Path, dir: &Path) {
    for name in ["objects", "inbox"] {
        std::fs::remove_dir_all(dir.join(name)).unwrap();
    }
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(dir.join(format!("catalog.sqlite{suffix}")));
    }
    copy(from, dir);
}

#[tokio::test]
async fn any_order_of_uploads_compactions_sweeps_crashes_and_rebuilds_keeps_each_event_once() {
    let asked = std::env::var("REELCASE_COMPACTION_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    for seed in 0..asked.unwrap_or(5) {
        live_through(seed).await;
    }
}
