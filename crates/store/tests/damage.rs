//! Files of a store that are lost, cut or changed on disk: what is damaged is found or harmless, costs nobody else
//! anything, and is never deleted. Sizes for longer runs come from the environment.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod world;

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use reelcase_format::block::{BlockHash, EncodedBlock};
use reelcase_format::reel::{BlockEntry, ReelLimits, ReelWriter, recover};
use reelcase_store::catalog::Project;
use reelcase_store::export::{Export, Form};
use reelcase_store::inbox::InboxOptions;
use reelcase_store::inbox::sim::Chance;
use reelcase_store::{AcceptError, NewerObject, Store, StoreError, StoreOptions};
use serde_json::Value;
use world::{FastClock, PROJECT, directory, for_seeds, killed, markers, options, size, upload};

const RECORDINGS: u64 = 4;
const UPLOADS: u64 = 48;

async fn open(options: StoreOptions) -> Result<Arc<Store>, StoreError> {
    Store::open(options, Arc::new(FastClock::default())).await
}

/// Uploads that nothing is to seal by itself.
fn unhurried(dir: &Path) -> StoreOptions {
    StoreOptions { seal_age_first_ms: 1 << 40, seal_age_ms: 1 << 40, ..options(dir) }
}

fn shop() -> Project {
    Project { key: PROJECT.parse().unwrap(), name: "The shop".to_owned(), created_at_ms: 7 }
}

fn recording(marker: u64) -> String {
    format!("recording-{}", marker % RECORDINGS)
}

/// A store of a few objects, killed while the last third of the uploads waits in the inbox.
fn make_store(dir: &Path) {
    killed(async {
        let store = open(unhurried(dir)).await.unwrap();
        store.create_project(shop()).await.unwrap();
        store.set_setting("retention_days", "30").await.unwrap();
        for marker in 0..UPLOADS {
            store.accept(upload(&recording(marker), marker)).await.unwrap();
            if marker % 8 == 7 && marker < UPLOADS * 2 / 3 {
                store.seal_all().await.unwrap();
            }
        }
    });
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// All files below, sorted.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() { found.extend(files(&entry.path())) } else { found.push(entry.path()) }
    }
    found.sort();
    found
}

async fn dump(dir: &Path) -> Value {
    let store = open(options(dir)).await.unwrap();
    store.seal_all().await.unwrap();
    let dump = store.catalog().dump().await.unwrap();
    store.close().await.unwrap();
    dump
}

/// Markers that can be read, of the recordings that can be read.
async fn readable(store: &Arc<Store>) -> (BTreeSet<u64>, u64) {
    let (mut found, mut broken) = (Vec::new(), 0);
    for number in 0..RECORDINGS {
        match markers(store, &recording(number)).await {
            Ok(some) => found.extend(some),
            Err(_) => broken += 1,
        }
    }
    let distinct: BTreeSet<u64> = found.iter().copied().collect();
    assert_eq!(distinct.len(), found.len(), "an event is there twice");
    (distinct, broken)
}

#[test]
fn damaged_catalog_is_set_aside_and_made_anew_with_an_equal_listing() {
    let original = directory();
    make_store(original.path());
    let sealed = killed(dump(original.path()));
    for_seeds(size("REELCASE_CATALOG_SEEDS", 20), |seed| {
        let dir = directory();
        copy(original.path(), dir.path());
        let mut chance = Chance::new(seed);
        let catalog = dir.path().join("catalog.sqlite");
        let mut bytes = std::fs::read(&catalog).unwrap();
        let is_gone = seed % 5 == 0;
        match seed % 5 {
            0 => std::fs::remove_file(&catalog).unwrap(),
            1 => std::fs::write(&catalog, &bytes[..chance.below(bytes.len())]).unwrap(),
            // The head, which names the file a database, and its first pages.
            2 => {
                bytes[chance.below(100)] ^= 0x55;
                bytes[4096..12_288].fill(0);
                std::fs::write(&catalog, bytes).unwrap();
            }
            // A log without its database, half written.
            3 => {
                std::fs::write(dir.path().join("catalog.sqlite-wal"), &bytes[..chance.below(bytes.len()).max(1)])
                    .unwrap();
                std::fs::remove_file(&catalog).unwrap();
            }
            _ => std::fs::write(&catalog, vec![chance.draw() as u8; bytes.len()]).unwrap(),
        }
        assert_eq!(killed(dump(dir.path())), sealed, "seed {seed}: the listing differs");
        let has_aside = files(dir.path()).iter().any(|path| path.to_string_lossy().contains(".damaged-1"));
        assert!(has_aside || is_gone || seed % 5 == 1, "seed {seed}: damage was not recognised, or not kept");
    });
}

