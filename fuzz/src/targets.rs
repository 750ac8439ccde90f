//! What is done with bytes that nobody thought of, and what must be true of the outcome. The fuzzer and a plain test
//! run the same functions.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::sync::{LazyLock, Mutex, PoisonError};

use reelcase_format::block::{
    BlockBuilder, BlockHash, BlockHead, BlockKind, BlockLimits, EncodedBlock, decode_block, encode_block,
};
use reelcase_format::cv::{CvOutcome, plain_event};
use reelcase_format::event::{EventHead, events};
use reelcase_format::json::skip_value;
use reelcase_format::limits::Limits;
use reelcase_format::line::{lines, split_line, write_line};
use reelcase_format::reel::{IndexReader, ReelLimits, Step, recover, verify};
use reelcase_format::summary::{Counted, Summarizer};
use reelcase_format::upload::{Item, Wire, inflate, scan};
use reelcase_transform::foreign::{self, ForeignReader};
use reelcase_transform::staff::StaffReader;
use reelcase_transform::stream::ReadEvents;
use reelcase_transform::zip::{Zip, ZipLimits};

/// A target: what it is called, and what it does with an input.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// All targets.
pub(crate) const TARGETS: &[Target] =
    &[("upload", upload), ("block", block), ("reel", reel), ("foreign", foreign), ("staff", staff)];

const NESTING_MAX: usize = 100;

fn upload_limits() -> Limits {
    Limits {
        body_bytes_max: 64 << 10,
        inflated_bytes_max: 1 << 20,
        field_bytes_max: 256 << 10,
        fields_bytes_max: 1 << 20,
        nesting_max: NESTING_MAX,
        items_max: 100,
        events_max: 1_000,
        ..Limits::default()
    }
}

/// A request: its first byte picks the headers, the rest is the body. All that capture and sealing do with it.
fn upload(input: &[u8]) {
    let Some((pick, body)) = input.split_first() else { return };
    let content_types = [None, Some("text/plain"), Some("application/json"), Some("application/x-www-form-urlencoded")];
    let compressions = [None, Some("gzip-js"), Some("base64"), Some("lz64")];
    let wire = Wire {
        body,
        content_type: content_types[usize::from(pick & 3)],
        compression: compressions[usize::from(pick >> 2 & 3)],
    };
    let limits = upload_limits();
    let Ok(json) = inflate(&wire, &limits) else { return };
    assert!(json.len() <= limits.inflated_bytes_max.max(body.len()), "inflated past the limit");
    let Ok(upload) = scan(&json, &limits) else { return };
    let mut budget = limits.fields_bytes_max;
    upload.items.iter().for_each(|item| seal(item, &limits, &mut budget));
}

/// Events of a taken item become lines, and lines are what they were.
fn seal(item: &Item<'_>, limits: &Limits, budget: &mut usize) {
    let window = item.window_id.as_deref().unwrap_or("main");
    let mut summary = Summarizer::new();
    let mut plain = Vec::new();
    for raw in item.data.into_iter().flat_map(events) {
        let mut event = Vec::new();
        let outcome = plain_event(raw, limits, budget, &mut event);
        assert_eq!(skip_value(&event, 0, usize::MAX), Ok(event.len()), "{outcome:?} is one JSON value");
        assert!(outcome != CvOutcome::Undone || EventHead::read(&event).is_none_or(|head| head.cv.is_none()));
        let starts = plain.len();
        write_line(window, &event, &mut plain);
        let (read_window, read_event) = split_line(&plain[starts..]).expect("a line that was written is read");
        assert_eq!((read_window.as_ref(), read_event), (window, &event[..]));
        if let Some(head) = EventHead::read(&event) {
            summary.add(&Counted::new(window, &head, &event), plain.len() - starts);
        }
    }
    assert_eq!(lines(&plain).count(), item.event_count, "as many lines as events were counted");
    let summary = summary.finish();
    assert!(summary.start_ms <= summary.end_ms);
}

/// A zstd frame as a file may claim it to be, and lines as a block may be made of.
fn block(input: &[u8]) {
    let limits = BlockLimits { head_bytes_max: 64 << 10, stored_bytes_max: 64 << 10, plain_bytes_max: 1 << 20 };
    let head = |frame: &[u8], plain_bytes| BlockHead {
        plain_bytes,
        stored_bytes: frame.len() as u64,
        hash: BlockHash::of(frame),
        ..empty_head()
    };
    // The hash is right, so that the decoder is reached; a faulty writer may have made such a frame.
    for plain_bytes in [0, 1, input.len() as u64, 1 << 20, u64::MAX] {
        if let Ok(plain) = decode_block(input, &head(input, plain_bytes), &limits) {
            assert_eq!(plain.len() as u64, plain_bytes);
        }
    }
    let line = [input, b"\n"].concat();
    let block = encode_block(&line, empty_head(), 1).expect("lines make a block");
    assert_eq!(decode_block(block.frame(), block.head(), &BlockLimits::default()).as_deref(), Ok(&line[..]));
    assert!(EncodedBlock::from_parts(block.head().clone(), block.frame()).is_ok());
}

fn empty_head() -> BlockHead {
    let project = "phc_fuzz".parse().expect("a project key");
    let mut block = BlockBuilder::new(project, None, BlockKind::Lines);
    block.push_line(0, b"[\"w\",{}]\n");
    block.encode(1).expect("one line makes a block").head().clone()
}

/// A file, as it is and with its checks put right, so that damage behind a check is met as well.
fn reel(input: &[u8]) {
    read_reel(input);
    let mut mended = input.to_vec();
    mend(&mut mended);
    read_reel(&mended);
}

