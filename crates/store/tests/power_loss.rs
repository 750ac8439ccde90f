//! The inbox under simulated power loss: one seed is one life of a disk with a few crashes in it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says no more clearly that it failed")]

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use reelcase_store::inbox::{
    DamageKind, InboxOptions, Position,
    sim::{Chance, Driver, Fault, Operation, SimFiles, Trouble},
};

const SEED_COUNT: u64 = 2_000;
const CRASHES_PER_SEED: usize = 2;
const STEPS_PER_LIFE: usize = 16;

fn small_options() -> InboxOptions {
    InboxOptions { segment_bytes: 16 << 10, inbox_bytes_max: 160 << 10, ..InboxOptions::default() }
}

/// What the inbox must know and may know.
#[derive(Default)]
struct Ledger {
    /// Everything ever handed in, by the number that its first eight bytes are.
    sent: BTreeMap<u64, Vec<u8>>,
    /// Acknowledged or handed back, and not released.
    waiting: BTreeMap<Position, u64>,
    acked_count: u64,
}

impl Ledger {
    fn write_record(&mut self, chance: &mut Chance) -> Vec<u8> {
        let id = self.sent.len() as u64;
        let body_bytes = if chance.percent(10) { chance.below(6000) } else { chance.below(600) };
        let mut record = id.to_le_bytes().to_vec();
        record.resize(8 + body_bytes, chance.draw() as u8);
        self.sent.insert(id, record.clone());
        record
    }

    fn reopen(&mut self, files: &SimFiles, seed: u64) -> Driver {
        let mut found = BTreeMap::new();
        let mut ids = HashSet::new();
        let recovered = |position: Position, record: Vec<u8>| {
            let id = id_of(&record);
            assert_eq!(self.sent.get(&id), Some(&record), "seed {seed}: record {id} was invented or changed");
            assert!(ids.insert(id), "seed {seed}: record {id} came back twice");
            assert!(found.last_key_value().is_none_or(|(last, _)| *last < position), "seed {seed}: out of order");
            found.insert(position, id);
        };
        let (driver, recovery) = Driver::open(Arc::new(files.clone()), &small_options(), recovered)
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        for (position, id) in &self.waiting {
            assert_eq!(found.get(position), Some(id), "seed {seed}: acknowledged record {id} is lost: {recovery:?}");
        }
        assert!(
            recovery.damage.iter().all(|damage| damage.kind == DamageKind::Torn),
            "seed {seed}: a power loss was taken for damage: {recovery:?}"
        );
        // What came back is the inbox's to keep from now on, acknowledged or not.
        self.waiting = found;
        driver
    }

    fn live(&mut self, driver: &mut Driver, files: &SimFiles, chance: &mut Chance, seed: u64) {
        for _ in 0..STEPS_PER_LIFE {
            if files.is_dark() {
                return;
            }
            match chance.below(10) {
                0 => driver.maintain(),
                1..=3 => {
                    let done: Vec<_> = self.waiting.keys().filter(|_| chance.percent(60)).copied().collect();
                    for position in done {
                        self.waiting.remove(&position);
                        driver.release(position);
                    }
                }
                _ => {
                    let batch: Vec<_> = (0..=chance.below(6)).map(|_| self.write_record(chance)).collect();
                    for (record, answer) in batch.iter().zip(driver.commit(&batch)) {
                        let Ok(position) = answer else { continue };
                        self.acked_count += 1;
                        let before = self.waiting.insert(position, id_of(record));
                        assert_eq!(before, None, "seed {seed}: two records at one place");
                    }
                }
            }
        }
    }
}

fn id_of(record: &[u8]) -> u64 {
    u64::from_le_bytes(record[..8].try_into().unwrap())
}

fn any_fault(chance: &mut Chance) -> Fault {
    let operations = [
        Operation::Create,
        Operation::Write,
        Operation::Sync,
        Operation::Rename,
        Operation::Remove,
        Operation::SyncDir,
    ];
    let troubles = [Trouble::NoSpace, Trouble::Io, Trouble::Interrupted, Trouble::Short];
    Fault {
        operation: operations[chance.below(operations.len())],
        skip: chance.below(12) as u64,
        count: 1 + chance.below(3) as u64,
        trouble: troubles[chance.below(troubles.len())],
    }
}

/// Lives through one seed and says how many records were acknowledged.
fn live_through(seed: u64, has_faults: bool) -> u64 {
    let mut chance = Chance::new(seed);
    let mut files = SimFiles::new(seed);
    let mut ledger = Ledger::default();
    for _ in 0..CRASHES_PER_SEED {
        let mut driver = ledger.reopen(&files, seed);
        if has_faults {
            (0..2).for_each(|_| files.fail(any_fault(&mut chance)));
        }
        if chance.percent(70) {
            files.cut_power_after(1 + chance.below(60) as u64);
        }
        ledger.live(&mut driver, &files, &mut chance, seed);
        if !files.is_dark() && chance.percent(10) {
            driver.close();
        }
        files = files.crash(chance.draw());
    }
    ledger.reopen(&files, seed);
    ledger.acked_count
}

#[test]
fn power_loss_loses_nothing_acknowledged_and_invents_nothing() {
    let acked: u64 = (0..SEED_COUNT).map(|seed| live_through(seed, false)).sum();
    assert!(acked > 15 * SEED_COUNT, "only {acked} records were acknowledged: the test tests too little");
}

#[test]
fn power_loss_on_a_failing_disk_loses_nothing_acknowledged() {
    let acked: u64 = (SEED_COUNT..2 * SEED_COUNT).map(|seed| live_through(seed, true)).sum();
    assert!(acked > 15 * SEED_COUNT, "only {acked} records were acknowledged: the test tests too little");
}
