//! A directory, or the part of a bucket below a prefix, that recordings are exported to.
//!
//! ```text
//! DIR/manifest.jsonl            one line for each file: of which recording and state it is, its length and hash
//! DIR/SHA256SUMS                the same hashes, for `sha256sum -c`
//! DIR/PROJECT/2026-11-21/ID.reel
//! DIR/.unfinished/              what is being written; emptied at the next start
//! ```
//!
//! The manifest is appended to file by file, after the file has its name, and written anew at the end of a run. Its last
//! line may be torn; of two lines on one file the later counts. An object of a bucket carries its own line instead, so that
//! a run which is killed before it writes the manifest has lost nothing.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use reelcase_format::count::counted;
use reelcase_format::sign::SigningKey;
use reelcase_server::api::iso;
use reelcase_transform::format::Format;
use serde::{Deserialize, Serialize};

use super::Listed;
use super::place::{Place, Unfinished};

pub(crate) const MANIFEST: &str = "manifest.jsonl";
const SUMS: &str = "SHA256SUMS";

/// How often the manifest of a bucket is written. What came since the last time is found again in the objects.
const CHECKPOINT_PAUSE: Duration = Duration::from_secs(60);

/// How often other runs may change the manifest of a bucket while this one writes it.
const CONFLICTS_MAX: u32 = 20;

/// The place, and what is in it.
pub(super) struct Target {
    place: Arc<Place>,
    format: Format,
    /// What signs its files.
    key: Option<Arc<SigningKey>>,
    entries: Entries,
    /// Of a directory.
    manifest: Option<File>,
    /// Whether the manifest and the hashes are written as they are known here.
    is_settled: bool,
    settled_at: Instant,
}

/// The lines of a manifest, by project, recording and form.
pub(crate) type Entries = BTreeMap<(String, String, String), Entry>;

/// A line of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) project: String,
    pub(crate) recording: String,
    format: String,
    /// Below the directory.
    pub(crate) file: String,
    /// The state of the recording: when something was last added to it.
    updated_at_ms: i64,
    pub(crate) start_ms: i64,
    pub(crate) event_count: u64,
    pub(crate) bytes: u64,
    sha256: String,
    /// Damaged blocks that are missing from it.
    #[serde(default)]
    pub(crate) gap_count: u64,
    /// What the form has no place for, all of it counted together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left_out_count: Option<u64>,
    /// The key that it was signed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signed_by: Option<String>,
}

/// What is known of a file once it is written.
pub(super) struct Said {
    pub(super) gap_count: u64,
    pub(super) left_out_count: Option<u64>,
    pub(super) signed_by: Option<String>,
}

impl Target {
    /// Reads what is there.
    pub(super) async fn open(place: Place, format: Format, key: Option<Arc<SigningKey>>) -> anyhow::Result<Self> {
        let there = place.read_manifest(MANIFEST).await?;
        let entries = read_manifest(there.as_deref().unwrap_or_default());
        // Of a run that was killed there are lines and no hashes.
        let is_whole = there == Some(lines_of(&entries)?) && place.read(SUMS).await? == Some(sums_of(&entries));
        let (place, settled_at) = (Arc::new(place), Instant::now());
        let mut target = Self { place, format, key, entries, manifest: None, is_settled: is_whole, settled_at };
        if is_whole {
            target.reopen_manifest()?;
        } else if target.place.dir().is_some() {
            // Written anew, so that a torn line at its end does not spoil the next.
            target.write_manifest().await?;
        }
        Ok(target)
    }

    /// The form of its files.
    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// What signs its files.
    pub(super) fn key(&self) -> Option<&Arc<SigningKey>> {
        self.key.as_ref()
    }

    /// Where files go.
    pub(super) fn place(&self) -> &Arc<Place> {
        &self.place
    }

    /// Whether this state of a recording is there, signed as it is to be.
    pub(super) async fn has(&mut self, listed: &Listed) -> anyhow::Result<bool> {
        let signer = self.key.as_ref().map(|key| key.public().to_string());
        let is_it = |entry: &Entry| {
            let is_signed = signer.is_none() || entry.signed_by == signer;
            let is_new = entry.updated_at_ms == listed.updated_at_ms;
            is_signed && is_new && self.place.bytes_of(&entry.file) == Some(entry.bytes)
        };
        let key = self.name(&listed.project, &listed.id);
        if self.entries.get(&key).is_some_and(is_it) {
            return Ok(true);
        }
        // A run that was killed had no time for the manifest.
        let name = name_of(listed, self.format);
        let Some(about) = self.place.about(&name).await? else { return Ok(false) };
        let Some(entry) = serde_json::from_str(&about).ok().filter(is_it) else { return Ok(false) };
        self.entries.insert(key, entry);
        self.is_settled = false;
        Ok(true)
    }

