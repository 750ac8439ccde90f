//! The zip that PostHog makes of a recording for its staff. The sample was packed by Python, as PostHog packs it.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use rawzip::{CompressionMethod, ZipArchiveWriter};
use reelcase_transform::staff::{FIGURES, StaffError, StaffReader};
use reelcase_transform::stream::{ReadEvents, ReadReport};
use reelcase_transform::zip::ZipLimits;
use serde_json::{Value, json};

const WINDOW: &str = "019ac5f6-0000-7000-8000-00000000000a";
const ROW: &str = "clickhouse/session-replay-events.json";

fn sample() -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/posthog-staff.zip")).unwrap()
}

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

fn open_within(bytes: &[u8], limits: &ZipLimits) -> Result<StaffReader, StaffError> {
    StaffReader::open(file(bytes), limits)
}

fn open(bytes: &[u8]) -> Result<StaffReader, StaffError> {
    open_within(bytes, &ZipLimits::default())
}

/// Windows and events, and how the reading went.
fn read(bytes: &[u8]) -> (Vec<(String, String)>, ReadReport) {
    let (mut reader, mut found) = (open(bytes).unwrap(), Vec::new());
    while let Some(event) = reader.next_event().unwrap() {
        found.push((event.window.to_owned(), String::from_utf8(event.json.to_vec()).unwrap()));
    }
    (found, reader.report().clone())
}

fn refused(bytes: &[u8]) -> String {
    open(bytes).err().map(|error| error.to_string()).unwrap_or_default()
}

fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipArchiveWriter::new(Vec::new());
    for (name, content) in entries {
        let (mut entry, config) = zip.new_file(*name).compression_method(CompressionMethod::DEFLATE).start().unwrap();
        let mut writer = config.wrap(DeflateEncoder::new(&mut entry, Compression::default()));
        writer.write_all(content).unwrap();
        let (encoder, descriptor) = writer.finish().unwrap();
        encoder.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    zip.finish().unwrap()
}

/// A block as it lies in the zip, of one event at this time.
fn block(timestamp: u64, offset: usize) -> Vec<u8> {
    let line = format!("[\"w\",{{\"type\":5,\"timestamp\":{timestamp},\"data\":{{\"tag\":\"t\"}}}}]\n");
    let packed = snap::raw::Encoder::new().compress_vec(line.as_bytes()).unwrap();
    [vec![0; offset], packed, vec![0; 1024]].concat()
}

fn row(urls: &[&str]) -> Vec<u8> {
    json!({ "meta": [], "data": [{ "session_id": "one", "block_urls": urls }] }).to_string().into_bytes()
}

#[test]
fn what_posthog_packed_is_a_recording_with_all_that_is_beside_it() {
    let (found, report) = read(&sample());
    let kinds: Vec<_> =
        found.iter().map(|(_, event)| serde_json::from_str::<Value>(event).unwrap()["type"].as_u64()).collect();
    assert_eq!(kinds, [Some(4), Some(2), Some(3), Some(5)]);
    assert!(found.iter().all(|(window, _)| window == WINDOW));
    assert_eq!((report.damage, report.other_line_count), (vec![], 2));
    let reader = open(&sample()).unwrap();
    let header = reader.header();
    assert_eq!(header.recording.as_ref().unwrap().as_str(), "019ac5f6-f0e5-7fcc-b32c-e48b1b64477b");
    assert_eq!(
        (header.source.as_deref(), &header.distinct_ids[..]),
        (Some("web"), &["ada", "anonymous"].map(String::from)[..])
    );
    assert_eq!(header.person_properties["email"], "ada@shop.test");
    let beside = reader.beside();
    let lines: Vec<Value> = beside.events.iter().map(|line| serde_json::from_slice(&line.json).unwrap()).collect();
    assert_eq!((lines[0]["event"].as_str(), lines[0]["timestamp"].as_u64()), (Some("$pageview"), Some(1764254906424)));
    assert_eq!(
        (&lines[0]["window_id"], &lines[0]["uuid"]),
        (&WINDOW.into(), &"019ac5f6f0e57fccb32c000000000001".into())
    );
    let figures = &beside.summary[FIGURES];
    assert_eq!(
        (&figures["click_count"], &figures["distinct_id"], figures.get("block_urls")),
        (&1.into(), &"ada".into(), None)
    );
}

#[test]
fn names_are_names_wherever_they_lead() {
    let (one, two) = (block(1, 0), block(2, 70_000));
    for folder in ["", "export/", "../../etc/", "/"] {
        let names = ["data/1-a", "data/2-b", ROW].map(|name| format!("{folder}{name}"));
        let beside = [("__MACOSX/data/._1-a", &b"fork"[..]), ("data/.DS_Store", b"more"), ("readme.txt", b"text")];
        let entries = [(names[1].as_str(), &two[..]), (&names[0], &one), (&names[2], &row(&[]))];
        let (found, report) = read(&zip(&[&entries[..], &beside].concat()));
        assert_eq!((found.len(), report.damage), (2, vec![]), "{folder}");
        assert!(found[0].1.contains("\"timestamp\":1,"), "by the names of the batches: {found:?}");
    }
    let two_exports = [("a/data/1-a", &one[..]), (&format!("b/{ROW}"), &row(&[]))];
    assert!(refused(&zip(&two_exports)).contains("several exports in this zip, in \"a/\" and \"b/\""));
    for other in [&[][..], &[("word/document.xml", &b"<w/>"[..])], &[("data/1-a", &one[..])]] {
        assert!(refused(&zip(other)).contains("no recording in this zip"), "{}", refused(&zip(other)));
    }
}

