//! Writes the sample files of the current format version: `cargo run -p reelcase-format --example reel_golden -- DIR`.
//!
//! Run it once per version. Files of released versions are never written again, only added to.

use std::error::Error;
use std::path::Path;

use reelcase_format::block::{BlockBuilder, BlockKind};
use reelcase_format::event::EventHead;
use reelcase_format::line::write_line;
use reelcase_format::reel::{BlockRef, Index, RecordingEntry, ReelHeader, ReelLimits, ReelWriter, sign, sign_stored};
use reelcase_format::sign::{SEED_BYTES, SigningKey, private_pem};
use reelcase_format::summary::{Counted, Summarizer, UploadFacts};
use serde_json::{Map, Value, json};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const LEVEL: i32 = 3;
const FIRST: &str = "01a1fbdb-5cf7-798e-bff9-d7633f6d7075";
const SECOND: &str = "01a1fbdb-8270-7135-9b23-544ab178fe70";

fn main() -> Result<()> {
    let dir = std::env::args().nth(1).ok_or("usage: reel_golden DIR")?;
    let dir = Path::new(&dir);
    write(dir, "v1-smallest", Sample::begin("o", "")?.finish()?)?;
    write(dir, "v1-two-recordings", two_recordings()?)?;
    write(dir, "v1-signed", signed(two_recordings()?)?)?;
    // Of the encrypted file, which another crate makes.
    let encrypted = std::fs::read(dir.join("v1-smallest.reel.enc"))?;
    Ok(std::fs::write(dir.join("v1-smallest.reel.enc.sig"), sign_stored(&encrypted[..], &key()?)?)?)
}

/// The key that the samples are signed with: as public as its file.
fn key() -> Result<SigningKey> {
    Ok(SigningKey::from_pem(&private_pem(&[2; SEED_BYTES]))?)
}

fn signed((mut file, mut expected): (Vec<u8>, Value)) -> Result<(Vec<u8>, Value)> {
    let signed = sign(&file[..], &key()?, &ReelLimits::default())?;
    file.truncate(usize::try_from(signed.offset)?);
    file.extend_from_slice(&signed.bytes);
    expected["signed_by"] = json!([key()?.public().to_string()]);
    Ok((file, expected))
}

