//! The whole store while its object store fails and its power is cut: nothing acknowledged is lost, nothing is there
//! twice, and what waits stays bounded. One seed is one run; the sizes for longer runs come from the environment.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod world;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reelcase_store::inbox::sim::{Chance, Fault, Operation, SimFiles, Trouble};
use reelcase_store::{AcceptError, Store};
use world::objects::FaultyObjects;
use world::{Ledger, directory, for_seeds, killed, open, options, size};

const LIVES_PER_SEED: usize = 3;
const STEPS_PER_LIFE: usize = 14;

/// A client that sends, retries and reads while the sealer works.
async fn live(store: &Arc<Store>, ledger: &mut Ledger, chance: &mut Chance) {
    for _ in 0..STEPS_PER_LIFE {
        match chance.below(13) {
            0..=4 => {
                for _ in 0..=chance.below(4) {
                    // A refusal is an answer too; the client keeps what it was refused.
                    let _ = ledger.send(store, chance).await;
                }
            }
            5 | 6 if !ledger.sent.is_empty() => {
                let marker = chance.below(ledger.sent.len()) as u64;
                let _ = ledger.send_again(store, marker).await;
            }
            7 => drop(store.seal_all().await),
            10 | 11 => drop(ledger.lay_by(store, chance).await),
            12 => ledger.sort(store, chance.below(3)).await,
            8 => {
                let id = format!("recording-{}", chance.below(4)).parse().unwrap();
                // A reader that goes away while something is sealed for it.
                let _ =
                    tokio::time::timeout(Duration::from_micros(chance.below(3_000) as u64), store.seal_id(&id)).await;
            }
            _ => tokio::task::yield_now().await,
        }
    }
}

/// Seals everything once the object store works, and compares.
async fn settle(store: &Arc<Store>, ledger: &Ledger, seed: u64) {
    ledger.sort(store, usize::MAX).await;
    // A write that was said to have failed may come in between, once; what it holds is entered before the next.
    if store.seal_all().await.is_err() {
        store.seal_all().await.unwrap_or_else(|error| panic!("seed {seed}: healed and cannot seal: {error:?}"));
    }
    assert_eq!(store.waiting().1 + store.unsorted().count, 0, "seed {seed}: something still waits");
    ledger.check(store, seed).await;
}

#[test]
fn failing_object_store_loses_and_doubles_nothing() {
    for_seeds(size("REELCASE_OBJECT_FAULT_SEEDS", 200), |seed| {
        let dir = directory();
        let (mut chance, mut ledger) = (Chance::new(seed), Ledger::default());
        let (files, objects) = (SimFiles::new(seed), FaultyObjects::new(seed));
        for _ in 0..LIVES_PER_SEED {
            objects.fail_percent([10, 30, 60, 100][chance.below(4)]);
            killed(async {
                let store = open(dir.path(), &files, &objects).await;
                live(&store, &mut ledger, &mut chance).await;
            });
        }
        objects.fail_percent(0);
        killed(async {
            let store = open(dir.path(), &files, &objects).await;
            settle(&store, &ledger, seed).await;
            assert!(ledger.acked.len() > LIVES_PER_SEED, "seed {seed}: too little was acknowledged to prove anything");
        });
    });
}