    /// Notes a file that has its name.
    pub(super) async fn note(&mut self, entry: Entry) -> anyhow::Result<()> {
        self.is_settled = false;
        if let Some(manifest) = &mut self.manifest {
            // One write, so that a run which is killed leaves a whole line or the beginning of one.
            let written = manifest.write_all(&line_of(&entry)?);
            written.with_context(|| format!("cannot write {}", self.place.describe(MANIFEST)))?;
        }
        let key = self.name(&entry.project, &entry.recording);
        let file = entry.file.clone();
        let before = self.entries.insert(key, entry);
        if let Some(before) = before.filter(|before| before.file != file) {
            // An earlier event came late, and the recording began on another day.
            self.place.remove(&before.file).await?;
        }
        if self.place.dir().is_none() && self.settled_at.elapsed() >= CHECKPOINT_PAUSE {
            self.settle().await?;
        }
        Ok(())
    }

    /// Writes what is known of all files in one go, and durably, unless that is what is there.
    pub(super) async fn settle(&mut self) -> anyhow::Result<()> {
        if self.is_settled {
            return Ok(());
        }
        self.write_manifest().await?;
        self.place.write(SUMS, sums_of(&self.entries)).await?;
        (self.is_settled, self.settled_at) = (true, Instant::now());
        Ok(())
    }

    async fn write_manifest(&mut self) -> anyhow::Result<()> {
        for _ in 0..CONFLICTS_MAX {
            if self.place.replace_manifest(MANIFEST, lines_of(&self.entries)?).await? {
                return self.reopen_manifest();
            }
            // Another run exports to the same place, perhaps other recordings. Of two states the later counts.
            let others = read_manifest(&self.place.read_manifest(MANIFEST).await?.unwrap_or_default());
            for (key, entry) in others {
                match self.entries.get(&key) {
                    Some(ours) if ours.updated_at_ms >= entry.updated_at_ms => {}
                    _ => drop(self.entries.insert(key, entry)),
                }
            }
        }
        anyhow::bail!("{} changes too often: other exports write to it", self.place.describe(MANIFEST))
    }

    /// Makes ready for lines at the end of a directory's manifest.
    fn reopen_manifest(&mut self) -> anyhow::Result<()> {
        let append = |dir: &Path| OpenOptions::new().append(true).open(dir.join(MANIFEST));
        let manifest = self.place.dir().map(append).transpose();
        self.manifest = manifest.with_context(|| format!("cannot write {}", self.place.describe(MANIFEST)))?;
        Ok(())
    }

    /// What there is, for people.
    pub(super) fn about(&self) -> String {
        let files = counted(self.entries.len() as u64, "file");
        format!("{files} in {}", self.place.describe(MANIFEST))
    }

    /// What an entry goes by.
    fn name(&self, project: &str, recording: &str) -> (String, String, String) {
        (project.to_owned(), recording.to_owned(), self.format.info().name.to_owned())
    }
}

/// Gives a whole file its name. Returns its line of the manifest.
pub(super) async fn keep(
    place: &Place,
    format: Format,
    unfinished: Unfinished,
    listed: &Listed,
    Said { gap_count, left_out_count, signed_by }: Said,
) -> anyhow::Result<Entry> {
    let finished = unfinished.finish();
    let entry = Entry {
        project: listed.project.clone(),
        recording: listed.id.clone(),
        format: format.info().name.to_owned(),
        file: name_of(listed, format),
        updated_at_ms: listed.updated_at_ms,
        start_ms: listed.start_ms,
        event_count: listed.event_count,
        bytes: finished.bytes,
        sha256: finished.sha256.clone(),
        gap_count,
        left_out_count,
        signed_by,
    };
    place.keep(finished, &entry.file, &serde_json::to_string(&entry)?).await?;
    Ok(entry)
}

/// The name of a recording's file: its project, the day on which it began, and its id.
fn name_of(listed: &Listed, format: Format) -> String {
    let moment = iso(listed.start_ms);
    let day = moment.split('T').next().filter(|day| !day.is_empty()).unwrap_or("undated");
    format!("{}/{day}/{}.{}", folder(&listed.project), listed.id, format.info().ending)
}

/// A project's key as the name of a folder: it may hold slashes and dots.
fn folder(project: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let one = |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    project.bytes().map(one).collect()
}