#[test]
fn half_written_log_of_the_catalog_is_caught_up_from_the_objects() {
    for_seeds(size("REELCASE_CATALOG_SEEDS", 20), |seed| {
        let (dir, copied) = (directory(), directory());
        let mut chance = Chance::new(seed);
        killed(async {
            let store = open(unhurried(dir.path())).await.unwrap();
            for marker in 0..UPLOADS {
                store.accept(upload(&recording(marker), marker)).await.unwrap();
                if marker % 8 == 7 {
                    store.seal_all().await.unwrap();
                }
            }
            copy(dir.path(), copied.path());
        });
        let log = copied.path().join("catalog.sqlite-wal");
        let mut bytes = std::fs::read(&log).unwrap();
        assert!(bytes.len() > 10_000, "the log is what is tested");
        if chance.percent(50) {
            bytes.truncate(chance.below(bytes.len()));
        } else {
            let at = chance.below(bytes.len());
            bytes[at] ^= 1 << chance.below(8);
        }
        std::fs::write(&log, bytes).unwrap();
        killed(async {
            let store = open(options(copied.path())).await.unwrap();
            let (found, broken) = readable(&store).await;
            assert_eq!((found.len() as u64, broken), (UPLOADS, 0), "seed {seed}: a recording is lost or incomplete");
        });
    });
}

#[test]
fn one_flipped_bit_anywhere_is_found_or_harmless_and_costs_nobody_else_anything() {
    let original = directory();
    make_store(original.path());
    let names = files(original.path());
    let kinds = ["objects/", "inbox/", "catalog.sqlite", "store-id", "lock", "settings.json"];
    for_seeds(size("REELCASE_FLIP_SEEDS", 1_000), |seed| {
        let dir = directory();
        copy(original.path(), dir.path());
        let mut chance = Chance::new(seed);
        // Each kind of file is hit as often as any other, however large it is.
        let kind = kinds[seed as usize % kinds.len()];
        let of_kind: Vec<_> = names
            .iter()
            .filter(|path| {
                let is_settings = path.ends_with("settings.json");
                let is_below = path.strip_prefix(original.path()).unwrap().starts_with(kind.trim_end_matches('/'));
                if kind == "settings.json" { is_settings } else { is_below && !is_settings }
            })
            .collect();
        let hit = of_kind[chance.below(of_kind.len())].strip_prefix(original.path()).unwrap().to_owned();
        let path = dir.path().join(&hit);
        let mut bytes = std::fs::read(&path).unwrap();
        let used_bytes = if kind == "inbox/" { bytes.len().min(16 << 10) } else { bytes.len() };
        let bit = chance.below(used_bytes * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &bytes).unwrap();
        let place = format!("seed {seed}: bit {bit} of {}", hit.display());
        killed(async {
            let store = match open(options(dir.path())).await {
                Ok(store) => store,
                // Refused by name, with nothing touched: a version of the future is all that a flip can make of it.
                Err(error) => {
                    assert!(error.to_string().contains("newer"), "{place}: {error:?}");
                    return;
                }
            };
            let (found, broken) = readable(&store).await;
            let lost = UPLOADS - found.len() as u64;
            match kind {
                "objects/" => {
                    assert!(broken <= 1 && lost <= UPLOADS / RECORDINGS, "{place}: {broken} broken, {lost} lost")
                }
                "settings.json" => {
                    assert_eq!((broken, lost), (0, 0), "{place}");
                    settings_are_known_and_damage_is_kept(dir.path(), &path, &bytes, &place).await;
                }
                "inbox/" => assert!(broken == 0 && lost <= 1, "{place}: {broken} broken, {lost} lost"),
                "catalog.sqlite" if lost > 0 => {
                    drop(store.close().await);
                    drop(store);
                    Store::rebuild(dir.path(), "test").await.unwrap();
                    let store = open(options(dir.path())).await.unwrap();
                    assert_eq!(readable(&store).await.0.len() as u64, UPLOADS, "{place}: lost even to a rebuild");
                }
                _ => assert_eq!((broken, lost), (0, 0), "{place}"),
            }
        });
    });
}

