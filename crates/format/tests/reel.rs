//! What `docs/format.md` promises of `.reel` files, from the outside.

// The exemption for tests in clippy.toml does not reach helpers of an integration test.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use reelcase_format::block::{
    BLOCK_PLAIN_BYTES_TARGET, BlockBuilder, BlockError, BlockKind, BlockLimits, EncodedBlock, decode_block,
    encode_block,
};
use reelcase_format::reel::{
    BlockEntry, Index, IndexReader, OBJECT_ID_BYTES_MAX, RecordingEntry, ReelError, ReelHeader, ReelLimits, ReelWriter,
    Source, Step, TAIL_BYTES, recover, verify,
};
use reelcase_format::summary::{Counted, Summary};
use serde_json::{Map, Value, json};

const PROJECT: &str = "phc_test";
const HEADER_FRAME_BYTES: usize = 32;

/// An event as the tests write it: window, rrweb type, timestamp.
type Event = (String, u8, i64);

fn event_line(event: &Event) -> Vec<u8> {
    format!("[{},{{\"type\":{},\"timestamp\":{}}}]\n", json!(event.0), event.1, event.2).into_bytes()
}

fn builder(recording: &str, events: &[Event]) -> BlockBuilder {
    let id = Some(recording.parse().unwrap());
    let mut block = BlockBuilder::new(PROJECT.parse().unwrap(), id, BlockKind::Lines);
    for event in events {
        let counted = Counted {
            window: &event.0,
            kind: event.1,
            timestamp_ms: event.2,
            source: None,
            interaction: None,
            event: b"",
        };
        block.push(&counted, &event_line(event));
    }
    block
}

fn encoded(recording: &str, events: &[Event]) -> EncodedBlock {
    builder(recording, events).encode(3).unwrap()
}

fn events(count: usize) -> Vec<Event> {
    (0..count as i64).map(|at| ("w".to_owned(), if at % 5 == 0 { 2 } else { 3 }, 1_000 + at)).collect()
}

fn header(object: &str) -> ReelHeader {
    ReelHeader { object: object.to_owned(), creator: "test/1".to_owned(), other: Map::new() }
}

fn entry(recording: &str, blocks: Vec<u32>) -> RecordingEntry {
    RecordingEntry {
        id: recording.parse().unwrap(),
        project: PROJECT.parse().unwrap(),
        summary: Summary::default(),
        blocks,
        uploads: Vec::new(),
        metadata: Map::new(),
        replaces: Vec::new(),
        other: Map::new(),
    }
}

/// A file of recordings `r0`, `r1`, … with one block for each list of events.
fn file_of(blocks: &[Vec<Event>]) -> Vec<u8> {
    let (mut writer, mut file) = ReelWriter::new(header("object-1")).unwrap();
    for (at, events) in blocks.iter().enumerate() {
        let (ordinal, bytes) = writer.push_block(encoded(&format!("r{at}"), events)).unwrap();
        file.extend_from_slice(&bytes);
        writer.push_recording(entry(&format!("r{at}"), vec![ordinal]));
    }
    file.extend_from_slice(&writer.finish().unwrap().bytes);
    file
}

fn read_index(file: &[u8]) -> Result<Index, ReelError> {
    read_index_within(file, ReelLimits::default())
}

fn read_index_within(file: &[u8], limits: ReelLimits) -> Result<Index, ReelError> {
    let mut reader = IndexReader::new(file.len() as u64, limits)?;
    for _ in 0..3 {
        match reader.step() {
            Step::Need { offset, len } => reader.supply(&file[offset as usize..][..len])?,
            Step::Index(index) => return Ok(*index),
        }
    }
    panic!("the reader asked for more than two ranges");
}

fn lines_of(file: &[u8], entry: &BlockEntry) -> Result<Vec<u8>, BlockError> {
    let starts = entry.offset as usize;
    let frame = &file[starts..starts + entry.head.stored_bytes as usize];
    decode_block(frame, &entry.head, &BlockLimits::default())
}

/// All blocks that can be read from a file that may be damaged, with or without its index.
fn readable_blocks(file: &[u8]) -> Vec<Vec<u8>> {
    let recovered = recover(file, &ReelLimits::default());
    let mut blocks: Vec<_> = recovered.blocks.iter().map(|entry| lines_of(file, entry).unwrap()).collect();
    if let Ok(index) = read_index(file) {
        blocks.extend(index.blocks.iter().filter_map(|entry| lines_of(file, entry).ok()));
    }
    blocks
}

