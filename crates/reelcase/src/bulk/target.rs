//! A directory that recordings are exported to.
//!
//! ```text
//! DIR/manifest.jsonl            one line for each file: of which recording and state it is, its length and hash
//! DIR/SHA256SUMS                the same hashes, for `sha256sum -c`
//! DIR/PROJECT/2026-11-21/ID.reel
//! DIR/.unfinished/              what is being written; emptied at the next start
//! ```
//!
//! The manifest is appended to file by file, after the file has its name, and written anew at the end of a run. Its last
//! line may be torn; of two lines on one file the later counts.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use reelcase_server::api::iso;
use reelcase_transform::format::Format;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const MANIFEST: &str = "manifest.jsonl";
const SUMS: &str = "SHA256SUMS";
const UNFINISHED: &str = ".unfinished";
const LOCK: &str = ".lock";

/// The directory, and what is in it.
pub(super) struct Target {
    dir: PathBuf,
    format: Format,
    /// By project, recording and form.
    entries: BTreeMap<(String, String, String), Entry>,
    manifest: File,
    /// Keeps other runs away as long as this one lasts.
    _lock: File,
}

/// A line of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    project: String,
    recording: String,
    format: String,
    /// Below the directory.
    file: String,
    /// The state of the recording: when something was last added to it.
    updated_at_ms: i64,
    start_ms: i64,
    event_count: u64,
    bytes: u64,
    sha256: String,
    /// Damaged blocks that are missing from it.
    #[serde(default)]
    gap_count: u64,
}

/// Of what a file is.
pub(super) struct Exported {
    pub(super) project: String,
    pub(super) recording: String,
    pub(super) start_ms: i64,
    pub(super) updated_at_ms: i64,
    pub(super) event_count: u64,
    pub(super) gap_count: u64,
}

/// A file that is being written.
pub(super) struct Unfinished {
    file: tempfile::NamedTempFile,
    hash: Sha256,
    bytes: u64,
}

impl Target {
    /// Opens a directory, which is made if need be. Fails where another run is at work in it.
    pub(super) fn open(dir: PathBuf, format: Format) -> anyhow::Result<Self> {
        let lock = hold(&dir)?;
        let entries = read_manifest(&dir)?;
        // Written anew, so that a torn line at its end does not spoil the next.
        write_manifest(&dir, &entries)?;
        let manifest = OpenOptions::new().append(true).open(dir.join(MANIFEST))?;
        Ok(Self { dir, format, entries, manifest, _lock: lock })
    }

    /// The form of its files.
    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// Whether this state of a recording is there.
    pub(super) fn has(&self, project: &str, recording: &str, updated_at_ms: i64) -> bool {
        let entry = self.entries.get(&self.key(project, recording));
        let entry = entry.filter(|entry| entry.updated_at_ms == updated_at_ms);
        entry.is_some_and(|entry| {
            fs::metadata(self.dir.join(&entry.file)).is_ok_and(|file| file.is_file() && file.len() == entry.bytes)
        })
    }

    /// Begins a file that has no name yet.
    pub(super) fn begin(&self) -> anyhow::Result<Unfinished> {
        Unfinished::new(&self.dir)
    }

    /// Gives a whole file its name, and then its line. Returns its length.
    pub(super) fn finish(&mut self, unfinished: Unfinished, of: Exported) -> anyhow::Result<u64> {
        let name = self.name(&of);
        let (bytes, sha256) = unfinished.persist(&self.dir, &name)?;
        let Exported { project, recording, start_ms, updated_at_ms, event_count, gap_count } = of;
        let format = self.format.info().name.to_owned();
        let key = self.key(&project, &recording);
        let entry = Entry {
            project,
            recording,
            format,
            file: name,
            updated_at_ms,
            start_ms,
            event_count,
            bytes,
            sha256,
            gap_count,
        };
        // One write, so that a run which is killed leaves a whole line or the beginning of one.
        self.manifest.write_all(&line_of(&entry)?)?;
        let before = self.entries.insert(key, entry.clone());
        if let Some(before) = before.filter(|before| before.file != entry.file) {
            // An earlier event came late, and the recording began on another day.
            let _ = fs::remove_file(self.dir.join(before.file));
        }
        Ok(bytes)
    }

    /// Writes what is known of all files in one go, and durably.
    pub(super) fn settle(&mut self) -> anyhow::Result<()> {
        write_manifest(&self.dir, &self.entries)?;
        let sums = self.entries.values().map(|entry| format!("{}  {}\n", entry.sha256, entry.file));
        write_whole(&self.dir, SUMS, sums.collect::<String>().as_bytes())?;
        self.manifest = OpenOptions::new().append(true).open(self.dir.join(MANIFEST))?;
        Ok(())
    }

    /// What there is, for people.
    pub(super) fn about(&self) -> String {
        format!("{} files in {}", self.entries.len(), self.dir.join(MANIFEST).display())
    }

    fn key(&self, project: &str, recording: &str) -> (String, String, String) {
        (project.to_owned(), recording.to_owned(), self.format.info().name.to_owned())
    }

    fn name(&self, of: &Exported) -> String {
        let moment = iso(of.start_ms);
        let day = moment.split('T').next().filter(|day| !day.is_empty()).unwrap_or("undated");
        format!("{}/{day}/{}.{}", folder(&of.project), of.recording, self.format.info().ending)
    }
}

/// Makes a directory if need be, keeps other runs out of it, and empties what an earlier one left unfinished.
pub(super) fn hold(dir: &Path) -> anyhow::Result<File> {
    let name = dir.display().to_string();
    fs::create_dir_all(dir).with_context(|| format!("cannot make {name}"))?;
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(dir.join(LOCK));
    let lock = lock.with_context(|| format!("cannot write in {name}"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => bail!("another export is writing to {name}"),
        Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("cannot lock {name}")),
    }
    let unfinished = dir.join(UNFINISHED);
    match fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => fs::create_dir(&unfinished)?,
    }
    Ok(lock)
}