#[test]
fn power_cuts_lose_and_double_nothing() {
    for_seeds(size("REELCASE_POWER_CUT_SEEDS", 200), |seed| {
        let dir = directory();
        let (mut chance, mut ledger) = (Chance::new(seed), Ledger::default());
        let (mut files, objects) = (SimFiles::new(seed), FaultyObjects::new(seed));
        for life in 0..LIVES_PER_SEED {
            objects.fail_percent([0, 20, 50][chance.below(3)]);
            killed(async {
                let store = open(dir.path(), &files, &objects).await;
                live(&store, &mut ledger, &mut chance).await;
                // A database that does not sync each commit may come back as it was some commits ago.
                keep_catalog(dir.path(), life);
                live(&store, &mut ledger, &mut chance).await;
                files = files.crash(chance.draw());
                objects.cut_power().await;
            });
            // The thread of the killed life that closes its database is the one part that cannot be killed here.
            for _ in 0..10 {
                if dir.path().join("catalog.sqlite-wal").exists() {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            if chance.percent(50) {
                bring_catalog_back(dir.path(), life);
            }
        }
        objects.fail_percent(0);
        killed(async {
            let store = open(dir.path(), &files, &objects).await;
            settle(&store, &ledger, seed).await;
        });
    });
}

const CATALOG: [&str; 2] = ["catalog.sqlite", "catalog.sqlite-wal"];

fn keep_catalog(dir: &Path, life: usize) {
    let kept = dir.join(format!("kept-{life}"));
    std::fs::create_dir(&kept).unwrap();
    for name in CATALOG {
        if let Ok(bytes) = std::fs::read(dir.join(name)) {
            std::fs::write(kept.join(name), bytes).unwrap();
        }
    }
}

fn bring_catalog_back(dir: &Path, life: usize) {
    let kept = dir.join(format!("kept-{life}"));
    let _ = std::fs::remove_file(dir.join("catalog.sqlite-shm"));
    for name in CATALOG {
        let _ = std::fs::remove_file(dir.join(name));
        if let Ok(bytes) = std::fs::read(kept.join(name)) {
            std::fs::write(dir.join(name), bytes).unwrap();
        }
    }
}

#[test]
fn failing_disks_lose_and_double_nothing() {
    let operations = [Operation::Create, Operation::Write, Operation::Sync, Operation::Rename, Operation::SyncDir];
    let troubles = [Trouble::NoSpace, Trouble::Io, Trouble::Short, Trouble::Interrupted];
    let pairs = (operations.len() * troubles.len()) as u64;
    for_seeds(pairs * size("REELCASE_DISK_FAULT_SEEDS", 20), |seed| {
        let (operation, trouble) = (operations[seed as usize % 5], troubles[seed as usize / 5 % 4]);
        let dir = directory();
        let (mut chance, mut ledger) = (Chance::new(seed), Ledger::default());
        let (files, objects) = (SimFiles::new(seed), FaultyObjects::new(seed));
        killed(async {
            let store = open(dir.path(), &files, &objects).await;
            let skip = chance.below(6) as u64;
            files.fail(Fault { operation, skip, count: 1 + chance.below(4) as u64, trouble });
            live(&store, &mut ledger, &mut chance).await;
            files.heal();
        });
        killed(async {
            let store = open(dir.path(), &files.crash(chance.draw()), &objects).await;
            settle(&store, &ledger, seed).await;
        });
    });
}

#[tokio::test]
async fn backlog_is_bounded_while_the_object_store_is_away_and_gone_when_it_is_back() {
    let dir = directory();
    let (files, objects) = (SimFiles::new(1), FaultyObjects::new(1));
    let (mut ledger, mut chance) = (Ledger::default(), Chance::new(1));
    let store = open(dir.path(), &files, &objects).await;
    objects.fail_percent(100);
    let refusal = loop {
        if let Err(error) = ledger.send(&store, &mut chance).await {
            break error;
        }
    };
    assert!(matches!(refusal, AcceptError::Busy { .. }), "{refusal:?}");
    assert!(store.waiting().0.disk_bytes <= options(dir.path()).inbox.inbox_bytes_max);
    assert!(store.seal_all().await.is_err());
    assert!(store.trouble().is_some_and(|trouble| trouble.contains("made to fail")), "{:?}", store.trouble());

    objects.fail_percent(0);
    let accepted = async { while ledger.send(&store, &mut chance).await.is_err() {} };
    // The sealer tries again every second, by the machine's clock.
    tokio::time::timeout(Duration::from_secs(5), accepted).await.unwrap();
    store.seal_all().await.unwrap();
    assert_eq!(store.trouble(), None);
    ledger.check(&store, 1).await;
}

#[tokio::test]
async fn upload_that_the_disk_will_not_give_back_holds_up_no_other() {
    let dir = directory();
    let (files, objects) = (SimFiles::new(1), FaultyObjects::new(1));
    let (mut ledger, mut chance) = (Ledger::default(), Chance::new(1));
    let store = open(dir.path(), &files, &objects).await;
    while ledger.sent.values().collect::<std::collections::BTreeSet<_>>().len() < 4 {
        ledger.send(&store, &mut chance).await.unwrap();
    }
    // All together, then the first group by itself.
    files.fail(Fault { operation: Operation::Read, skip: 0, count: 2, trouble: Trouble::Io });
    assert!(store.seal_all().await.is_err());
    let sealed = store.catalog().list(Default::default()).await.unwrap().recordings.len();
    assert_eq!(sealed, 3, "the other recordings are sealed");
    files.heal();
    settle(&store, &ledger, 1).await;
}