fn any_event() -> impl Strategy<Value = Event> {
    ("[a-z\"\\\\é]{0,4}", 0u8..8, -5_000i64..5_000)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn files_round_trip(blocks in prop::collection::vec(prop::collection::vec(any_event(), 1..20), 0..5)) {
        let file = file_of(&blocks);
        let index = read_index(&file).unwrap();
        prop_assert_eq!(index.blocks.len(), blocks.len());
        for (entry, events) in index.blocks.iter().zip(&blocks) {
            let lines: Vec<u8> = events.iter().flat_map(event_line).collect();
            prop_assert_eq!(lines_of(&file, entry).unwrap(), lines);
            prop_assert_eq!(entry.head.event_count, events.len() as u64);
            prop_assert_eq!(Some(entry.head.start_ms), events.iter().map(|event| event.2).min());
            prop_assert_eq!(Some(entry.head.end_ms), events.iter().map(|event| event.2).max());
        }
        let report = verify(&file[..], &ReelLimits::default());
        prop_assert_eq!(report.damage, Vec::new());
        prop_assert_eq!(report.block_count, blocks.len() as u64);
        prop_assert_eq!(recover(&file[..], &ReelLimits::default()).blocks, index.blocks);
    }

    #[test]
    fn keyframes_begin_at_a_snapshot_or_the_meta_before_it(events in prop::collection::vec(("[ab]", 2u8..5, 0i64..100), 1..30)) {
        let block = encoded("r", &events);
        let plain = decode_block(block.frame(), block.head(), &BlockLimits::default()).unwrap();
        let snapshots = events.iter().filter(|event| event.1 == 2).count();
        prop_assert_eq!(block.head().keyframes.len(), snapshots);
        for keyframe in &block.head().keyframes {
            let rest = std::str::from_utf8(&plain[keyframe.plain_offset as usize..]).unwrap();
            let start = format!("[\"{}\",{{\"type\":", keyframe.window);
            let own: Vec<&str> = rest.lines().filter_map(|line| line.strip_prefix(&start)).take(2).collect();
            prop_assert!(rest.starts_with(&start));
            let snapshot = if own[0].starts_with('4') { own[1] } else { own[0] };
            prop_assert_eq!(snapshot, format!("2,\"timestamp\":{}}}]", keyframe.timestamp_ms));
        }
    }

    #[test]
    fn random_bytes_are_refused_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(read_index(&bytes).is_err());
        prop_assert!(!verify(&bytes[..], &ReelLimits::default()).damage.is_empty());
    }
}

#[test]
fn cut_off_files_give_back_every_block_before_the_cut() {
    let file = file_of(&[events(12), events(3)]);
    let whole = read_index(&file).unwrap();
    for length in 0..file.len() {
        let cut = &file[..length];
        assert!(read_index(cut).is_err(), "{length}");
        assert!(!verify(cut, &ReelLimits::default()).damage.is_empty(), "{length}");
        let is_before = |entry: &&BlockEntry| entry.offset + entry.head.stored_bytes <= length as u64;
        let before: Vec<_> = whole.blocks.iter().filter(is_before).cloned().collect();
        assert_eq!(recover(cut, &ReelLimits::default()).blocks, before, "{length}");
    }
}