fn read_reel(file: &[u8]) {
    let limits = ReelLimits {
        block: BlockLimits { head_bytes_max: 64 << 10, stored_bytes_max: 256 << 10, plain_bytes_max: 1 << 20 },
        header_bytes_max: 4 << 10,
        index_stored_bytes_max: 64 << 10,
        index_plain_bytes_max: 256 << 10,
    };
    let recovered = recover(file, &limits);
    for entry in &recovered.blocks {
        let starts = usize::try_from(entry.offset).expect("an offset in the file");
        let frame = &file[starts..][..usize::try_from(entry.head.stored_bytes).expect("a length in the file")];
        assert!(decode_block(frame, &entry.head, &limits.block).is_ok(), "what is recovered can be read");
    }
    let report = verify(file, &limits);
    assert!(!report.damage.is_empty() || recovered.damage.is_empty(), "a sound file has nothing to recover from");
    let Ok(mut reader) = IndexReader::new(file.len() as u64, limits) else { return };
    for _ in 0..3 {
        match reader.step() {
            Step::Index(index) => return assert_eq!(Some(*index), recovered.index),
            Step::Need { offset, len } => {
                let starts = usize::try_from(offset).expect("an offset in the file");
                if reader.supply(&file[starts..starts + len]).is_err() {
                    return assert!(recovered.index.is_none());
                }
            }
        }
    }
    panic!("the index takes two reads at most");
}

/// Puts the checks of frames right, from the first to the last, and the tail's check of the index.
fn mend(file: &mut [u8]) {
    let mut at = 0;
    let mut index_check = [0; 16];
    while let Some(head) = file.get(at..at + 32) {
        if head[..4] != [0x52, 0x2A, 0x4D, 0x18] {
            at += 1;
            continue;
        }
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let ends = at.saturating_add(8).saturating_add(length).min(file.len());
        let frame = &mut file[at..ends];
        if frame.len() >= 64 && frame.starts_with(&[0x52, 0x2A, 0x4D, 0x18]) && &frame[8..12] == b"TAIL" {
            frame[48..64].copy_from_slice(&index_check);
        }
        if frame.len() >= 32 {
            let check = blake3::Hasher::new().update(&frame[8..16]).update(&frame[32..]).finalize();
            frame[16..32].copy_from_slice(&check.as_bytes()[..16]);
        }
        index_check.copy_from_slice(&blake3::hash(frame).as_bytes()[..16]);
        at = ends.max(at + 1);
    }
}

/// A file of some other program.
fn foreign(input: &[u8]) {
    let limits = foreign::Limits { event_bytes_max: 256 << 10, nesting_max: NESTING_MAX, ..foreign::Limits::default() };
    let Ok(mut reader) = ForeignReader::new(input, limits) else { return };
    let mut event_count = 0;
    while let Ok(Some(event)) = reader.next_event() {
        event_count += 1;
        let json: Cow<'_, [u8]> = Cow::Borrowed(event.json);
        assert!(EventHead::read(&json).is_some(), "an event has a type and a time");
        assert!(!json.contains(&b'\n'), "an event is on one line");
    }
    assert_eq!(reader.report().event_count, event_count);
}

/// The one file that zips are read from. Nobody else finds it.
static ZIP_FILE: LazyLock<Mutex<File>> = LazyLock::new(|| {
    let path = std::env::temp_dir().join(format!("reelcase-fuzz-{}.zip", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path).expect("a file of our own");
    std::fs::remove_file(path).expect("its name goes at once");
    Mutex::new(file)
});

/// A zip as PostHog's staff export one: its entries as they are, and the recording that is in them.
fn staff(input: &[u8]) {
    let mut file = ZIP_FILE.lock().unwrap_or_else(PoisonError::into_inner);
    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(input)).expect("a file takes bytes");
    let again = || file.try_clone().expect("a file has a second handle");
    let limits = ZipLimits { entries_max: 16, entry_bytes_max: 256 << 10, total_bytes_max: 1 << 20 };
    let Ok(zip) = Zip::open(again(), &limits) else { return };
    read_entries(&zip, &limits);
    let Ok(mut reader) = StaffReader::open(again(), &limits) else { return };
    let beside = reader.beside();
    assert!(beside.events.iter().all(|line| !line.json.contains(&b'\n')), "an analytics event is on one line");
    let mut event_count = 0;
    while let Ok(Some(event)) = reader.next_event() {
        event_count += 1;
        assert!(EventHead::read(event.json).is_some(), "an event has a type and a time");
        assert!(!event.json.contains(&b'\n'), "an event is on one line");
    }
    let report = reader.report();
    assert_eq!(report.event_count, event_count);
    assert!(report.damage.iter().all(|damage| damage.at < input.len() as u64), "damage is somewhere in the file");
}

/// No entry inflates to more than the directory says, and all of them to no more than is allowed.
fn read_entries(zip: &Zip, limits: &ZipLimits) {
    assert!(zip.entries().len() as u64 <= limits.entries_max);
    let mut total_bytes = 0;
    for entry in zip.entries() {
        let Ok(mut inflating) = zip.read(entry) else { continue };
        let mut piece = [0; 4 << 10];
        let mut entry_bytes = 0;
        while let Ok(read_bytes @ 1..) = inflating.read(&mut piece) {
            entry_bytes += read_bytes as u64;
        }
        assert!(entry_bytes <= entry.plain_bytes, "{} has more than the directory says", entry.name);
        total_bytes += entry_bytes;
    }
    assert!(total_bytes <= limits.total_bytes_max);
}
