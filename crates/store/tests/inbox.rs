//! The inbox against cut, flipped and refusing disks, and on the real file system.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says no more clearly that it failed")]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use reelcase_store::inbox::{
    DamageKind, DiskFiles, Files, Inbox, InboxError, InboxOptions, Position, Recovery,
    sim::{Chance, Driver, Fault, Operation, SimFiles, Trouble},
};

const SEGMENT_BYTES: u64 = 64 << 10;

fn options() -> InboxOptions {
    InboxOptions { segment_bytes: SEGMENT_BYTES, inbox_bytes_max: 8 * SEGMENT_BYTES, ..InboxOptions::default() }
}

fn open(files: &SimFiles) -> (Driver, Recovery, Vec<(Position, Vec<u8>)>) {
    let mut found = Vec::new();
    let recovered = |position, record| found.push((position, record));
    let (driver, recovery) = Driver::open(Arc::new(files.clone()), &options(), recovered).unwrap();
    (driver, recovery, found)
}

fn record(number: usize, record_bytes: usize) -> Vec<u8> {
    let mut chance = Chance::new(number as u64);
    (0..record_bytes).map(|_| chance.draw() as u8).collect()
}

fn records_of(found: &[(Position, Vec<u8>)]) -> Vec<&Vec<u8>> {
    found.iter().map(|(_, record)| record).collect()
}

/// One segment nearly full of records in batches of three, left as a killed process leaves it.
fn filled() -> (SimFiles, String, Vec<(Position, Vec<u8>)>) {
    let files = SimFiles::new(0);
    let (mut driver, ..) = open(&files);
    let mut written = Vec::new();
    for number in 0..7 {
        let batch: Vec<_> = (0..3).map(|part| record(number * 3 + part, 2900 + 41 * part)).collect();
        let positions = driver.commit(&batch).into_iter().map(Result::unwrap);
        written.extend(positions.zip(batch));
    }
    let name = files.names().remove(0);
    (files, name, written)
}

#[test]
fn log_cut_at_any_byte_gives_back_its_prefix() {
    let (files, name, written) = filled();
    let contents = files.contents(&name);
    let ends: Vec<_> = written.iter().map(|(at, _)| at.offset as usize + 40 + at.len as usize).collect();
    let check = |cut: usize| {
        let files = SimFiles::new(0);
        files.put(&name, contents[..cut].to_vec());
        let (_, recovery, found) = open(&files);
        let whole = ends.iter().filter(|end| **end <= cut).count();
        assert!(found == written[..whole], "cut at {cut}");
        assert!(recovery.damage.iter().all(|damage| damage.kind == DamageKind::Torn), "cut at {cut}");
    };
    std::thread::scope(|scope| {
        scope.spawn(|| (0..contents.len()).step_by(2).for_each(check));
        scope.spawn(|| (1..contents.len()).step_by(2).for_each(check));
    });
}

#[test]
fn flipped_bits_are_found_or_harmless_and_cost_one_record() {
    let (files, name, written) = filled();
    let contents = files.contents(&name);
    let end = written.last().map(|(at, _)| (at.offset + 40 + u64::from(at.len)) as usize).unwrap();
    for seed in 0..1000 {
        let mut flipped = contents.clone();
        let bit = Chance::new(seed).below(contents.len() * 8);
        flipped[bit / 8] ^= 1 << (bit % 8);
        let files = SimFiles::new(0);
        files.put(&name, flipped);
        let (_, recovery, found) = open(&files);
        assert!(found.iter().all(|record| written.contains(record)), "seed {seed}: a record was changed");
        let lost = written.len() - found.len();
        assert!(lost <= 1, "seed {seed}: {lost} records lost");
        assert!(lost == recovery.damage.len(), "seed {seed}, bit {bit}: {recovery:?}");
        assert!(bit / 8 < end || lost == 0, "seed {seed}: a bit beyond the records cost one");
    }
}

