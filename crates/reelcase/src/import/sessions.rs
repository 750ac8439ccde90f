//! Recordings whose pieces lie in several places, as PostHog's bucket has them.
//!
//! Until 2024 each piece was an object of gzip below `session_id/ID/data`. Since then it is a block of snappy in a batch
//! of many recordings: `--blocks` says which is whose, or else batches are walked, and blocks that share a window are
//! taken for one recording.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::ops::Range;
use std::path::Path;

use anyhow::Context;
use reelcase_format::id::RecordingId;
use reelcase_transform::foreign::batch::{BatchReader, begins_batch};
use serde::Deserialize;

use super::gather::Blob;
use crate::file;
use crate::terminal;

/// Bytes of a file that tell whether it is a batch.
const BATCH_MAGIC_BYTES: u64 = 64;

/// A recording in pieces.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// What PostHog calls it, where that is known.
    pub(super) id: Option<RecordingId>,
    pub(super) pieces: Vec<Piece>,
    /// What it is, for people.
    pub(super) what: String,
    /// Why not all of it may be there.
    pub(super) damage: Option<String>,
}

impl Session {
    /// What is to be read of it.
    pub(super) fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.range.end - piece.range.start).sum()
    }
}

/// A part of a file.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) blob: Blob,
    pub(super) range: Range<u64>,
    /// Whether it is a block of snappy.
    pub(super) is_block: bool,
}

/// A recording of a list of block URLs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) id: RecordingId,
    /// Keys and where in them, in order.
    pub(super) blocks: Vec<(String, Range<u64>)>,
}

/// The session, and when it begins, of an object as PostHog kept it until 2024: `…/session_id/ID/data/FIRST-LAST`.
pub(super) fn piece_of_session(name: &str) -> Option<(RecordingId, i64)> {
    let mut folders = name.rsplit('/');
    let (range, data, id, marker) = (folders.next()?, folders.next()?, folders.next()?, folders.next()?);
    let (first, last) = range.split_once('-')?;
    let _: i64 = last.split('.').next()?.parse().ok()?;
    (data == "data" && marker == "session_id").then(|| Some((id.parse().ok()?, first.parse().ok()?)))?
}

/// Reads rows of PostHog's table, a JSON object a line, with `session_id` and `block_url` or `block_urls`.
pub(super) fn read_blocks(path: &Path) -> anyhow::Result<Vec<Listed>> {
    #[derive(Deserialize)]
    struct Row {
        session_id: RecordingId,
        #[serde(default)]
        block_url: Option<String>,
        #[serde(default)]
        block_urls: Vec<String>,
    }
    let mut listed: BTreeMap<String, Listed> = BTreeMap::new();
    for (number, line) in BufReader::new(file::open(path)?).lines().enumerate() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let place = || format!("{}, line {}", path.display(), number + 1);
        let row: Row = serde_json::from_str(&line).map_err(|error| {
            // Of one line, it says which line.
            let text = error.to_string();
            let flaw = text.split(" at line ").next().unwrap_or_default();
            let hint = "hint: --blocks takes a JSON object a line, with session_id and block_urls";
            anyhow::anyhow!("{}: {flaw}\n{hint}", place())
        })?;
        let name = row.session_id.as_str().to_owned();
        let session = listed.entry(name).or_insert(Listed { id: row.session_id, blocks: Vec::new() });
        // A row without a URL says that the recording was deleted.
        for url in row.block_urls.iter().chain(&row.block_url).filter(|url| !url.is_empty()) {
            session.blocks.push(block_of(url).with_context(|| format!("{}: {url} is no URL of a block", place()))?);
        }
    }
    let mut listed: Vec<_> = listed.into_values().filter(|listed| !listed.blocks.is_empty()).collect();
    for Listed { blocks, .. } in &mut listed {
        // Batches are named by when they were written. What was delivered twice is listed twice.
        blocks.sort_by(|a, b| (&a.0, a.1.start).cmp(&(&b.0, b.1.start)));
        blocks.dedup();
    }
    Ok(listed)
}

/// `s3://bucket/key?range=bytes=0-99`; both ends are in it.
fn block_of(url: &str) -> Option<(String, Range<u64>)> {
    let (key, range) = url.strip_prefix("s3://")?.split_once('/')?.1.split_once("?range=bytes=")?;
    let (start, last) = range.split_once('-')?;
    let (start, last): (u64, u64) = (start.parse().ok()?, last.parse().ok()?);
    (start <= last).then(|| (key.to_owned(), start..last + 1))
}

/// Blocks that were found by walking batches.
#[derive(Default)]
pub(super) struct Walked {
    blocks: Vec<(Piece, Option<RecordingId>)>,
    /// Which block each window was met in first.
    of_window: BTreeMap<String, usize>,
    /// For each block, another one of the same recording; itself for the first.
    same: Vec<usize>,
    /// Batches of which the rest cannot be read: where their blocks begin, and what is wrong.
    damaged: Vec<(usize, String)>,
}