/// With its file of settings damaged, a store still knows them, the file is where it was or set aside, and the next
/// store made of the objects alone knows the settings as they were.
async fn settings_are_known_and_damage_is_kept(dir: &Path, path: &Path, damaged: &[u8], place: &str) {
    let aside = path.with_extension("json.damaged-1");
    let kept = std::fs::read(if aside.exists() { &aside } else { path }).unwrap();
    let store = {
        let other = directory();
        copy(&dir.join("objects"), &other.path().join("objects"));
        open(options(other.path())).await.map(|store| (store, other))
    };
    let (store, _dir) = store.unwrap();
    let projects = store.catalog().projects().await.unwrap();
    let days = store.catalog().setting("retention_days").await.unwrap();
    let is_newer = !aside.exists() && kept == damaged;
    assert!(is_newer || projects == [shop()] && days.as_deref() == Some("30"), "{place}: {projects:?}, {days:?}");
    assert!(!aside.exists() || kept == damaged, "{place}: what is set aside is something else");
}

#[test]
fn settings_of_a_newer_release_are_never_written_over() {
    let dir = directory();
    make_store(dir.path());
    let path = files(&dir.path().join("objects")).into_iter().find(|path| path.ends_with("settings.json")).unwrap();
    let newer = br#"{"version":2,"projects":"in another form"}"#;
    std::fs::write(&path, newer).unwrap();
    killed(async {
        let store = open(options(dir.path())).await.unwrap();
        let refused = store.set_setting("retention_days", "60").await.unwrap_err();
        assert!(refused.to_string().contains("newer release"), "{refused}");
        let another = Project { key: "phc_another".parse().unwrap(), ..shop() };
        store.create_project(another.clone()).await.unwrap();
        assert!(store.catalog().projects().await.unwrap().contains(&another), "uploads are taken all the same");
        assert_eq!(readable(&store).await, ((0..UPLOADS).collect(), 0));
        store.close().await.unwrap();
    });
    assert_eq!(std::fs::read(&path).unwrap(), newer);
}

/// The objects, in the order of their numbers.
fn objects(dir: &Path) -> Vec<PathBuf> {
    let mut found = files(&dir.join("objects"));
    found.retain(|path| path.extension().is_some_and(|ending| ending == "reel"));
    found
}

#[test]
fn rebuild_recovers_the_intact_blocks_of_an_object_without_an_index_once() {
    let dir = directory();
    make_store(dir.path());
    let damaged = objects(dir.path())[1].clone();
    let mut bytes = std::fs::read(&damaged).unwrap();
    // The tail is gone, and of one of its four blocks a bit is another.
    let frames: Vec<_> = (0..bytes.len() - 4).filter(|at| bytes[*at..].starts_with(b"\x28\xb5\x2f\xfd")).collect();
    bytes[frames[2] + 12] ^= 1;
    bytes.truncate(bytes.len() - 40);
    std::fs::write(&damaged, &bytes).unwrap();
    let aside = damaged.with_extension("reel.damaged-1");
    let whole = copied(dir.path());
    killed(async {
        let rebuilt = Store::rebuild(dir.path(), "test").await.unwrap();
        let [salvaged] = rebuilt.salvaged.as_slice() else { panic!("{rebuilt:?}") };
        assert_eq!((rebuilt.entered, salvaged.block_count, salvaged.event_count), (3, 3, 6));
        assert!(salvaged.into.is_some() && !salvaged.damage.is_empty(), "{salvaged:?}");
        assert_eq!(std::fs::read(&aside).unwrap(), bytes, "what was damaged is kept as it was");
    });
    let check = |dir: &Path| {
        killed(async {
            let store = open(options(dir)).await.unwrap();
            let (found, broken) = readable(&store).await;
            assert_eq!((found.len() as u64, broken), (UPLOADS - 2, 0));
            let listed = store.catalog().list(Default::default()).await.unwrap();
            let counted: u64 = listed.recordings.iter().map(|row| row.summary.event_count).sum();
            assert_eq!(counted, UPLOADS - 2, "the figures are those of what is there");
            store.close().await.unwrap();
        });
    };
    let placed = objects(dir.path()).last().unwrap().clone();
    // Cut short between the new object and setting the damaged one aside: both are there when it is done again.
    let again = whole.path().join(placed.strip_prefix(dir.path()).unwrap());
    std::fs::copy(&placed, &again).unwrap();
    killed(async {
        let rebuilt = Store::rebuild(whole.path(), "test").await.unwrap();
        assert_eq!((rebuilt.salvaged[0].event_count, &rebuilt.salvaged[0].into), (0, &None), "{rebuilt:?}");
    });
    check(whole.path());
    check(dir.path());
    killed(async {
        let rebuilt = Store::rebuild(dir.path(), "test").await.unwrap();
        assert!(rebuilt.set_aside.is_empty(), "{rebuilt:?}");
    });
    check(dir.path());
}

