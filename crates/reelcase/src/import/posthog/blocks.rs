//! The blocks of one recording, in files that a later run finds again.
//!
//! PostHog leaves out of a range what it cannot read, and says nothing of it; so blocks are asked for packed, behind
//! their lengths, and counted. A block that was delivered twice is in its lists twice, and is kept once.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Cursor, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use reelcase_format::count::counted;
use serde_json::Value;

use super::api::Api;
use crate::remote::encoded;

/// Blocks of one request.
const RANGE_BLOCKS: usize = 20;

/// How often a range is asked for of which blocks are missing.
const ASKED_MAX: u32 = 3;

/// How long blocks that are missing may take to come back.
const MISSING_PAUSE: Duration = Duration::from_secs(1);

/// Bytes of a block, packed.
const BLOCK_BYTES_MAX: u32 = 512 << 20;

/// All that was fetched of a recording.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    files: Vec<PathBuf>,
    /// Blocks that PostHog lists.
    pub(super) listed: usize,
    /// Bytes of their lines, those of repeated blocks counted as often as they came. `None` where they came as text.
    pub(super) plain_bytes: Option<u64>,
    pub(super) repeated: usize,
    /// What did not come.
    pub(super) missing: usize,
}

/// What can be asked for at once.
#[derive(Debug, PartialEq, Eq)]
struct Range {
    query: String,
    name: String,
    /// How many blocks it has; `None` where they are not told apart.
    blocks: Option<usize>,
}

/// What a file of blocks holds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    blocks: usize,
    repeated: usize,
    plain_bytes: u64,
}

/// Fetches what is not in `dir` yet. `None` where PostHog has no such recording any more.
pub(super) async fn fetch(api: &Api, id: &str, dir: &Path) -> anyhow::Result<Option<Blocks>> {
    let base = format!("session_recordings/{}/snapshots/", encoded(id));
    let Some(listed) = api.json(&format!("{base}?blob_v2=true")).await? else { return Ok(None) };
    let (ranges, listed) = ranges(listed["sources"].as_array().map_or(&[], Vec::as_slice));
    let mut found = Blocks { listed, plain_bytes: Some(0), ..Blocks::default() };
    fs::create_dir_all(dir)?;
    let mut seen = HashSet::new();
    for range in ranges {
        let path = dir.join(format!("{}-of-{listed}", range.name));
        if !path.exists() && !fetch_range(api, &base, &range, &path).await? {
            found.missing += range.blocks.unwrap_or(1);
            continue;
        }
        let is_packed = is_packed(&path)?;
        if is_packed {
            let distinct = path.with_extension("blocks");
            let copied = copy_distinct(&path, &distinct, &mut seen)?;
            found.missing += range.blocks.unwrap_or(1).saturating_sub(copied.blocks);
            found.repeated += copied.repeated;
            found.plain_bytes = found.plain_bytes.map(|bytes| bytes + copied.plain_bytes);
            found.files.push(distinct);
        } else {
            found.plain_bytes = None;
            found.files.push(path);
        }
    }
    Ok(Some(found))
}

impl Blocks {
    /// What PostHog lists and did not give, for people. Nothing where all came.
    pub(super) fn lacks(&self) -> Option<String> {
        let Self { missing, listed, .. } = *self;
        let (are, blocks) = (if missing == 1 { "is" } else { "are" }, counted(listed as u64, "block"));
        (missing > 0).then(|| format!("{missing} of its {blocks} {are} missing in PostHog's answers"))
    }

    /// All of it, one after the other.
    pub(super) fn open(&self) -> anyhow::Result<Box<dyn Read>> {
        let mut all: Box<dyn Read> = Box::new(io::empty());
        for path in &self.files {
            let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
            all = Box::new(all.chain(BufReader::new(file)));
            if self.plain_bytes.is_none() {
                // Ranges of lines are joined by what is between lines.
                all = Box::new(all.chain(Cursor::new(b"\n")));
            }
        }
        Ok(all)
    }
}

/// What to ask for: blocks by their numbers, 20 at a time; else whole recordings or files of servers before 2025.
fn ranges(sources: &[Value]) -> (Vec<Range>, usize) {
    let keys_of = |kind: &str| -> Vec<String> {
        let of_kind = sources.iter().filter(|source| source["source"] == kind);
        let key = |source: &Value| match &source["blob_key"] {
            Value::String(key) => key.clone(),
            other => other.to_string(),
        };
        of_kind.map(key).collect()
    };
    let mut numbers: Vec<usize> = keys_of("blob_v2").iter().filter_map(|key| key.parse().ok()).collect();
    if !numbers.is_empty() {
        numbers.sort_unstable();
        let consecutive = numbers.chunk_by(|a, b| a + 1 == *b).flat_map(|run| run.chunks(RANGE_BLOCKS));
        let range = |run: &[usize]| {
            let (first, last) = (run[0], run[run.len() - 1]);
            let query =
                format!("?source=blob_v2&start_blob_key={first}&end_blob_key={last}&decompress=false&blob_v2=true");
            Range { query, name: format!("{first}-{last}"), blocks: Some(run.len()) }
        };
        return (consecutive.map(range).collect(), numbers.len());
    }
    for kind in ["blob_v2_lts", "blob"] {
        let keys = keys_of(kind);
        if keys.is_empty() {
            continue;
        }
        let range = |(number, key): (usize, &String)| {
            let query = format!("?source={kind}&blob_key={}&blob_v2=true", encoded(key));
            Range { query, name: format!("{kind}-{number}"), blocks: None }
        };
        return (keys.iter().enumerate().map(range).collect(), keys.len());
    }
    (Vec::new(), 0)
}