#[test]
fn a_block_that_is_there_twice_comes_once_and_one_that_is_missing_is_named() {
    let (once, again, other) = (block(1, 0), block(1, 5_000), block(2, 10));
    let urls = ["s3://p/30d/1-a?range=bytes=0-9", "s3://p/30d/2-b?range=bytes=0-9", "s3://p/30d/3-c?range=bytes=0-9"];
    let entries = [("data/1-a", &once[..]), ("data/2-b", &again), ("data/3-c", &other), (ROW, &row(&urls))];
    let (found, report) = read(&zip(&entries));
    assert_eq!((found.len(), report.damage), (2, vec![]));
    // Of two blocks in one batch PostHog keeps one, and what it cannot fetch it leaves out.
    let more = [&urls[..], &["s3://p/30d/3-c?range=bytes=90-99", "s3://p/30d/4-d?range=bytes=0-9"]].concat();
    let entries = [("data/1-a", &once[..]), ("data/2-b", &again), ("data/3-c", &other), (ROW, &row(&more))];
    let (found, report) = read(&zip(&entries));
    assert_eq!((found.len(), report.damage.len()), (2, 1));
    assert!(
        report.damage[0].what.ends_with("2 of the 5 blocks that it names are missing: 3-c, 4-d"),
        "{:?}",
        report.damage
    );
}

/// Where the directory has the entry of this number, and where that field of it lies.
fn in_directory(zip: &[u8], number: usize, field: usize) -> usize {
    memchr::memmem::find_iter(zip, b"PK\x01\x02").nth(number).unwrap() + field
}

#[test]
fn hostile_zips_are_bounded_and_refused_with_the_place() {
    let (one, urls) = (block(1, 3_000_000), row(&[]));
    let honest = zip(&[("data/1-a", &one), (ROW, &urls)]);
    let change = |number, field, bytes: &[u8]| {
        let (mut zip, at) = (honest.clone(), in_directory(&honest, number, field));
        zip[at..at + bytes.len()].copy_from_slice(bytes);
        zip
    };
    let directory = in_directory(&honest, 0, 0);
    for (what, zip, said) in [
        ("a password", change(0, 8, &[9, 0]), "byte 0: data/1-a is encrypted with a password"),
        ("entries that lie in each other", change(1, 42, &[0; 4]), "lie in each other"),
        ("an entry beyond the end", change(1, 42, &[0xff, 0xff, 0xff, 0x0f]), "byte 268435455: clickhouse/session-"),
        (
            "no signature",
            change(1, 42, &[1, 0, 0, 0]),
            "byte 1: clickhouse/session-replay-events.json: no entry begins there",
        ),
        ("other counts", change(1, 0, b"PKxx"), &format!("byte {directory}: ")),
    ] {
        assert!(refused(&zip).contains(said), "{what}: {}", refused(&zip));
    }
    let limits = |limits: ZipLimits| open_within(&honest, &limits).err().unwrap().to_string();
    let least =
        |entries_max, entry_bytes_max, total_bytes_max| ZipLimits { entries_max, entry_bytes_max, total_bytes_max };
    assert_eq!(limits(least(1, u64::MAX, u64::MAX)), "the zip has more than 1 entries");
    assert_eq!(limits(least(2, 3_000_000, u64::MAX)), "the zip has more than 3000000 bytes in one entry");
    assert_eq!(limits(least(2, u64::MAX, 3_001_100)), "the zip has more than 3001100 bytes in all its entries");
}

#[test]
fn an_entry_that_is_not_what_the_directory_says_is_named_and_costs_no_other() {
    let honest = zip(&[("data/1-a", &block(1, 3_000_000)), ("data/2-b", &block(2, 0)), (ROW, &row(&[]))]);
    for (field, bytes, said) in [
        (24, [9, 0, 0, 0], "data/1-a: byte 0: it is not of the 9 bytes that the directory says"),
        (16, [1, 2, 3, 4], "its checksum is another one than the directory says"),
        (10, [12, 0, 8, 0], "data/1-a: it is compressed by method 12, and 0 and 8 are read"),
    ] {
        let mut zip = honest.clone();
        let at = in_directory(&zip, 0, field);
        let length = if field == 10 { 2 } else { 4 };
        zip[at..at + length].copy_from_slice(&bytes[..length]);
        let (found, report) = read(&zip);
        assert!(found.iter().any(|(_, event)| event.contains("\"timestamp\":2,")), "field {field}");
        assert_eq!((report.damage.len(), report.damage[0].at), (1, 0), "{:?}", report.damage);
        assert!(report.damage[0].what.contains(said), "{:?}", report.damage);
    }
}

#[test]
fn a_zip_that_is_cut_off_says_where_and_one_that_is_damaged_never_lies() {
    let whole = sample();
    let (all, _) = read(&whole);
    for cut in 4..whole.len() {
        let refused = refused(&whole[..cut]);
        assert!(refused.contains("byte "), "cut at {cut}: {refused}");
    }
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        let Ok(mut reader) = open(&flipped) else { continue };
        let mut found = Vec::new();
        while let Some(event) = reader.next_event().unwrap() {
            found.push((event.window.to_owned(), String::from_utf8(event.json.to_vec()).unwrap()));
        }
        assert!(
            found == all || !reader.report().damage.is_empty(),
            "flipped at {at}: {} events and no word",
            found.len()
        );
    }
}