#[test]
fn damaged_segment_is_reported_and_set_aside_once_its_good_records_are_released() {
    let (files, name, written) = filled();
    let mut contents = files.contents(&name);
    let hit = written[7].0;
    contents[hit.offset as usize + 100] ^= 1;
    files.put(&name, contents.clone());

    let (driver, recovery, found) = open(&files);
    assert_eq!(found.len(), written.len() - 1);
    let [damage] = recovery.damage[..] else { panic!("{recovery:?}") };
    assert_eq!((damage.segment, damage.offset, damage.kind), (hit.segment, hit.offset, DamageKind::Corrupt));

    found.iter().for_each(|(position, _)| driver.release(*position));
    driver.maintain();
    assert_eq!(files.contents(&name.replace(".log", ".damaged")), contents, "kept byte for byte");
}

#[test]
fn unreadable_page_costs_only_the_records_on_it() {
    let (files, _, written) = filled();
    // The window, then its first page.
    files.fail(Fault { operation: Operation::Read, skip: 0, count: 2, trouble: Trouble::Io });
    let (_, recovery, found) = open(&files);
    assert!(recovery.damage.iter().any(|damage| damage.kind == DamageKind::Unreadable), "{recovery:?}");
    assert!(found.len() + 5 >= written.len() && found.len() < written.len());
}

#[test]
fn failed_sync_abandons_the_segment_and_the_next_batch_goes_to_another() {
    for trouble in [Trouble::Io, Trouble::NoSpace] {
        let files = SimFiles::new(1);
        let (mut driver, ..) = open(&files);
        let kept = driver.commit(&[record(0, 500)])[0].clone().unwrap();
        files.fail(Fault { operation: Operation::Sync, skip: 0, count: 1, trouble });
        assert!(matches!(driver.commit(&[record(1, 500)])[0], Err(InboxError::Disk { .. })));
        assert!(driver.stats().failing.is_some());

        let next = driver.commit(&[record(2, 500)])[0].clone().unwrap();
        assert_ne!(next.segment, kept.segment, "acknowledged from a segment whose sync had failed");
        assert!(driver.stats().failing.is_none());
        assert_eq!(driver.read(kept).unwrap(), record(0, 500));
        let (_, _, found) = open(&files.crash(3));
        assert!(found.contains(&(kept, record(0, 500))) && found.contains(&(next, record(2, 500))));
    }
}

#[test]
fn failed_writes_are_not_acknowledged_and_short_ones_are_finished() {
    let files = SimFiles::new(1);
    let (mut driver, ..) = open(&files);
    files.fail(Fault { operation: Operation::Write, skip: 0, count: 3, trouble: Trouble::Short });
    let short = driver.commit(&[record(0, 5000)])[0].clone().unwrap();
    files.fail(Fault { operation: Operation::Write, skip: 0, count: 1, trouble: Trouble::Interrupted });
    let interrupted = driver.commit(&[record(1, 5000)])[0].clone().unwrap();
    files.fail(Fault { operation: Operation::Write, skip: 0, count: 1, trouble: Trouble::Io });
    assert!(driver.commit(&[record(2, 5000)])[0].is_err());
    let (_, _, found) = open(&files.crash(1));
    assert_eq!(found, [(short, record(0, 5000)), (interrupted, record(1, 5000))]);
}

#[test]
fn full_disk_refuses_and_works_again_when_there_is_room() {
    for _ in 0..20 {
        let files = SimFiles::new(1);
        let (mut driver, ..) = open(&files);
        files.set_capacity_bytes(2 * SEGMENT_BYTES + 100);
        let mut acked = Vec::new();
        let refusal = loop {
            match driver.commit(&[record(acked.len(), 7000)]).remove(0) {
                Ok(position) => acked.push((position, record(acked.len(), 7000))),
                Err(error) => break error,
            }
        };
        assert!(matches!(&refusal, InboxError::Disk { .. }), "{refusal}");
        files.set_capacity_bytes(u64::MAX);
        acked.push((driver.commit(&[record(acked.len(), 7000)])[0].clone().unwrap(), record(acked.len(), 7000)));
        assert_eq!(open(&files.crash(5)).2, acked);
    }
}