/// Fetches one range into a file that has its name only once all of it is there, or all that PostHog gives.
async fn fetch_range(api: &Api, base: &str, range: &Range, path: &Path) -> anyhow::Result<bool> {
    let unfinished = path.with_extension("unfinished");
    let mut file = File::options().create(true).truncate(false).read(true).write(true).open(&unfinished)?;
    for asked in 1..=ASKED_MAX {
        if api.download(&format!("{base}{}", range.query), &mut file).await?.is_none() {
            return Ok(false);
        }
        file.rewind()?;
        let has_all = match (range.blocks, is_packed(&unfinished)?) {
            (Some(blocks), true) => {
                let counted = copy_distinct(&unfinished, Path::new(NOWHERE), &mut HashSet::new());
                counted.is_ok_and(|counted| counted.blocks == blocks)
            }
            _ => true,
        };
        if has_all || asked == ASKED_MAX {
            break;
        }
        tokio::time::sleep(MISSING_PAUSE).await;
    }
    file.sync_data()?;
    fs::rename(&unfinished, path)?;
    Ok(true)
}

/// Where blocks go that are only counted.
const NOWHERE: &str = "/dev/null";

/// Whether a file holds blocks behind their lengths, and not text.
fn is_packed(path: &Path) -> anyhow::Result<bool> {
    let mut first = [0; 1];
    let read = File::open(path)?.read(&mut first)?;
    Ok(read == 0 || !matches!(first[0], b'[' | b'{'))
}

/// Copies the blocks that were not seen before, and counts all of them. What is torn at the end is left out.
fn copy_distinct(from: &Path, to: &Path, seen: &mut HashSet<blake3::Hash>) -> anyhow::Result<Counted> {
    let mut from = BufReader::new(File::open(from)?);
    let mut to = BufWriter::new(File::options().create(true).truncate(true).write(true).open(to)?);
    let mut counted = Counted::default();
    let mut block = Vec::new();
    loop {
        let mut length = [0; 4];
        match from.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            read => read?,
        }
        let block_bytes = u32::from_be_bytes(length);
        block.clear();
        let read = from.by_ref().take(u64::from(block_bytes.min(BLOCK_BYTES_MAX))).read_to_end(&mut block)?;
        if read != block_bytes as usize {
            break;
        }
        counted.blocks += 1;
        counted.plain_bytes += plain_bytes(&block).unwrap_or_default();
        if seen.insert(blake3::hash(&block)) {
            to.write_all(&length)?;
            to.write_all(&block)?;
        } else {
            counted.repeated += 1;
        }
    }
    to.flush()?;
    Ok(counted)
}

/// What a block of raw snappy says that its lines have: seven bits a byte, the lowest first.
fn plain_bytes(block: &[u8]) -> Option<u64> {
    let mut bytes = 0;
    for (place, byte) in block.iter().take(5).enumerate() {
        bytes |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(bytes);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn blocks_are_asked_for_twenty_at_a_time_and_older_sources_one_by_one() {
        let source = |kind: &str, key: &str| json!({ "source": kind, "blob_key": key });
        let new: Vec<_> = (0..25).rev().chain(30..31).map(|key| source("blob_v2", &key.to_string())).collect();
        let (asked, listed) = ranges(&new);
        let shown: Vec<_> = asked.iter().map(|range| (range.name.as_str(), range.blocks)).collect();
        assert_eq!((listed, shown), (26, vec![("0-19", Some(20)), ("20-24", Some(5)), ("30-30", Some(1))]));
        assert!(asked[1].query.contains("start_blob_key=20&end_blob_key=24&decompress=false"));
        let old = [source("blob", "1-2"), source("blob", "3-4"), source("realtime", "null")];
        let (asked, _) = ranges(&old);
        assert_eq!(asked[1].query, "?source=blob&blob_key=3-4&blob_v2=true");
        assert_eq!(ranges(&[]), (vec![], 0));
    }

    #[test]
    fn repeated_blocks_are_kept_once_and_a_torn_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        let block = |plain_bytes: u8, rest: &[u8]| {
            let block = [&[plain_bytes][..], rest].concat();
            [&(block.len() as u32).to_be_bytes()[..], &block].concat()
        };
        let (one, two) = (block(7, b"seven"), block(2, b"tw"));
        fs::write(&from, [&one[..], &one, &two, &two[..5]].concat()).unwrap();
        let counted = copy_distinct(&from, &to, &mut HashSet::new()).unwrap();
        assert_eq!(counted, Counted { blocks: 3, repeated: 1, plain_bytes: 16 });
        assert_eq!(fs::read(&to).unwrap(), [one, two].concat());
        assert_eq!(plain_bytes(&[0x80, 0x70]), Some(14_336));
        assert_eq!(plain_bytes(&[0xff; 9]), None);
    }
}
