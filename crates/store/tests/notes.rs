//! What people say of recordings survives what recordings survive, and what they delete stays deleted.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says no more clearly that it failed")]

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use reelcase_format::id::{ProjectKey, RecordingId};
use reelcase_store::catalog::ListQuery;
use reelcase_store::notes::said::Taken;
use reelcase_store::notes::{Comment, DELETED_REMEMBERED_MS, Notes};
use reelcase_store::store::StoreError;
use reelcase_store::{Clock, Store, StoreOptions};

mod world;

use world::{PROJECT, markers, upload};

const HOUR_MS: i64 = 60 * 60 * 1_000;

/// A clock that tests move by hand.
#[derive(Clone)]
struct HandClock(Arc<AtomicI64>);

impl Clock for HandClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

struct World {
    dir: tempfile::TempDir,
    clock: HandClock,
    store: Arc<Store>,
}

/// A store that seals, compacts and sweeps only when it is told to.
async fn open(dir: &Path, clock: &HandClock) -> Arc<Store> {
    let never = 1_000 * 365 * 24 * HOUR_MS;
    let mut options = StoreOptions::new(dir);
    options.inbox.segment_bytes = 1 << 20;
    (options.seal_age_first_ms, options.seal_age_ms, options.seal_bytes) = (never, never / 8, u64::MAX);
    Store::open(options, Arc::new(clock.clone())).await.unwrap()
}

impl World {
    async fn new() -> Self {
        let (dir, clock) = (world::directory(), HandClock(Arc::new(AtomicI64::new(1_795_226_820_000))));
        let store = open(dir.path(), &clock).await;
        Self { dir, clock, store }
    }

    /// Records one event; whether it was taken.
    async fn record(&self, recording: &str, marker: u64) -> bool {
        let receipt = self.store.accept(upload(recording, marker)).await.unwrap();
        assert_eq!(receipt.new_items + receipt.repeated_items + receipt.deleted_items, 1);
        self.store.seal_all().await.unwrap();
        receipt.deleted_items == 0
    }

    async fn note(&self, recording: &str, change: impl FnOnce(&mut Notes)) {
        let change = |notes: &mut Notes| {
            change(notes);
            Ok::<_, Infallible>(())
        };
        let Ok(()) = self.store.change_notes(&project(), &id(recording), change).await.unwrap();
    }

    async fn listed(&self, query: ListQuery) -> Vec<String> {
        let page = self.store.catalog().list(query).await.unwrap();
        page.recordings.into_iter().map(|row| row.id.to_string()).collect()
    }

    async fn delete(&self, recording: &str) -> bool {
        self.store.delete_recording(&project(), &id(recording)).await.unwrap()
    }

    /// Compacts and sweeps everything, as it happens by itself in a few hours.
    async fn tidy(&self) {
        for _ in 0..3 {
            self.clock.0.fetch_add(HOUR_MS, Relaxed);
            self.store.compact_due().await.unwrap();
            self.store.sweep().await.unwrap();
        }
    }

    /// Closes the store, does something to its directory, and opens it again.
    async fn meanwhile(&mut self, change: impl AsyncFnOnce(&Path)) {
        self.store.close().await.unwrap();
        self.store = open(world::directory().path(), &self.clock).await;
        change(self.dir.path()).await;
        self.store = open(self.dir.path(), &self.clock).await;
    }