#[test]
fn a_flipped_bit_is_found_and_spoils_one_block_at_most() {
    let file = file_of(&[events(6), events(4)]);
    let originals: HashSet<Vec<u8>> = readable_blocks(&file).into_iter().collect();
    for at in 0..file.len() {
        for bit in 0..8 {
            let mut damaged = file.clone();
            damaged[at] ^= 1 << bit;
            assert!(!verify(&damaged[..], &ReelLimits::default()).damage.is_empty(), "byte {at} bit {bit}");
            assert!(!recover(&damaged[..], &ReelLimits::default()).blocks.is_empty(), "byte {at} bit {bit}");
            let readable = readable_blocks(&damaged);
            assert!(readable.iter().all(|block| originals.contains(block)), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn damage_names_the_byte_and_the_block() {
    let mut file = file_of(&[events(6), events(4), events(2)]);
    let index = read_index(&file).unwrap();
    let middle = index.blocks[1].offset;
    file[middle as usize + 9] ^= 1;
    let report = verify(&file[..], &ReelLimits::default());
    let found: Vec<_> = report.damage.iter().map(|damage| (damage.offset, damage.block)).collect();
    assert_eq!(found, [(middle, Some(1))]);
    assert!(matches!(report.damage[0].what, ReelError::Block(BlockError::Corrupt { .. })));
    assert_eq!(report.block_count, 2);
}

#[test]
fn missing_bytes_in_a_block_cost_that_block_alone() {
    let mut file = file_of(&[events(6), events(4), events(2)]);
    let index = read_index(&file).unwrap();
    let middle = index.blocks[1].offset as usize;
    file.drain(middle + 5..middle + 8);
    let recovered = recover(&file[..], &ReelLimits::default());
    let owners: Vec<_> =
        recovered.blocks.iter().map(|entry| entry.head.recording.clone().unwrap().to_string()).collect();
    assert_eq!(owners, ["r0", "r2"]);
}

#[test]
fn frames_of_others_are_passed_over() {
    let file = file_of(&[events(3)]);
    let (mut writer, mut mixed) = ReelWriter::new(header("object-1")).unwrap();
    let (ordinal, bytes) = writer.push_block(encoded("r0", &events(3))).unwrap();
    let foreign = [&[0x5E, 0x2A, 0x4D, 0x18, 5, 0, 0, 0][..], b"hello"].concat();
    mixed.extend_from_slice(&foreign);
    mixed.extend_from_slice(&bytes);
    let recovered = recover(&mixed[..], &ReelLimits::default());
    assert_eq!(recovered.blocks.len(), 1);
    assert_eq!(recovered.blocks[0].offset, read_index(&file).unwrap().blocks[0].offset + foreign.len() as u64);
    assert_eq!(ordinal, 0);
}

/// A file of which it is known how much was read at once.
struct Watched<'a> {
    file: &'a [u8],
    largest_read_bytes: Cell<usize>,
}

impl Source for Watched<'_> {
    fn file_bytes(&self) -> u64 {
        self.file.file_bytes()
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Cow<'_, [u8]>> {
        self.largest_read_bytes.set(self.largest_read_bytes.get().max(len));
        self.file.read(offset, len)
    }
}

#[test]
fn a_file_is_checked_and_searched_in_parts() {
    let mut file = file_of(&vec![events(200); 60]);
    let second = read_index(&file).unwrap().blocks[1].offset as usize;
    fn watched(file: &[u8]) -> Watched<'_> {
        Watched { file, largest_read_bytes: Cell::new(0) }
    }
    let whole = watched(&file);
    assert_eq!(verify(&whole, &ReelLimits::default()).damage, []);
    assert!(whole.largest_read_bytes.get() < file.len() / 2);
    // A hole that is longer than what is searched at once, so that the next block's head lies in another part.
    file.splice(second..second, vec![0; (3 << 20) + 1]);
    let recovered = recover(&watched(&file), &ReelLimits::default());
    assert_eq!(recovered.blocks.len(), 59);
}

#[test]
fn a_medium_that_gives_no_bytes_is_damage() {
    struct Broken;
    impl Source for Broken {
        fn file_bytes(&self) -> u64 {
            5_000
        }

        fn read(&self, _: u64, _: usize) -> io::Result<Cow<'_, [u8]>> {
            Err(io::Error::other("medium error"))
        }
    }
    let report = verify(&Broken, &ReelLimits::default());
    assert!(matches!(&report.damage[0].what, ReelError::Unreadable(what) if what == "medium error"));
}

#[test]
fn a_newer_version_says_so() {
    let mut file = file_of(&[]);
    let tail = file.len() - TAIL_BYTES;
    raise_version(&mut file[tail..]);
    assert_eq!(read_index(&file), Err(ReelError::TooNew { found: 2 }));
    let mut file = file_of(&[events(2)]);
    raise_version(&mut file);
    let recovered = recover(&file[..], &ReelLimits::default());
    assert_eq!(recovered.damage[0].what, ReelError::TooNew { found: 2 });
    assert_eq!(recovered.blocks, []);
}

/// Makes the frame at the start of `bytes` one of version 2, with the right check.
fn raise_version(bytes: &mut [u8]) {
    bytes[12] = 2;
    let end = 8 + u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
    let hash = blake3::hash(&[&bytes[8..16], &bytes[HEADER_FRAME_BYTES..end]].concat());
    bytes[16..32].copy_from_slice(&hash.as_bytes()[..16]);
}