/// Changes the checksum of what the first block of an object holds, and makes all hashes and the index anew.
fn spoil_first_block(object: &Path) {
    let bytes = std::fs::read(object).unwrap();
    let found = recover(&bytes[..], &ReelLimits::default());
    let (mut writer, mut made) = ReelWriter::new(found.header.unwrap()).unwrap();
    for (number, BlockEntry { mut head, offset }) in found.blocks.into_iter().enumerate() {
        let mut frame = bytes[offset as usize..][..head.stored_bytes as usize].to_vec();
        *frame.last_mut().unwrap() ^= u8::from(number == 0);
        head.hash = BlockHash::of(&frame);
        made.extend(writer.push_block(EncodedBlock::from_parts(head, &frame).unwrap()).unwrap().1);
    }
    let index = found.index.unwrap();
    index.metadata.into_iter().for_each(|(name, value)| writer.set_metadata(&name, value));
    index.recordings.into_iter().for_each(|entry| writer.push_recording(entry));
    made.extend(writer.finish().unwrap().bytes);
    std::fs::write(object, made).unwrap();
}

#[test]
fn a_block_that_fits_its_hash_and_does_not_decode_is_a_gap_of_the_lines_and_costs_no_other() {
    let dir = directory();
    make_store(dir.path());
    spoil_first_block(&objects(dir.path())[1]);
    killed(async {
        Store::rebuild(dir.path(), "test").await.unwrap();
        let store = open(options(dir.path())).await.unwrap();
        store.seal_all().await.unwrap();
        let (mut lines, mut gaps) = (0, Vec::new());
        for row in store.catalog().list(Default::default()).await.unwrap().recordings {
            let blocks = store.blocks(&row.project, &row.id).await.unwrap();
            let mut export = Export::new(&store, row, blocks, Form::Jsonl);
            while let Some(chunk) = export.next_chunk().await.unwrap() {
                lines += chunk.iter().filter(|byte| **byte == b'\n').count() as u64;
            }
            gaps.extend_from_slice(export.gaps());
        }
        let [gap] = gaps.as_slice() else { panic!("{gaps:?}") };
        assert_eq!((gap.block, lines), (0, UPLOADS - gap.event_count + 1), "one line stands for those that are gone");
        store.close().await.unwrap();
    });
}

/// Makes the frame at `at` one of format 2, with the right check.
fn raise_version(bytes: &mut [u8], at: usize) {
    let length = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
    let frame = &mut bytes[at..at + 8 + length];
    frame[12] = 2;
    let check = blake3::Hasher::new().update(&frame[8..16]).update(&frame[32..]).finalize();
    frame[16..32].copy_from_slice(&check.as_bytes()[..16]);
}

/// A store whose second object is of format 2, told by its tail, and whose third by its header alone, because it ends
/// in a way that this release does not know. What they were is kept beside it.
fn make_store_with_newer_objects(dir: &Path) -> Vec<(PathBuf, Vec<u8>, Vec<u8>)> {
    make_store(dir);
    std::fs::remove_file(dir.join("catalog.sqlite")).unwrap();
    let raise = |number: usize, raise: fn(&mut Vec<u8>)| {
        let path = objects(dir)[number].clone();
        let was = std::fs::read(&path).unwrap();
        let mut newer = was.clone();
        raise(&mut newer);
        std::fs::write(&path, &newer).unwrap();
        (path, was, newer)
    };
    vec![
        raise(1, |bytes| {
            let tail = bytes.len() - 64;
            raise_version(bytes, tail);
        }),
        raise(2, |bytes| {
            raise_version(bytes, 0);
            bytes.extend_from_slice(b"of tomorrow");
        }),
    ]
}