/// The files that a directory's manifest lists, each with its project and recording. None where there is no manifest.
pub(super) fn listed_files(dir: &Path) -> anyhow::Result<Vec<(PathBuf, String, String)>> {
    let manifest = fs::read(dir.join(MANIFEST)).unwrap_or_default();
    let entries = read_manifest(&manifest).into_values();
    Ok(entries.map(|entry| (dir.join(entry.file), entry.project, entry.recording)).collect())
}

fn lines_of(entries: &Entries) -> anyhow::Result<Vec<u8>> {
    let lines: Vec<Vec<u8>> = entries.values().map(line_of).collect::<Result<_, _>>()?;
    Ok(lines.concat())
}

/// What `sha256sum -c` takes.
fn sums_of(entries: &Entries) -> Vec<u8> {
    let sums = entries.values().map(|entry| format!("{}  {}\n", entry.sha256, entry.file));
    sums.collect::<String>().into_bytes()
}

fn line_of(entry: &Entry) -> anyhow::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    Ok(line)
}

/// The lines of a manifest. What cannot be read is exported again.
pub(crate) fn read_manifest(bytes: &[u8]) -> Entries {
    let lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Entry>(line).ok());
    lines.map(|entry| ((entry.project.clone(), entry.recording.clone(), entry.format.clone()), entry)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::place::To;
    use super::*;

    const UNFINISHED: &str = ".unfinished";

    fn listed(recording: &str, updated_at_ms: i64, start_ms: i64) -> Listed {
        let (id, project) = (recording.to_owned(), "phc_../x".to_owned());
        Listed { id, project, start_ms, updated_at_ms, event_count: 1, stored_bytes: 0, plain_bytes: 0 }
    }

    async fn open(dir: &Path, format: Format) -> Target {
        let place = Place::open(&To::Dir(dir.to_owned()), None).await.unwrap();
        Target::open(place, format, None).await.unwrap()
    }

    async fn export(target: &mut Target, recording: &str, updated_at_ms: i64, start_ms: i64, bytes: &[u8]) {
        let mut file = target.place().begin().unwrap();
        file.write_all(bytes).unwrap();
        let listed = listed(recording, updated_at_ms, start_ms);
        let said = Said { gap_count: 0, left_out_count: None, signed_by: None };
        let entry = keep(target.place(), target.format(), file, &listed, said).await.unwrap();
        assert_eq!(entry.bytes, bytes.len() as u64);
        target.note(entry).await.unwrap();
    }

    async fn has(target: &mut Target, recording: &str, updated_at_ms: i64) -> bool {
        target.has(&listed(recording, updated_at_ms, 0)).await.unwrap()
    }

    #[tokio::test]
    async fn what_was_finished_is_known_after_a_kill_and_a_torn_line() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("to");
        let mut target = open(&to, Format::Jsonl).await;
        export(&mut target, "a", 5, 1_795_226_820_000, b"lines").await;
        // What a killed run was at.
        fs::write(to.join(UNFINISHED).join("x"), b"half").unwrap();
        // Dropped without having settled, as a killed run is.
        drop(target);
        let manifest = to.join(MANIFEST);
        OpenOptions::new().append(true).open(&manifest).unwrap().write_all(b"{\"project\":\"to").unwrap();
        let mut target = open(&to, Format::Jsonl).await;
        assert!(has(&mut target, "a", 5).await);
        assert!(!has(&mut target, "a", 6).await && !has(&mut target, "b", 5).await);
        assert_eq!(fs::read_dir(to.join(UNFINISHED)).unwrap().count(), 0);
        let file = to.join("phc_%2E%2E%2Fx/2026-11-21/a.jsonl");
        assert_eq!(fs::read(&file).unwrap(), b"lines");
        // A recording that turns out to have begun the day before moves.
        export(&mut target, "a", 6, 1_795_126_820_000, b"more lines").await;
        assert!(!file.exists() && has(&mut target, "a", 6).await);
        target.settle().await.unwrap();
        let sums = fs::read_to_string(to.join(SUMS)).unwrap();
        assert!(sums.ends_with("  phc_%2E%2E%2Fx/2026-11-19/a.jsonl\n") && sums.lines().count() == 1, "{sums}");
        assert_eq!(fs::read_to_string(&manifest).unwrap().lines().count(), 1);
    }

    #[tokio::test]
    async fn a_file_that_somebody_shortened_is_exported_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut target = open(dir.path(), Format::Reel).await;
        export(&mut target, "a", 5, 0, b"lines").await;
        assert!(has(&mut target, "a", 5).await);
        fs::write(dir.path().join("phc_%2E%2E%2Fx/1970-01-01/a.reel"), b"li").unwrap();
        assert!(!has(&mut target, "a", 5).await);
    }
}
