//! What PostHog's bucket and tables and other programs wrap around events, and what becomes of it where it is damaged.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

use std::io::{self, Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use reelcase_transform::foreign::{ForeignReader, Limits};
use reelcase_transform::stream::{ReadEvents, ReadReport};

const ONE: &str = r#"{"type":4,"data":{"href":"ä","width":8,"height":6},"timestamp":1}"#;
const TWO: &str = r#"{"timestamp":2.5,"data":{"n":[{"x":1}]},"type":3}"#;

/// Window and event, for each event that was read.
type Found = Vec<(String, String)>;

fn read_from(source: impl Read) -> (Found, ReadReport) {
    let mut reader = ForeignReader::new(source, Limits::default()).unwrap();
    let mut found = Vec::new();
    while let Some(event) = reader.next_event().unwrap() {
        found.push((event.window.to_owned(), String::from_utf8_lossy(event.json).into_owned()));
    }
    (found, reader.report().clone())
}

fn read(bytes: &[u8]) -> (Found, ReadReport) {
    read_from(bytes)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn snappy(plain: &str) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(plain.as_bytes()).unwrap()
}

fn with_length(block: &[u8]) -> Vec<u8> {
    [&(block.len() as u32).to_be_bytes()[..], block].concat()
}

fn utf16(text: &str) -> Vec<u8> {
    [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

/// A line as PostHog stores it. Its window has the length of a real one.
fn line(event: &str) -> String {
    format!("[\"019a0000-0000-7000-8000-0000000000aa\",{event}]")
}

/// Lines of a page that says much twice and much once, as pages do.
fn long_lines(count: usize) -> String {
    let event = |at: usize| {
        let noise: String = (0..200).map(|step| format!("{:x}", (at * 7919 + step * 104_729) % 65_521)).collect();
        format!(r#"{{"type":3,"timestamp":{at},"data":{{"text":"{noise}","again":"{}"}}}}"#, "div ".repeat(50))
    };
    (0..count).map(|at| line(&event(at)) + "\n").collect()
}

#[test]
fn a_block_of_posthogs_bucket_is_recognised() {
    let plain = format!("{}\n{}\n", line(ONE), line(TWO));
    let whole = [snappy(&plain), vec![0; 1024]].concat();
    for bytes in [snappy(&plain), whole.clone(), [vec![0; 100_000], whole].concat()] {
        let (found, report) = read(&bytes);
        let events: Vec<_> = found.iter().map(|(_, event)| event.as_str()).collect();
        assert_eq!(events, [ONE, TWO]);
        assert_eq!(found[0].0, "019a0000-0000-7000-8000-0000000000aa");
        assert_eq!(report.damage, []);
    }
}

#[test]
fn blocks_with_their_lengths_are_read_one_after_another() {
    // The first has no newline at its end, as no last line needs one.
    let answer: Vec<u8> =
        [line(ONE), line(TWO) + "\n", long_lines(900)].iter().flat_map(|lines| with_length(&snappy(lines))).collect();
    let (found, report) = read(&answer);
    assert_eq!((found.len(), report.damage), (902, vec![]));
    let (found, report) = read(&answer[..answer.len() - 5_000]);
    assert!(found.len() > 700 && found.len() < 902, "{}", found.len());
    assert!(report.damage[0].what.contains("the file ends within a block of snappy"), "{:?}", report.damage);
}

#[test]
fn a_batch_of_many_recordings_is_not_mixed_into_one() {
    let two = [snappy(&line(ONE)), snappy(&line(TWO))].concat();
    let (found, report) = read(&two);
    assert_eq!(found.len(), 1);
    assert!(report.damage[0].what.contains("cut it by the ranges of its block urls"), "{:?}", report.damage);
}

#[test]
fn a_block_of_any_length_is_recognised() {
    // What comes first is the length, seven bits of it to a byte.
    for more in 0..128 {
        let event = format!(r#"{{"type":5,"timestamp":1,"data":{{"tag":"{}"}}}}"#, "t".repeat(200 + more));
        let (found, report) = read(&snappy(&line(&event)));
        assert_eq!((found.len(), report.damage), (1, vec![]), "{more}");
    }
}

#[test]
fn posthogs_first_bucket_is_recognised() {
    let lines = format!("{{\"window_id\":\"a\",\"data\":[{ONE},{TWO}]}}\n{{\"window_id\":\"b\",\"data\":[{TWO}]}}\n");
    let windows: Vec<String> = read(&gzip(lines.as_bytes())).0.into_iter().map(|(window, _)| window).collect();
    assert_eq!(windows, ["a", "a", "b"]);
}

#[test]
fn posthogs_oldest_files_are_recognised() {
    let text = format!(r#"{{"version":"2022-12-22","snapshot_data_by_window_id":{{"w1":[{ONE}],"w2":[{TWO}]}}}}"#);
    let file = STANDARD.encode(gzip(&utf16(&text)));
    let expected = [("w1".to_owned(), ONE.to_owned()), ("w2".to_owned(), TWO.to_owned())];
    assert_eq!(read(file.as_bytes()).0, expected);
    let folded: Vec<String> =
        file.as_bytes().chunks(76).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    assert_eq!(read(folded.join("\r\n").as_bytes()).0, expected);
}

#[test]
fn lone_surrogates_of_utf16_become_escapes() {
    let mut units: Vec<u16> = vec![0xfeff];
    units.extend(r#"{"type":5,"timestamp":1,"data":"😀"#.encode_utf16());
    units.extend([0xd83d, 0x78, 0xde00]);
    units.extend(r#""}"#.encode_utf16());
    let expected = r#"{"type":5,"timestamp":1,"data":"😀\ud83dx\ude00"}"#;
    for bytes in [
        units.iter().flat_map(|unit| unit.to_le_bytes()).collect::<Vec<u8>>(),
        units.iter().flat_map(|unit| unit.to_be_bytes()).collect(),
    ] {
        assert_eq!(read(&bytes).0[0].1, expected);
    }
}

/// Rows of PostHog's table of 2023: the events of one request, cut up.
fn rows(id: &str, window: &str, events: &str, pieces: usize) -> Vec<String> {
    let body = STANDARD.encode(gzip(&utf16(events)));
    let piece_bytes = body.len().div_ceil(pieces);
    let piece = |(index, data): (usize, &[u8])| {
        let data = std::str::from_utf8(data).unwrap();
        let chunk = serde_json::json!({
            "chunk_id": id, "chunk_index": index, "chunk_count": pieces, "data": data, "compression": "gzip-base64",
            "has_full_snapshot": false, "events_summary": [{ "type": 4, "timestamp": 1, "data": {} }],
        });
        serde_json::json!({ "session_id": "s", "window_id": window, "snapshot_data": chunk.to_string() }).to_string()
    };
    body.as_bytes().chunks(piece_bytes).enumerate().map(piece).collect()
}

#[test]
fn rows_of_posthogs_first_table_are_put_together() {
    let (first, second) = (rows("c1", "a", &format!("[{ONE},{TWO}]"), 3), rows("c2", "b", &format!("[{TWO}]"), 2));
    let plain = serde_json::json!({ "session_id": "s", "window_id": "c", "snapshot_data": ONE }).to_string();
    let mixed = [&first[2], &second[0], &first[0], &plain, &second[1], &first[1]].map(String::as_str);
    for file in [mixed.join("\n"), format!("[{}]", mixed.join(","))] {
        let mut reader = ForeignReader::new(file.as_bytes(), Limits::default()).unwrap();
        let mut found = Vec::new();
        while let Some(event) = reader.next_event().unwrap() {
            found.push((event.window.to_owned(), String::from_utf8_lossy(event.json).into_owned()));
        }
        let of = |window: &str, event: &str| (window.to_owned(), event.to_owned());
        assert_eq!(found, [of("c", ONE), of("b", TWO), of("a", ONE), of("a", TWO)]);
        assert_eq!(reader.header().recording.as_ref().unwrap().as_str(), "s");
        assert_eq!(reader.report().damage, []);
    }
    let (found, report) = read(first[..2].join("\n").as_bytes());
    assert_eq!(found.len(), 0);
    assert_eq!(report.damage[0].to_string(), "byte 0, event 0: only 2 of 3 chunks of c1 are there");
}

#[test]
fn a_saved_session_of_numbers_is_recognised() {
    let session = format!(r#"{{"sessionId":"mine","url":"/","events":[{ONE},{TWO}]}}"#);
    let numbers = gzip(session.as_bytes());
    let compact = serde_json::to_string(&numbers).unwrap();
    let spread = serde_json::to_string_pretty(&numbers).unwrap();
    for file in [
        format!(r#"{{"compressed":true,"algorithm":"gzip","data":{compact}}}"#),
        format!("{{ \"data\" : {spread} ,\n \"compressed\" : true }}"),
    ] {
        let mut reader = ForeignReader::new(file.as_bytes(), Limits::default()).unwrap();
        assert_eq!(reader.next_event().unwrap().unwrap().json, ONE.as_bytes());
        assert_eq!(reader.next_event().unwrap().unwrap().json, TWO.as_bytes());
        assert!(reader.next_event().unwrap().is_none());
        assert_eq!(reader.header().recording.as_ref().unwrap().as_str(), "mine");
    }
    let broken = format!(r#"{{"data":{}"#, &compact[..compact.len() - 40]);
    assert!(read(broken.as_bytes()).1.damage[0].what.contains("a list of bytes has no end"));
    let wrong = format!(r#"{{"data":{}"#, compact.replacen("31,139", "31,139,300", 1));
    assert!(read(wrong.as_bytes()).1.damage[0].what.contains("a number above 255"));
}

#[test]
fn json_is_never_taken_for_snappy() {
    for blanks in ["", " ", "  ", "\n", "\t ", "\r\n  "] {
        for text in [format!("{blanks}[{blanks}{ONE},{TWO}{blanks}]"), format!("\u{feff}{blanks}[ {ONE},{TWO}]")] {
            assert_eq!(read(text.as_bytes()).0.len(), 2, "{text:?}");
        }
    }
}

/// Hands out a few bytes at a time, as pipes do.
struct Trickle<'a>(&'a [u8], usize);

impl Read for Trickle<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let bytes = self.1.min(out.len()).min(self.0.len());
        let (now, later) = self.0.split_at(bytes);
        out[..bytes].copy_from_slice(now);
        self.0 = later;
        Ok(bytes)
    }
}

/// Every wrapping, around the same lines.
fn wrappings(lines: &str) -> [Vec<u8>; 5] {
    let session = gzip(lines.as_bytes());
    [
        snappy(lines),
        with_length(&snappy(lines)),
        STANDARD.encode(gzip(&utf16(lines))).into_bytes(),
        serde_json::json!({ "compressed": true, "data": session }).to_string().into_bytes(),
        [vec![0; 5_000], snappy(lines)].concat(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_was_wrapped_comes_back(count in 1usize..300, step in 1usize..5_000) {
        let lines = long_lines(count);
        let expected: Vec<&str> = lines.lines().collect();
        for file in wrappings(&lines) {
            let (found, report) = read_from(Trickle(&file, step));
            prop_assert_eq!(&report.damage, &[]);
            let found: Vec<String> = found.iter().map(|(_, event)| line(event)).collect();
            prop_assert!(found == expected);
        }
    }

    #[test]
    fn what_is_cut_off_gives_what_is_there_and_says_so(count in 20usize..200, share in 0.3f64..0.95) {
        let lines = long_lines(count);
        for file in wrappings(&lines) {
            let cut = (file.len() as f64 * share) as usize;
            let (found, report) = read(&file[..cut.max(6_000).min(file.len() - 1)]);
            prop_assert!(!report.damage.is_empty());
            prop_assert_eq!(report.damage[0].event_index, found.len() as u64);
            for ((_, event), expected) in found.iter().zip(lines.lines()) {
                prop_assert_eq!(line(event), expected);
            }
        }
    }

    #[test]
    fn damaged_wrappings_are_survived(count in 1usize..40, flips in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..5)) {
        for mut file in wrappings(&long_lines(count)) {
            for (at, bit) in &flips {
                let at = usize::from(*at) % file.len();
                file[at] ^= 1 << (bit % 8);
            }
            if let Ok(mut reader) = ForeignReader::new(file.as_slice(), Limits::default()) {
                while let Ok(Some(_)) = reader.next_event() {}
            }
        }
    }
}