#[test]
fn objects_of_a_newer_format_stay_where_they_are_and_are_entered_after_the_upgrade() {
    let dir = directory();
    let newer = make_store_with_newer_objects(dir.path());
    let names =
        |found: &[NewerObject]| found.iter().map(|newer| (newer.object.clone(), newer.version)).collect::<Vec<_>>();
    let stays = || {
        for (path, _, bytes) in &newer {
            assert_eq!(&std::fs::read(path).unwrap(), bytes, "{} was touched", path.display());
        }
        let all = files(&dir.path().join("objects"));
        assert!(!all.iter().any(|path| path.to_string_lossy().contains("damaged")), "{all:?}");
    };
    killed(async {
        let store = open(options(dir.path())).await.unwrap();
        let found = store.newer_objects();
        assert_eq!(found.iter().map(|newer| newer.version).collect::<Vec<_>>(), [2, 2]);
        assert_eq!(readable(&store).await, ((0..8).chain(24..UPLOADS).collect(), 0), "all else is served");
        store.compact_idle_since(i64::MAX).await.unwrap();
        store.sweep().await.unwrap();
        store.close().await.unwrap();
    });
    stays();
    killed(async {
        let store = open(options(dir.path())).await.unwrap();
        assert_eq!(store.newer_objects().len(), 2, "named at each start, however far the numbers went on");
        store.close().await.unwrap();
        drop(store);
        let rebuilt = Store::rebuild(dir.path(), "test").await.unwrap();
        assert_eq!((names(&rebuilt.newer).len(), rebuilt.set_aside, rebuilt.salvaged), (2, vec![], vec![]));
        let store = open(options(dir.path())).await.unwrap();
        assert_eq!(names(&store.newer_objects()), names(&rebuilt.newer));
        store.close().await.unwrap();
    });
    stays();
    for (path, was, _) in &newer {
        std::fs::write(path, was).unwrap();
    }
    killed(async {
        let store = open(options(dir.path())).await.unwrap();
        assert_eq!((store.newer_objects(), readable(&store).await), (vec![], ((0..UPLOADS).collect(), 0)));
        store.close().await.unwrap();
    });
}

fn copied(dir: &Path) -> tempfile::TempDir {
    let target = directory();
    copy(dir, target.path());
    target
}

#[tokio::test]
async fn pending_memory_is_bounded_by_uploads_not_by_recordings() {
    const AT_ONCE: u64 = 10_000;
    let dir = directory();
    let inbox = InboxOptions { segment_bytes: 1 << 20, inbox_bytes_max: 12 << 20, ..InboxOptions::default() };
    let store = open(StoreOptions { inbox, ..unhurried(dir.path()) }).await.unwrap();
    for marker in 0..AT_ONCE {
        store.accept(upload(&format!("one-of-many-{marker}"), marker)).await.unwrap();
    }
    assert_eq!(store.waiting().1 as u64, AT_ONCE);
    // Then more, until the inbox says that it is enough: what waits in memory is bounded by what waits on disk.
    let mut marker = AT_ONCE;
    let refusal = loop {
        match store.accept(upload(&format!("one-of-many-{}", marker % AT_ONCE), marker)).await {
            Ok(_) => marker += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refusal, AcceptError::Busy { .. }), "{refusal:?}");
    let (inbox, items) = store.waiting();
    assert!(inbox.disk_bytes <= 12 << 20 && items as u64 == marker, "{inbox:?}, {items} items");
    store.seal_all().await.unwrap();
    let (inbox, items) = store.waiting();
    assert_eq!((inbox.records_waiting, items), (0, 0), "sealed, and still remembered");
    store.accept(upload("one-more", marker)).await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn an_upload_whose_sender_left_before_the_answer_is_sealed_like_any_other() {
    let dir = directory();
    let store = open(unhurried(dir.path())).await.unwrap();
    let mut taking = Box::pin(store.accept(upload(&recording(1), 1)));
    let is_begun = poll_fn(|context| Poll::Ready(taking.as_mut().poll(context).is_pending())).await;
    assert!(is_begun);
    drop(taking);
    let is_known = async {
        while store.waiting().1 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), is_known).await.unwrap();
    store.seal_all().await.unwrap();
    assert_eq!(readable(&store).await.0, BTreeSet::from([1]));
    store.close().await.unwrap();
}