fn two_recordings() -> Result<(Vec<u8>, Value)> {
    let mut sample = Sample::begin("0000000000000007-two", "reelcase/0.1.0")?;
    let first = sample.block(FIRST, BlockKind::Lines, &[
        ("w1", r#"{"type":4,"data":{"href":"https://shop.example/","width":1280,"height":720},"timestamp":1700000000000}"#),
        ("w1", r#"{"type":2,"data":{"node":{"type":0,"childNodes":[],"id":1},"initialOffset":{"left":0,"top":0}},"timestamp":1700000000005}"#),
        ("w1", r#"{"type":3,"data":{"source":2,"type":2,"id":1,"x":10,"y":20},"timestamp":1700000001000}"#),
        ("w2", r#"{"type":2,"data":{"node":{"type":0,"childNodes":[],"id":1},"initialOffset":{"left":0,"top":0}},"timestamp":1700000002000.5}"#),
    ])?;
    let second = sample.block(SECOND, BlockKind::Lines, &[
        ("fenêtre \"1\"", r#"{"type":6,"data":{"plugin":"rrweb/console@1","payload":{"level":"error","payload":["\"über \ud800\""]}},"timestamp":1700000003000}"#),
        ("fenêtre \"1\"", r#"{"type":3,"data":{"source":5,"id":1,"text":"****"},"timestamp":1700000004000}"#),
    ])?;
    let events = sample.block(FIRST, BlockKind::Events, &[
        ("", r#"{"kind":"event","event":"$pageview","uuid":"01a1fbdb827071359b23544ab178fe71","timestamp":1700000000001,"distinct_id":"ada","window_id":"w1","properties":{"$current_url":"https://shop.example/"}}"#),
    ])?;
    let person = Map::from_iter([("person".to_owned(), json!({"email": "ada@example.com"}))]);
    let replaces = vec![BlockRef { object: "0000000000000003-old".to_owned(), block: 2 }];
    sample.recording(FIRST, vec![first, events], person, Vec::new())?;
    sample.recording(SECOND, vec![second], Map::new(), replaces)?;
    sample.finish()
}

fn write(dir: &Path, name: &str, (file, expected): (Vec<u8>, Value)) -> Result<()> {
    std::fs::write(dir.join(format!("{name}.reel")), file)?;
    let expected = serde_json::to_string_pretty(&expected)?;
    Ok(std::fs::write(dir.join(format!("{name}.expected.json")), expected + "\n")?)
}

/// A file being written, with what a reader should make of it.
struct Sample {
    writer: ReelWriter,
    file: Vec<u8>,
    lines: Vec<Vec<String>>,
    summarizers: Vec<(&'static str, Summarizer)>,
}

impl Sample {
    fn begin(object: &str, creator: &str) -> Result<Self> {
        let header = ReelHeader { object: object.to_owned(), creator: creator.to_owned(), other: Map::new() };
        let (writer, file) = ReelWriter::new(header)?;
        Ok(Self { writer, file, lines: Vec::new(), summarizers: Vec::new() })
    }

    fn block(&mut self, recording: &'static str, kind: BlockKind, events: &[(&str, &str)]) -> Result<u32> {
        let mut block = BlockBuilder::new("phc_sample".parse()?, Some(recording.parse()?), kind);
        block.note_upload([self.lines.len() as u8; 16]);
        let mut lines = Vec::new();
        for (window, event) in events {
            let mut line = Vec::new();
            match kind {
                BlockKind::Lines => {
                    write_line(window, event.as_bytes(), &mut line);
                    let head = EventHead::read(event.as_bytes()).ok_or("not an event")?;
                    let counted = Counted::new(window, &head, event.as_bytes());
                    block.push(&counted, &line);
                    self.summarizer(recording).add(&counted, line.len());
                }
                BlockKind::Events => {
                    line.extend_from_slice(format!("{event}\n").as_bytes());
                    block.push_line(1_700_000_000_001, &line);
                    self.summarizer(recording).add_analytics_event();
                }
            }
            lines.push(String::from_utf8(line)?);
        }
        self.lines.push(lines);
        let (ordinal, bytes) = self.writer.push_block(block.encode(LEVEL)?)?;
        self.file.extend_from_slice(&bytes);
        Ok(ordinal)
    }

    fn summarizer(&mut self, recording: &'static str) -> &mut Summarizer {
        let at = self.summarizers.iter().position(|(id, _)| *id == recording).unwrap_or_else(|| {
            let mut summarizer = Summarizer::new();
            summarizer.add_upload(&UploadFacts {
                distinct_id: Some("ada"),
                library: Some("web"),
                ..Default::default()
            });
            self.summarizers.push((recording, summarizer));
            self.summarizers.len() - 1
        });
        &mut self.summarizers[at].1
    }

    fn recording(
        &mut self,
        id: &str,
        blocks: Vec<u32>,
        metadata: Map<String, Value>,
        replaces: Vec<BlockRef>,
    ) -> Result<()> {
        let at = self.summarizers.iter().position(|(found, _)| *found == id).ok_or("a recording without blocks")?;
        let summary = self.summarizers.remove(at).1.finish();
        let (id, project, other) = (id.parse()?, "phc_sample".parse()?, Map::new());
        self.writer.push_recording(RecordingEntry {
            id,
            project,
            summary,
            blocks,
            uploads: vec![],
            metadata,
            replaces,
            other,
        });
        Ok(())
    }

    fn finish(mut self) -> Result<(Vec<u8>, Value)> {
        let finished = self.writer.finish()?;
        self.file.extend_from_slice(&finished.bytes);
        let index: &Index = &finished.index;
        Ok((self.file, json!({ "index": index, "lines": self.lines })))
    }
}