impl Unfinished {
    /// A file without a name in a directory that is held.
    pub(super) fn new(dir: &Path) -> anyhow::Result<Self> {
        let file = tempfile::Builder::new().tempfile_in(dir.join(UNFINISHED));
        let file = file.with_context(|| format!("cannot write in {}", dir.display()))?;
        Ok(Self { file, hash: Sha256::new(), bytes: 0 })
    }

    /// Gives it its name, durably. Returns its length and hash.
    pub(super) fn persist(self, dir: &Path, name: &str) -> anyhow::Result<(u64, String)> {
        self.file.as_file().sync_data()?;
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap_or(dir))?;
        self.file.persist(&path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok((self.bytes, self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
    }
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written_bytes = self.file.write(bytes)?;
        self.hash.update(&bytes[..written_bytes]);
        self.bytes += written_bytes as u64;
        Ok(written_bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A project's key as the name of a folder: it may hold slashes and dots.
fn folder(project: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let one = |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    project.bytes().map(one).collect()
}

/// The files that a directory's manifest lists, each with its project and recording. None where there is no manifest.
pub(super) fn listed_files(dir: &Path) -> anyhow::Result<Vec<(PathBuf, String, String)>> {
    let entries = read_manifest(dir)?;
    Ok(entries.into_values().map(|entry| (dir.join(entry.file), entry.project, entry.recording)).collect())
}

fn line_of(entry: &Entry) -> anyhow::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    Ok(line)
}

fn read_manifest(dir: &Path) -> anyhow::Result<BTreeMap<(String, String, String), Entry>> {
    let path = dir.join(MANIFEST);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        file => file.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let mut entries = BTreeMap::new();
    for line in BufReader::new(file).split(b'\n') {
        // What cannot be read is exported again.
        if let Ok(entry) = serde_json::from_slice::<Entry>(&line?) {
            entries.insert((entry.project.clone(), entry.recording.clone(), entry.format.clone()), entry);
        }
    }
    Ok(entries)
}

fn write_manifest(dir: &Path, entries: &BTreeMap<(String, String, String), Entry>) -> anyhow::Result<()> {
    let lines: Vec<Vec<u8>> = entries.values().map(line_of).collect::<Result<_, _>>()?;
    write_whole(dir, MANIFEST, &lines.concat())
}

pub(super) fn write_whole(dir: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let mut file = tempfile::Builder::new().tempfile_in(dir.join(UNFINISHED))?;
    file.write_all(bytes)?;
    file.as_file().sync_data()?;
    file.persist(dir.join(name)).with_context(|| format!("cannot write {name} in {}", dir.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(target: &mut Target, recording: &str, updated_at_ms: i64, start_ms: i64, bytes: &[u8]) {
        let mut file = target.begin().unwrap();
        file.write_all(bytes).unwrap();
        let (project, recording) = ("phc_../x".to_owned(), recording.to_owned());
        let of = Exported { project, recording, start_ms, updated_at_ms, event_count: 1, gap_count: 0 };
        assert_eq!(target.finish(file, of).unwrap(), bytes.len() as u64);
    }

    #[test]
    fn what_was_finished_is_known_after_a_kill_and_a_torn_line() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Target::open(dir.path().join("to"), Format::Jsonl).unwrap();
        let mut target = open();
        export(&mut target, "a", 5, 1_795_226_820_000, b"lines");
        let _killed = target.begin().unwrap().file.keep().unwrap();
        // Dropped without having settled, as a killed run is.
        drop(target);
        let manifest = dir.path().join("to").join(MANIFEST);
        OpenOptions::new().append(true).open(&manifest).unwrap().write_all(b"{\"project\":\"to").unwrap();
        let mut target = open();
        assert!(target.has("phc_../x", "a", 5) && !target.has("phc_../x", "a", 6) && !target.has("phc_../x", "b", 5));
        assert_eq!(fs::read_dir(dir.path().join("to").join(UNFINISHED)).unwrap().count(), 0);
        let file = dir.path().join("to/phc_%2E%2E%2Fx/2026-11-21/a.jsonl");
        assert_eq!(fs::read(&file).unwrap(), b"lines");
        // A recording that turns out to have begun the day before moves.
        export(&mut target, "a", 6, 1_795_126_820_000, b"more lines");
        assert!(!file.exists() && target.has("phc_../x", "a", 6));
        target.settle().unwrap();
        let sums = fs::read_to_string(dir.path().join("to").join(SUMS)).unwrap();
        assert!(sums.ends_with("  phc_%2E%2E%2Fx/2026-11-19/a.jsonl\n") && sums.lines().count() == 1, "{sums}");
        assert_eq!(fs::read_to_string(&manifest).unwrap().lines().count(), 1);
    }

    #[test]
    fn a_file_that_somebody_shortened_is_exported_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut target = Target::open(dir.path().to_owned(), Format::Reel).unwrap();
        export(&mut target, "a", 5, 0, b"lines");
        assert!(target.has("phc_../x", "a", 5));
        fs::write(dir.path().join("phc_%2E%2E%2Fx/1970-01-01/a.reel"), b"li").unwrap();
        assert!(!target.has("phc_../x", "a", 5));
    }

    #[test]
    fn two_runs_never_write_to_one_directory() {
        let dir = tempfile::tempdir().unwrap();
        let _first = Target::open(dir.path().to_owned(), Format::Reel).unwrap();
        let refused = Target::open(dir.path().to_owned(), Format::Reel).err().unwrap().to_string();
        assert!(refused.contains("another export is writing to"), "{refused}");
    }
}