#[test]
fn unknown_keys_of_newer_writers_are_kept() {
    let newer = json!({
        "object": "o", "creator": "c", "index_key": 1,
        "recordings": [{"id": "r", "project": PROJECT, "summary": {"event_count": 1, "summary_key": [2]}, "blocks": [0], "entry_key": 3}],
        "blocks": [{"project": PROJECT, "recording": "r", "kind": "lines", "event_count": 1, "plain_bytes": 1,
            "stored_bytes": 1, "hash": "0".repeat(64), "offset": 90, "block_key": {"a": 4}}],
    });
    let index: Index = serde_json::from_value(newer).unwrap();
    let again: Value = serde_json::to_value(&index).unwrap();
    assert_eq!(again["index_key"], json!(1));
    assert_eq!(again["recordings"][0]["summary"]["summary_key"], json!([2]));
    assert_eq!(again["recordings"][0]["entry_key"], json!(3));
    assert_eq!(again["blocks"][0]["block_key"], json!({"a": 4}));
    assert_eq!(again["blocks"][0]["offset"], json!(90));
}

#[test]
fn a_large_index_takes_a_second_read() {
    let (mut writer, mut file) = ReelWriter::new(header("object-1")).unwrap();
    for at in 0..3_000 {
        // Blocks that differ have hashes that differ, which do not compress.
        let event = ("w".to_owned(), 3, at);
        let (ordinal, bytes) = writer.push_block(encoded(&format!("r{at}"), &[event])).unwrap();
        file.extend_from_slice(&bytes);
        writer.push_recording(entry(&format!("r{at}"), vec![ordinal]));
    }
    let finished = writer.finish().unwrap();
    file.extend_from_slice(&finished.bytes);
    assert!(finished.bytes.len() > 64 << 10, "{}", finished.bytes.len());
    assert_eq!(finished.file_bytes, file.len() as u64);
    assert_eq!(read_index(&file), Ok(finished.index));
}

#[test]
fn index_limits_are_exact() {
    let file = file_of(&[events(3)]);
    let tail = &file[file.len() - TAIL_BYTES..];
    let index_bytes = u64::from_le_bytes(tail[40..48].try_into().unwrap()) as usize;
    let allowing = |index_stored_bytes_max| ReelLimits { index_stored_bytes_max, ..Default::default() };
    assert!(read_index_within(&file, allowing(index_bytes)).is_ok());
    let refused = read_index_within(&file, allowing(index_bytes - 1));
    assert!(matches!(refused, Err(ReelError::TooLarge { part: "index", .. })));
    let json_bytes = serde_json::to_vec(&read_index(&file).unwrap()).unwrap().len();
    let allowing = |index_plain_bytes_max| ReelLimits { index_plain_bytes_max, ..Default::default() };
    assert!(read_index_within(&file, allowing(json_bytes)).is_ok());
    let refused = read_index_within(&file, allowing(json_bytes - 1));
    assert!(matches!(refused, Err(ReelError::TooLarge { part: "index content", .. })));
}

#[test]
fn block_limits_are_exact() {
    let block = encoded("r", &events(9));
    let head = block.head();
    let (plain_bytes, stored_bytes) = (head.plain_bytes as usize, head.stored_bytes as usize);
    let allowing = |plain_bytes_max, stored_bytes_max| {
        let limits = BlockLimits { plain_bytes_max, stored_bytes_max, ..Default::default() };
        decode_block(block.frame(), head, &limits).map(drop)
    };
    assert_eq!(allowing(plain_bytes, stored_bytes), Ok(()));
    let refused = allowing(plain_bytes - 1, stored_bytes);
    assert!(matches!(refused, Err(BlockError::TooLarge { what: "plain bytes", .. })));
    let refused = allowing(plain_bytes, stored_bytes - 1);
    assert!(matches!(refused, Err(BlockError::TooLarge { what: "stored bytes", .. })));
}

#[test]
fn header_limits_are_exact() {
    assert!(ReelWriter::new(header(&"o".repeat(OBJECT_ID_BYTES_MAX))).is_ok());
    assert!(ReelWriter::new(header(&"o".repeat(OBJECT_ID_BYTES_MAX + 1))).is_err());
    assert!(ReelWriter::new(header("")).is_err());
}

#[test]
fn claims_of_a_head_are_compared_with_the_frame() {
    let block = encoded("r", &events(9));
    let limits = BlockLimits::default();
    let mut head = block.head().clone();
    head.plain_bytes += 1;
    let refused = decode_block(block.frame(), &head, &limits);
    assert!(matches!(refused, Err(BlockError::Mismatch { what: "plain bytes", .. })));
    head = block.head().clone();
    head.stored_bytes -= 1;
    let refused = decode_block(block.frame(), &head, &limits);
    assert!(matches!(refused, Err(BlockError::Mismatch { what: "stored bytes", .. })));
    assert!(EncodedBlock::from_parts(block.head().clone(), block.frame()).is_ok());
    assert!(EncodedBlock::from_parts(head, block.frame()).is_err());
}

