//! Batches of PostHog's bucket: blocks of many recordings one after another, and nothing that says whose they are.
//!
//! PostHog's ClickHouse knows that. Without it, a batch can be walked, because a block of snappy says by its own elements
//! where it ends. Its lines name windows, and now and then the recording; windows that share a block are of one recording.

use std::collections::BTreeSet;
use std::io::{self, Read};

use reelcase_format::id::RecordingId;
use serde_json::Value;

use super::unpack::snappy::{self, Snappy};

/// Bytes of a line that are looked at. Those that name a recording are short.
const LINE_BYTES_LOOKED_AT: usize = 4 << 10;

/// Windows of a block that are told apart.
const WINDOWS_MAX: usize = 1_000;

/// A block of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Where it begins, in bytes.
    pub at: u64,
    /// Its length as it is stored.
    pub stored_bytes: u64,
    /// The windows of its lines.
    pub windows: BTreeSet<String>,
    /// What its lines name as the recording of one of these windows.
    pub recording: Option<RecordingId>,
}

/// Walks the blocks of a batch.
pub struct BatchReader<R> {
    snappy: Snappy<R>,
}

/// Whether a file that begins with these bytes may be a batch, or one block.
pub fn begins_batch(first: &[u8]) -> bool {
    !matches!(first, [b'[' | b'{' | b'"' | b' ' | b'\t' | b'\r' | b'\n' | 0xef | b'x' | 0x1f, ..])
        && snappy::begins_block(first)
}

impl<R: Read> BatchReader<R> {
    /// Begins at the first block.
    pub fn new(source: R) -> Self {
        Self { snappy: Snappy::batch(source) }
    }

    /// The next block. Fails where the rest is no blocks.
    pub fn next_block(&mut self) -> io::Result<Option<Block>> {
        let Some(at) = self.snappy.next_block()? else { return Ok(None) };
        let mut block = Block { at, stored_bytes: 0, windows: BTreeSet::new(), recording: None };
        let (mut plain, mut line) = (vec![0; 64 << 10], Vec::new());
        loop {
            let read_bytes = self.snappy.read(&mut plain)?;
            if read_bytes == 0 {
                break;
            }
            for piece in plain[..read_bytes].split_inclusive(|byte| *byte == b'\n') {
                let room = LINE_BYTES_LOOKED_AT.saturating_sub(line.len());
                line.extend_from_slice(&piece[..piece.len().min(room)]);
                if piece.ends_with(b"\n") {
                    block.look_at(&line);
                    line.clear();
                }
            }
        }
        block.look_at(&line);
        block.stored_bytes = self.snappy.stored_bytes() - at;
        if block.windows.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("byte {at}: a block without lines")));
        }
        Ok(Some(block))
    }
}

impl Block {
    fn look_at(&mut self, line: &[u8]) {
        let Some(window) = window_of(line) else { return };
        if self.windows.len() < WINDOWS_MAX {
            self.windows.insert(window.clone());
        }
        if self.recording.is_none() && memchr::memmem::find(line, b"\"$session_").is_some() {
            self.recording = recording_of(line, &window);
        }
    }
}

/// The window of `["window",{…}]`.
fn window_of(line: &[u8]) -> Option<String> {
    let name = line.strip_prefix(b"[\"")?;
    let end = name.windows(2).position(|two| two == b"\",")?;
    let name = std::str::from_utf8(&name[..end]).ok()?;
    (!name.contains(['"', '\\'])).then(|| name.to_owned())
}

/// The recording that posthog-js names where one ends and the next begins, if it is the one of this window.
fn recording_of(line: &[u8], window: &str) -> Option<RecordingId> {
    let line: Value = serde_json::from_slice(line).ok()?;
    let data = &line[1]["data"];
    let payload = &data["payload"];
    let names = match data["tag"].as_str()? {
        "$session_ending" => [("currentSessionId", "currentWindowId"), ("nextSessionId", "nextWindowId")],
        "$session_starting" => [("nextSessionId", "nextWindowId"), ("sessionId", "windowId")],
        "$session_id_change" => [("sessionId", "windowId"), ("sessionId", "windowId")],
        _ => return None,
    };
    let named = names.into_iter().find(|(_, of)| payload[*of].as_str() == Some(window));
    payload[named?.0].as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(lines: &[&str]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(lines.join("\n").as_bytes()).unwrap()
    }

    #[test]
    fn a_batch_is_cut_where_its_blocks_end() {
        let long = format!(r#"["b",{{"type":3,"data":"{}"}}]"#, "xyz".repeat(100_000));
        let ending = r#"["a",{"type":5,"timestamp":1,"data":{"tag":"$session_ending","payload":
            {"currentSessionId":"one","currentWindowId":"a","nextSessionId":"two","nextWindowId":"c"}}}]"#
            .replace('\n', "");
        let blocks = [block(&[r#"["a",{"type":4}]"#, &ending, ""]), block(&[&long, r#"["c",{}]"#])];
        let batch = blocks.concat();
        assert!(begins_batch(&batch));
        let mut reader = BatchReader::new(batch.as_slice());
        let first = reader.next_block().unwrap().unwrap();
        let windows = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        let stored_bytes = blocks[0].len() as u64;
        let recording = Some("one".parse().unwrap());
        assert_eq!(first, Block { at: 0, stored_bytes, windows: windows(&["a"]), recording });
        let second = reader.next_block().unwrap().unwrap();
        let (at, stored_bytes) = (stored_bytes, blocks[1].len() as u64);
        assert_eq!(second, Block { at, stored_bytes, windows: windows(&["b", "c"]), recording: None });
        assert_eq!(reader.next_block().unwrap(), None);
    }

    #[test]
    fn noise_behind_a_block_is_an_error_and_not_a_block() {
        for noise in [&b"\x05\x00noise"[..], b"\x90\x4e\x00[", &[0; 40]] {
            let batch = [&block(&[r#"["a",{"type":4}]"#])[..], noise].concat();
            let mut reader = BatchReader::new(batch.as_slice());
            assert!(reader.next_block().unwrap().is_some());
            assert!(reader.next_block().is_err(), "{noise:?}");
        }
    }
}