#[test]
fn full_inbox_refuses_by_name_until_records_are_released() {
    let files = SimFiles::new(1);
    let (mut driver, ..) = open(&files);
    let mut acked = Vec::new();
    let refusal = loop {
        match driver.commit(&[record(0, 7000)]).remove(0) {
            Ok(position) => acked.push(position),
            Err(error) => break error,
        }
    };
    assert!(matches!(refusal, InboxError::Full { .. }), "{refusal}");
    assert!(driver.stats().disk_bytes <= options().inbox_bytes_max);
    assert_eq!(driver.stats().bytes_waiting, acked.len() as u64 * 7000);

    acked.iter().for_each(|position| driver.release(*position));
    acked.iter().for_each(|position| driver.release(*position));
    assert_eq!(driver.stats().bytes_waiting, 0);
    assert!(driver.commit(&[record(0, 7000)])[0].is_ok());
}

#[test]
fn largest_record_fits_and_one_byte_more_is_refused() {
    let files = SimFiles::new(1);
    let (mut driver, ..) = open(&files);
    let largest = SEGMENT_BYTES as usize - 80;
    assert!(driver.commit(&[vec![7; largest]])[0].is_ok());
    assert!(matches!(driver.commit(&[vec![7; largest + 1]])[0], Err(InboxError::TooLarge { .. })));
    assert!(driver.commit(&[Vec::new()])[0].is_ok());
    assert_eq!(open(&files).2.len(), 2);
}

#[test]
fn recycled_segments_never_bring_old_records_back() {
    let files = SimFiles::new(1);
    let (mut driver, ..) = open(&files);
    for round in 0..40 {
        // The same size each time, so that old heads lie exactly where new ones would.
        let positions: Vec<_> = (0..8).map(|_| driver.commit(&[record(round, 7000)])[0].clone().unwrap()).collect();
        positions.iter().for_each(|position| driver.release(*position));
        driver.maintain();
    }
    assert!(files.names().len() <= 5, "surplus segments are removed: {:?}", files.names());
    let last = driver.commit(&[record(1000, 100)])[0].clone().unwrap();
    let (_, recovery, found) = open(&files);
    let others = found.iter().filter(|(position, _)| position.segment != last.segment).count();
    assert_eq!(others, 0, "released segments came back");
    assert!(found.contains(&(last, record(1000, 100))) && found.len() <= 9);
    assert_eq!(recovery.damage, [], "leavings of an earlier use are not damage");
}

#[test]
fn closed_inbox_with_nothing_waiting_leaves_nothing_to_read() {
    let files = SimFiles::new(1);
    let (mut driver, ..) = open(&files);
    let position = driver.commit(&[record(0, 500)])[0].clone().unwrap();
    driver.release(position);
    driver.close();
    assert!(files.names().iter().all(|name| name.ends_with(".spare")), "{:?}", files.names());
    let (mut driver, _, found) = open(&files);
    assert_eq!(found, []);
    assert!(driver.commit(&[record(1, 500)])[0].clone().unwrap().segment > position.segment);
}

#[test]
fn newer_format_is_refused_and_foreign_files_are_left_alone() {
    let files = SimFiles::new(1);
    files.put("notes.txt", b"mine".to_vec());
    open(&files).0.close();
    assert_eq!(files.contents("notes.txt"), b"mine");
    files.put("inbox-2-00000000000000000001.log", Vec::new());
    let refused = Driver::open(Arc::new(files), &options(), |_, _| {});
    assert!(matches!(refused, Err(InboxError::TooNew { found: 2, .. })));
}