impl Walked {
    /// Notes the blocks of a batch. Returns whether it is one.
    pub(super) fn walk(&mut self, blob: &Blob, path: &Path) -> anyhow::Result<bool> {
        let mut file = file::open(path)?;
        let mut first = Vec::new();
        file.by_ref().take(BATCH_MAGIC_BYTES).read_to_end(&mut first)?;
        if !begins_batch(&first) {
            return Ok(false);
        }
        file.rewind()?;
        self.note_blocks(blob, file)
    }

    fn note_blocks(&mut self, blob: &Blob, file: File) -> anyhow::Result<bool> {
        let mut batch = BatchReader::new(file);
        let mut found_count = 0;
        loop {
            let block = match batch.next_block() {
                Ok(Some(block)) => block,
                Ok(None) => return Ok(true),
                // It was none, or what PostHog's export for its staff made of it.
                Err(_) if found_count <= 1 => {
                    self.forget(found_count);
                    return Ok(false);
                }
                Err(error) => {
                    let what = format!("{blob}: {error}, behind block {found_count}");
                    say!("damaged: {}", terminal::line(&what));
                    self.damaged.push((self.blocks.len() - found_count, what));
                    return Ok(true);
                }
            };
            found_count += 1;
            let at = self.blocks.len();
            self.same.push(at);
            for window in block.windows {
                let before = *self.of_window.entry(window).or_insert(at);
                let (one, other) = (self.first_of(before), self.first_of(at));
                self.same[one.max(other)] = one.min(other);
            }
            let range = block.at..block.at + block.stored_bytes;
            self.blocks.push((Piece { blob: blob.clone(), range, is_block: true }, block.recording));
        }
    }

    fn forget(&mut self, block_count: usize) {
        let kept = self.blocks.len() - block_count;
        self.blocks.truncate(kept);
        self.same.truncate(kept);
        self.of_window.retain(|_, block| *block < kept);
    }

    fn first_of(&self, mut block: usize) -> usize {
        while self.same[block] != block {
            block = self.same[block];
        }
        block
    }

    /// What is damaged of the batch that a block is of: more blocks of its recording may have been there.
    fn damage_of(&self, block: usize) -> Option<String> {
        let batch = &self.blocks[block].0.blob.to_string();
        let is_of_it = |(begins, _): &&(usize, String)| self.blocks[*begins].0.blob.to_string() == *batch;
        self.damaged.iter().find(is_of_it).map(|(_, what)| what.clone())
    }

    /// The recordings, each of the blocks that share windows.
    pub(super) fn sessions(self) -> Vec<Session> {
        let mut sessions: BTreeMap<usize, Session> = BTreeMap::new();
        for (at, (piece, id)) in self.blocks.iter().enumerate() {
            let what = format!("{} from byte {}", piece.blob, piece.range.start);
            let new = Session { id: None, pieces: Vec::new(), what, damage: None };
            let session = sessions.entry(self.first_of(at)).or_insert(new);
            session.damage = session.damage.take().or_else(|| self.damage_of(at));
            session.id = session.id.take().or(id.clone());
            session.pieces.push(piece.clone());
        }
        sessions.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_of_2023_names_its_recording() {
        let name = "session_recordings/team_id/2/session_id/01a1/data/1760000000000-1760000100000";
        assert_eq!(piece_of_session(name), Some(("01a1".parse().unwrap(), 1_760_000_000_000)));
        for name in ["session_id/a/data/notes", "a/b/data/1-2", "data/1-2", "1-2"] {
            assert_eq!(piece_of_session(name), None, "{name}");
        }
    }

    #[test]
    fn rows_of_clickhouse_say_which_blocks_are_whose() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blocks");
        let rows = r#"{"session_id":"b","block_urls":["s3://p/r/30d/2-f?range=bytes=0-9","s3://p/r/30d/1-a?range=bytes=5-5"]}
{"session_id":"a","block_url":"s3://p/r/30d/1-a?range=bytes=0-4","distinct_id":"d"}

{"session_id":"b","block_url":"s3://p/r/30d/2-f?range=bytes=0-9"}
{"session_id":"gone","block_url":null}
"#;
        std::fs::write(&path, rows).unwrap();
        let of = |id: &str, blocks: &[(&str, Range<u64>)]| Listed {
            id: id.parse().unwrap(),
            blocks: blocks.iter().map(|(key, range)| ((*key).to_owned(), range.clone())).collect(),
        };
        let expected = [of("a", &[("r/30d/1-a", 0..5)]), of("b", &[("r/30d/1-a", 5..6), ("r/30d/2-f", 0..10)])];
        assert_eq!(read_blocks(&path).unwrap(), expected);
        std::fs::write(&path, r#"{"session_id":"b","block_url":"s3://p/key"}"#).unwrap();
        let refused = format!("{:#}", read_blocks(&path).unwrap_err());
        assert!(refused.contains("line 1: s3://p/key is no URL of a block"), "{refused}");
        std::fs::write(&path, "{\"session_id\":\"b\"}\n\nno JSON").unwrap();
        let refused = format!("{:#}", read_blocks(&path).unwrap_err());
        assert!(refused.contains(", line 3: expected ident\nhint: --blocks takes"), "{refused}");
    }
}