#[test]
fn a_block_is_full_at_its_target() {
    let line = vec![b'\n'; BLOCK_PLAIN_BYTES_TARGET - 1];
    let mut block = BlockBuilder::new(PROJECT.parse().unwrap(), None, BlockKind::Events);
    block.push_line(1, &line);
    assert!(!block.is_full());
    block.push_line(1, b"\n");
    assert!(block.is_full());
}

#[test]
fn a_client_of_many_windows_fills_blocks_whose_heads_still_fit() {
    let mut block = builder("r", &[]);
    for at in 0.. {
        let window = format!("{at}{}", "\u{1}".repeat(120));
        let counted =
            Counted { window: &window, kind: 2, timestamp_ms: at, source: None, interaction: None, event: b"{}" };
        block.push(&counted, b"[]\n");
        block.note_upload([at as u8; 16]);
        if block.is_full() {
            break;
        }
    }
    assert!(block.encode(3).is_ok());
}

#[test]
fn blocks_are_lines_and_never_empty() {
    let head = encoded("r", &events(1)).head().clone();
    assert!(matches!(encode_block(b"", head.clone(), 3), Err(BlockError::NotLines { plain_bytes: 0 })));
    assert!(matches!(encode_block(b"[]", head, 3), Err(BlockError::NotLines { plain_bytes: 2 })));
}

#[test]
fn windows_of_a_frame_are_small_enough_for_browsers() {
    // Larger than the largest window, so that the frame cannot hide its window behind its content size.
    let mut plain: Vec<u8> = (0..10u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8 | 0x20).collect();
    plain.push(b'\n');
    let block = encode_block(&plain, encoded("r", &events(1)).head().clone(), 22).unwrap();
    let frame = block.frame();
    let is_single_segment = frame[4] & 0x20 != 0;
    let window_log = 10 + (frame[5] >> 3);
    assert!(!is_single_segment && window_log <= 23, "{window_log}");
    assert_ne!(frame[4] & 0x04, 0, "no checksum");
}

#[test]
fn recordings_name_only_their_own_blocks() {
    for blocks in [vec![1], vec![0, 0]] {
        let (mut writer, _) = ReelWriter::new(header("o")).unwrap();
        writer.push_block(encoded("r", &events(1))).unwrap();
        writer.push_recording(entry("r", blocks));
        assert!(matches!(writer.finish(), Err(ReelError::Inconsistent(_))));
    }
    let (mut writer, _) = ReelWriter::new(header("o")).unwrap();
    writer.push_block(encoded("r", &events(1))).unwrap();
    writer.push_recording(entry("another", vec![0]));
    assert!(matches!(writer.finish(), Err(ReelError::Inconsistent(_))));
}

#[test]
fn stock_zstd_prints_every_line() {
    let file = file_of(&[events(6), events(4)]);
    let lines: Vec<u8> = events(6).iter().chain(&events(4)).flat_map(event_line).collect();
    assert_eq!(zstd::decode_all(&file[..]).unwrap(), lines);
    let zstd = Command::new("zstd").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    // Where the tool is not installed, the library above has to do.
    let Ok(mut zstd) = zstd else { return };
    zstd.stdin.take().unwrap().write_all(&file).unwrap();
    assert_eq!(zstd.wait_with_output().unwrap().stdout, lines);
}

#[test]
fn sample_files_of_every_version_open() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/reel");
    let mut opened = 0;
    for path in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if path.extension().is_none_or(|extension| extension != "reel") {
            continue;
        }
        let file = std::fs::read(&path).unwrap();
        let expected = std::fs::read(path.with_extension("expected.json")).unwrap();
        let expected: Value = serde_json::from_slice(&expected).unwrap();
        let index = read_index(&file).unwrap();
        assert_eq!(serde_json::to_value(&index).unwrap(), expected["index"], "{path:?}");
        let lines: Vec<Vec<String>> =
            index.blocks.iter().map(|entry| text_lines(&lines_of(&file, entry).unwrap())).collect();
        assert_eq!(json!(lines), expected["lines"], "{path:?}");
        let report = verify(&file[..], &ReelLimits::default());
        assert_eq!(report.damage, [], "{path:?}");
        let signers: Vec<String> = report.signers.iter().map(ToString::to_string).collect();
        assert_eq!(json!(signers), expected.get("signed_by").cloned().unwrap_or(json!([])), "{path:?}");
        opened += 1;
    }
    assert!(opened >= 3, "{opened}");
}

fn text_lines(plain: &[u8]) -> Vec<String> {
    std::str::from_utf8(plain).unwrap().split_inclusive('\n').map(str::to_owned).collect()
}
