//! Files of a store that are lost, cut or changed on disk: what is damaged is found or harmless, costs nobody else
//! anything, and is never deleted. Sizes for longer runs come from the environment.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod world;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reelcase_store::inbox::InboxOptions;
use reelcase_store::inbox::sim::Chance;
use reelcase_store::{AcceptError, Store, StoreError, StoreOptions};
use serde_json::Value;
use world::{FastClock, directory, for_seeds, killed, markers, options, size, upload};

const RECORDINGS: u64 = 4;
const UPLOADS: u64 = 48;

async fn open(options: StoreOptions) -> Result<Arc<Store>, StoreError> {
    Store::open(options, Arc::new(FastClock::default())).await
}

/// Uploads that nothing is to seal by itself.
fn unhurried(dir: &Path) -> StoreOptions {
    StoreOptions { seal_age_first_ms: 1 << 40, seal_age_ms: 1 << 40, ..options(dir) }
}

fn recording(marker: u64) -> String {
    format!("recording-{}", marker % RECORDINGS)
}

/// A store of a few objects, killed while the last third of the uploads waits in the inbox.
fn make_store(dir: &Path) {
    killed(async {
        let store = open(unhurried(dir)).await.unwrap();
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
    let kinds = ["objects/", "inbox/", "catalog.sqlite", "store-id", "lock"];
    for_seeds(size("REELCASE_FLIP_SEEDS", 1_000), |seed| {
        let dir = directory();
        copy(original.path(), dir.path());
        let mut chance = Chance::new(seed);
        // Each kind of file is hit as often as any other, however large it is.
        let kind = kinds[seed as usize % kinds.len()];
        let of_kind: Vec<_> = names
            .iter()
            .filter(|path| path.strip_prefix(original.path()).unwrap().starts_with(kind.trim_end_matches('/')))
            .collect();
        let hit = of_kind[chance.below(of_kind.len())].strip_prefix(original.path()).unwrap().to_owned();
        let path = dir.path().join(&hit);
        let mut bytes = std::fs::read(&path).unwrap();
        let used_bytes = if kind == "inbox/" { bytes.len().min(16 << 10) } else { bytes.len() };
        let bit = chance.below(used_bytes * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, bytes).unwrap();
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