    /// Whether a recording is named in any stored object.
    fn is_on_disk(&self, recording: &str) -> bool {
        let name = format!("\"recording\":\"{recording}\"");
        let holds = |bytes: &[u8]| bytes.windows(name.len()).any(|window| window == name.as_bytes());
        files(&self.dir.path().join("objects")).iter().any(|file| holds(&std::fs::read(file).unwrap()))
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn notes_files(dir: &Path) -> Vec<PathBuf> {
    files(dir).into_iter().filter(|path| path.parent().unwrap().ends_with("notes")).collect()
}

fn lose_catalog(dir: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(dir.join(format!("catalog.sqlite{suffix}")));
    }
}

async fn rebuild(dir: &Path) {
    Store::rebuild(dir, "test").await.unwrap();
}

fn project() -> ProjectKey {
    PROJECT.parse().unwrap()
}

fn id(recording: &str) -> RecordingId {
    recording.parse().unwrap()
}

fn said(text: &str) -> Comment {
    let (id, at_ms, text, author) = (text.to_lowercase(), Some(1_795_226_820_500), text.to_owned(), "Ada".to_owned());
    Comment { id, at_ms, text, tags: vec!["jump".to_owned()], author, written_at_ms: 7, edited_at_ms: None }
}

fn tagged(tag: &str) -> ListQuery {
    ListQuery { tag: Some(tag.to_owned()), ..ListQuery::default() }
}

#[tokio::test]
async fn what_is_said_survives_the_catalog() {
    let mut world = World::new().await;
    for (marker, recording) in (0..).zip(["one", "two", "three"]) {
        world.record(recording, marker).await;
    }
    world
        .note("two", |notes| {
            notes.comments.push(said("Here"));
            notes.tags.push("checkout".to_owned());
            notes.pinned_at_ms = Some(5);
        })
        .await;
    world.note("one", |notes| notes.seen_at_ms = Some(6)).await;
    let expected = world.store.notes(&project(), &id("two")).await.unwrap();
    for loss in ["a restart", "a lost catalog", "a rebuild"] {
        world
            .meanwhile(async |dir| match loss {
                "a lost catalog" => lose_catalog(dir),
                "a rebuild" => rebuild(dir).await,
                _ => {}
            })
            .await;
        assert_eq!(world.store.notes(&project(), &id("two")).await.unwrap(), expected, "{loss}");
        assert_eq!(world.listed(tagged("checkout")).await, ["two"], "{loss}");
        let query = |change: &dyn Fn(&mut ListQuery)| {
            let mut query = ListQuery::default();
            change(&mut query);
            query
        };
        assert_eq!(world.listed(query(&|query| query.is_pinned = Some(true))).await, ["two"], "{loss}");
        assert_eq!(world.listed(query(&|query| query.is_pinned = Some(false))).await, ["three", "one"], "{loss}");
        assert_eq!(world.listed(query(&|query| query.is_seen = Some(false))).await, ["three", "two"], "{loss}");
        assert_eq!(world.listed(query(&|query| query.has_comments = Some(true))).await, ["two"], "{loss}");
        let tags = world.store.catalog().tags(Some(&project())).await.unwrap();
        let tags: Vec<_> = tags.iter().map(|of| (of.tag.as_str(), of.recording_count)).collect();
        assert_eq!(tags, [("checkout", 1), ("jump", 1)], "{loss}");
        assert_eq!(world.listed(tagged("jump")).await, ["two"], "of a comment: {loss}");
    }
}

#[tokio::test]
async fn a_catalog_that_missed_a_change_learns_of_it() {
    let mut world = World::new().await;
    world.record("one", 0).await;
    world.note("one", |notes| notes.tags.push("old".to_owned())).await;
    let kept = world::directory();
    world
        .meanwhile(async |dir| {
            std::fs::copy(dir.join("catalog.sqlite"), kept.path().join("catalog.sqlite")).unwrap();
        })
        .await;
    world.note("one", |notes| notes.tags = vec!["new".to_owned()]).await;
    world
        .meanwhile(async |dir| {
            lose_catalog(dir);
            std::fs::copy(kept.path().join("catalog.sqlite"), dir.join("catalog.sqlite")).unwrap();
        })
        .await;
    assert_eq!(world.listed(tagged("new")).await, ["one"]);
    assert!(world.listed(tagged("old")).await.is_empty());
}

#[tokio::test]
async fn damaged_notes_are_set_aside_and_written_as_the_catalog_knows_them() {
    let mut world = World::new().await;
    world.record("one", 0).await;
    world.note("one", |notes| notes.comments.push(said("Here"))).await;
    world
        .meanwhile(async |dir| {
            let file = notes_files(dir).remove(0);
            let text = std::fs::read_to_string(&file).unwrap();
            std::fs::write(&file, text.replace("Here", "Hare")).unwrap();
        })
        .await;
    let names: Vec<_> = notes_files(world.dir.path());
    assert_eq!(names.len(), 2);
    assert!(names[1].to_str().unwrap().ends_with(".json.damaged-1"), "{names:?}");
    world.meanwhile(async |dir| lose_catalog(dir)).await;
    assert_eq!(world.store.notes(&project(), &id("one")).await.unwrap().comments[0].text, "Here");
}

#[tokio::test]
async fn notes_of_a_newer_release_stay_as_they_are() {
    let mut world = World::new().await;
    world.record("one", 0).await;
    world.note("one", |notes| notes.tags.push("old".to_owned())).await;
    let mut newer = String::new();
    world
        .meanwhile(async |dir| {
            let file = notes_files(dir).remove(0);
            newer = std::fs::read_to_string(&file).unwrap().replace("\"version\": 1", "\"version\": 2");
            std::fs::write(&file, &newer).unwrap();
        })
        .await;
    assert_eq!(world.listed(tagged("old")).await, ["one"]);
    let refused = world.store.change_notes(&project(), &id("one"), |_| Ok::<_, Infallible>(())).await;
    assert_eq!(refused.unwrap_err().to_string(), "the notes are of a newer release\nhint: upgrade to change them");
    assert_eq!(std::fs::read_to_string(notes_files(world.dir.path()).remove(0)).unwrap(), newer);
}

#[tokio::test]
async fn a_deleted_recording_is_gone_and_its_bytes_go_with_the_objects_that_hold_them() {
    let mut world = World::new().await;
    // One object of batches, one that is compacted, and one more of batches, shared with others each.
    for round in 0..3 {
        for (marker, recording) in (0..).zip(["kept", "victim", "other"]) {
            let sent = world.store.accept(upload(recording, round * 10 + marker)).await.unwrap();
            assert_eq!(sent.new_items, 1);
        }
        world.store.seal_all().await.unwrap();
        if round == 1 {
            world.clock.0.fetch_add(HOUR_MS, Relaxed);
            world.store.compact_due().await.unwrap();
        }
    }
    world.note("victim", |notes| notes.comments.push(said("Secret"))).await;
    assert!(world.is_on_disk("victim"));
    assert!(world.delete("victim").await);
    assert!(!world.delete("victim").await, "there is nothing left to delete");
    assert_eq!(world.listed(ListQuery::default()).await, ["other", "kept"]);
    assert!(world.store.blocks(&project(), &id("victim")).await.unwrap().is_empty());
    assert_eq!(world.store.notes(&project(), &id("victim")).await.unwrap(), Notes::default());
    let said_still =
        |dir: &Path| notes_files(dir).iter().any(|file| std::fs::read_to_string(file).unwrap().contains("Secret"));
    assert!(!said_still(world.dir.path()));
    world.tidy().await;
    assert!(!world.is_on_disk("victim"));
    for _ in 0..2 {
        assert_eq!(markers(&world.store, "kept").await.unwrap(), [0, 10, 20]);
        assert_eq!(markers(&world.store, "other").await.unwrap(), [2, 12, 22]);
        world.meanwhile(async |dir| rebuild(dir).await).await;
    }
    assert!(!world.store.catalog().is_erasing().await.unwrap());
}

#[tokio::test]
async fn nothing_brings_a_deleted_recording_back() {
    let mut world = World::new().await;
    world.record("kept", 0).await;
    world.record("victim", 1).await;
    // Waits when it is deleted.
    world.store.accept(upload("victim", 2)).await.unwrap();
    world.delete("victim").await;
    for loss in ["nothing", "a restart", "a lost catalog", "a rebuild"] {
        world
            .meanwhile(async |dir| match loss {
                "a lost catalog" => lose_catalog(dir),
                "a rebuild" => rebuild(dir).await,
                _ => {}
            })
            .await;
        assert!(!world.record("victim", 1).await, "an upload that was sent before, after {loss}");
        assert!(!world.record("victim", 3).await, "one that is new, after {loss}");
        assert_eq!(world.listed(ListQuery::default()).await, ["kept"], "{loss}");
        let dump = world.store.catalog().dump().await.unwrap();
        world.meanwhile(async |dir| rebuild(dir).await).await;
        assert_eq!(world.store.catalog().dump().await.unwrap()["blocks"], dump["blocks"], "{loss}");
    }
    world.tidy().await;
    assert!(!world.is_on_disk("victim"));
}

#[tokio::test]
async fn an_upload_of_a_deleted_recording_in_the_inbox_is_entered_nowhere() {
    let mut world = World::new().await;
    world.record("victim", 0).await;
    let before = world::directory();
    world.store.accept(upload("victim", 1)).await.unwrap();
    std::process::Command::new("cp").arg("-r").arg(world.dir.path().join("inbox")).arg(before.path()).status().unwrap();
    world.delete("victim").await;
    // As if the process had died before the inbox let go of it.
    world
        .meanwhile(async |dir| {
            std::fs::remove_dir_all(dir.join("inbox")).unwrap();
            std::process::Command::new("cp").arg("-r").arg(before.path().join("inbox")).arg(dir).status().unwrap();
        })
        .await;
    world.store.seal_all().await.unwrap();
    assert!(world.listed(ListQuery::default()).await.is_empty());
    world.tidy().await;
    assert!(!world.is_on_disk("victim"));
}

#[tokio::test]
async fn a_deletion_is_forgotten_once_nothing_can_come_back() {
    let world = World::new().await;
    world.record("victim", 0).await;
    world.delete("victim").await;
    world.tidy().await;
    world.clock.0.fetch_add(DELETED_REMEMBERED_MS - 10 * HOUR_MS, Relaxed);
    world.store.sweep().await.unwrap();
    assert!(!world.record("victim", 1).await);
    world.clock.0.fetch_add(10 * HOUR_MS, Relaxed);
    world.store.sweep().await.unwrap();
    assert!(world.record("victim", 1).await);
    assert_eq!(world.listed(ListQuery::default()).await, ["victim"]);
}

#[tokio::test]
async fn a_file_that_is_full_takes_what_is_taken_back_and_what_is_deleted() {
    let world = World::new().await;
    let is_taken = async |recording: &str, letters: usize| {
        let change = |notes: &mut Notes| {
            notes.tags = vec!["x".repeat(letters)];
            Ok::<_, Infallible>(())
        };
        match world.store.change_notes(&project(), &id(recording), change).await {
            Ok(_) => true,
            Err(StoreError::NotesFull { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    };
    let mut letters = 4 << 20;
    while !is_taken("full", letters).await {
        letters -= 20;
    }
    // Another recording whose notes lie in the same file.
    let mut number = 0;
    while is_taken(&format!("beside-{number}"), 1).await {
        number += 1;
    }
    let beside = format!("beside-{number}");
    assert!(world.record(&beside, 1).await);
    assert!(world.delete(&beside).await, "a full file does not stop a deletion");
    assert!(!world.record(&beside, 2).await);
    let told = Notes { comments: vec![said("Look")], tags: vec!["cart".to_owned()], ..Notes::default() };
    let taken = world.store.take_said(&project(), &id("full"), told.into()).await.unwrap();
    assert_eq!(taken, Taken { new_count: 0, left_out_count: 2 }, "what a file brings along is counted, and no error");
    assert!(is_taken("full", letters - 20).await, "what is taken back is taken");
    assert!(!is_taken("full", letters).await, "more is not");
}