async fn append_many(inbox: &Arc<Inbox>, count: usize) -> Vec<(Position, Vec<u8>)> {
    let tasks: Vec<_> = (0..count)
        .map(|number| {
            let inbox = Arc::clone(inbox);
            tokio::spawn(async move {
                let body = record(number, 20 + number * 13 % 3000);
                let (head, rest) = body.split_at(body.len() / 2);
                let parts = vec![Bytes::copy_from_slice(head), Bytes::copy_from_slice(rest)];
                (inbox.append(parts).await.unwrap(), body)
            })
        })
        .collect();
    let mut appended = Vec::new();
    for task in tasks {
        appended.push(task.await.unwrap());
    }
    appended.sort();
    appended
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_appends_are_all_on_the_real_disk_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let files = || -> Arc<dyn Files> { Arc::new(DiskFiles::open(dir.path().join("inbox")).unwrap()) };
    let options = InboxOptions { inbox_bytes_max: 256 * SEGMENT_BYTES, queue_entries_max: 64, ..options() };
    let inbox = Arc::new(Inbox::open(files(), options.clone(), |_, _| {}).unwrap().0);
    let appended = append_many(&inbox, 1000).await;
    assert!(appended.iter().all(|(position, body)| inbox.read(*position).unwrap() == *body));
    assert!(inbox.stats().batch_count <= 1000);
    inbox.close();
    assert!(matches!(inbox.append(Vec::new()).await, Err(InboxError::Closed)));
    drop(inbox);

    let mut found = Vec::new();
    let (inbox, recovery) = Inbox::open(files(), options.clone(), |at, body| found.push((at, body))).unwrap();
    assert_eq!(found, appended);
    assert_eq!(recovery.damage, []);
    assert_eq!(inbox.bytes_waiting(), appended.iter().map(|(_, body)| body.len() as u64).sum::<u64>());
    found.iter().for_each(|(position, _)| inbox.release(*position));
    assert_eq!(inbox.bytes_waiting(), 0);
    drop(inbox);
    let (_, recovery) = Inbox::open(files(), options, |_, _| {}).unwrap();
    assert_eq!(recovery.record_count, 0);
}

#[tokio::test]
async fn records_that_nobody_waits_for_share_a_sync_and_an_urgent_one_takes_them_along() {
    let dir = tempfile::tempdir().unwrap();
    let files = || -> Arc<dyn Files> { Arc::new(DiskFiles::open(dir.path().join("inbox")).unwrap()) };
    let inbox = Arc::new(Inbox::open(files(), options(), |_, _| {}).unwrap().0);
    let at_leisure = |inbox: Arc<Inbox>| async move { inbox.append_at_leisure(vec![Bytes::from_static(b"one")]).await };
    let mut tasks: Vec<_> = (0..100).map(|_| tokio::spawn(at_leisure(inbox.clone()))).collect();
    for task in tasks.drain(..) {
        task.await.unwrap().unwrap();
    }
    assert!(inbox.stats().batch_count <= 10, "{} batches", inbox.stats().batch_count);
    let urgent = async { inbox.append(vec![Bytes::from_static(b"urgent")]).await.unwrap() };
    let (before, urgent) = tokio::join!(at_leisure(inbox.clone()), urgent);
    assert!(before.unwrap() < urgent);
    // What is gathered when the inbox is shut is written.
    let (last, ()) = tokio::join!(at_leisure(inbox.clone()), async { inbox.close() });
    let last = last.unwrap();
    let mut found = Vec::new();
    let _ = Inbox::open(files(), options(), |at, _| found.push(at)).unwrap();
    assert_eq!((found.len(), found.last()), (103, Some(&last)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_fail_while_the_disk_does_and_work_again_without_a_restart() {
    let files = SimFiles::new(1);
    let inbox = Arc::new(Inbox::open(Arc::new(files.clone()), options(), |_, _| {}).unwrap().0);
    append_many(&inbox, 10).await;
    files.fail(Fault { operation: Operation::Sync, skip: 0, count: u64::MAX, trouble: Trouble::Io });
    let body = || vec![Bytes::from_static(b"again")];
    for _ in 0..5 {
        assert!(matches!(inbox.append(body()).await, Err(InboxError::Disk { .. })));
    }
    files.heal();
    // The disk is tried again by the clock of the machine, so the only thing to do is to ask until it has been.
    let recovered = async { while inbox.append(body()).await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(5), recovered).await.unwrap();
}

#[tokio::test]
async fn given_up_appends_are_released() {
    let files = SimFiles::new(1);
    let inbox = Inbox::open(Arc::new(files.clone()), options(), |_, _| {}).unwrap().0;
    for number in 0..50 {
        let append = inbox.append(vec![Bytes::from(record(number, 1000))]);
        if let Ok(in_time) = tokio::time::timeout(Duration::ZERO, append).await {
            inbox.release(in_time.unwrap());
        }
    }
    let kept = inbox.append(vec![Bytes::from_static(b"kept")]).await.unwrap();
    inbox.close();
    inbox.release(kept);
    let (_, _, found) = open(&files);
    assert!(records_of(&found).iter().any(|record| ***record == *b"kept"));
    assert_eq!(inbox.stats().records_waiting, 0, "records that nobody can release would wait for ever");
}
