//! Where an export goes: a directory, or a bucket below a prefix. Both hold the same files under the same names.
//!
//! A file is whole before it has its name. In a directory it takes shape in `.unfinished`; for a bucket in a file without
//! a name, from where it is uploaded, and of which a run that is killed leaves nothing.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, bail};
use object_store::UpdateVersion;
use sha2::{Digest, Sha256};
use tempfile::TempPath;

use crate::bucket::{Bucket, BucketUrl, Replaced};
use crate::file::unfinished_in;
use crate::remote::encoded;

/// What lies in the directory of every store.
pub(crate) const STORE_ID: &str = "store-id";

const UNFINISHED: &str = ".unfinished";
const LOCK: &str = ".lock";

/// Under which name an object of a bucket says what it is: its line of the manifest.
const ABOUT: &str = "reelcase";

/// What `--to` names.
#[derive(Debug, Clone)]
pub(crate) enum To {
    Dir(PathBuf),
    Bucket(BucketUrl),
}

impl FromStr for To {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        Ok(match BucketUrl::is_one(text) {
            true => Self::Bucket(text.parse()?),
            false => Self::Dir(text.into()),
        })
    }
}

/// See the module's page.
pub(super) enum Place {
    Dir {
        dir: PathBuf,
        /// Keeps other runs away as long as this one lasts.
        _lock: File,
    },
    Bucket {
        bucket: Bucket,
        /// What is there, with lengths.
        there: Mutex<BTreeMap<String, u64>>,
        /// The state of the manifest that was read or written last.
        seen: Mutex<Option<UpdateVersion>>,
    },
}

/// A file that is being written.
pub(super) struct Unfinished {
    file: File,
    /// Of one that is to get a name in a directory.
    path: Option<TempPath>,
    /// Where it lies, for people.
    place: String,
    hash: Sha256,
    bytes: u64,
}

/// A file that is whole and has no name yet.
pub(super) struct Finished {
    file: File,
    path: Option<TempPath>,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

impl Place {
    /// Makes a directory if need be, keeps other runs out of it, and empties what an earlier one left unfinished; or
    /// looks what is in a bucket.
    pub(super) async fn open(to: &To, endpoint: Option<&str>) -> anyhow::Result<Self> {
        match to {
            To::Dir(dir) => {
                if dir.join(STORE_ID).is_file() {
                    bail!("{} is a store\nhint: export to a directory of its own", dir.display());
                }
                Ok(Self::Dir { dir: dir.clone(), _lock: hold(dir)? })
            }
            To::Bucket(url) => {
                let bucket = Bucket::open(url, endpoint)?;
                let there = bucket.list().await?.into_iter().map(|found| (found.name, found.bytes)).collect();
                Ok(Self::Bucket { bucket, there: Mutex::new(there), seen: Mutex::default() })
            }
        }
    }

    /// A directory that is written to line by line.
    pub(super) fn dir(&self) -> Option<&Path> {
        match self {
            Self::Dir { dir, .. } => Some(dir),
            Self::Bucket { .. } => None,
        }
    }

    /// A file of it, for people.
    pub(super) fn describe(&self, name: &str) -> String {
        match self {
            Self::Dir { dir, .. } => dir.join(name).display().to_string(),
            Self::Bucket { bucket, .. } => format!("{}/{name}", bucket.url()),
        }
    }

    /// Begins a file that has no name yet.
    pub(super) fn begin(&self) -> anyhow::Result<Unfinished> {
        let (file, path, place) = match self {
            Self::Dir { dir, .. } => {
                let place = dir.display().to_string();
                let file = unfinished_in(&dir.join(UNFINISHED)).with_context(|| format!("cannot write in {place}"))?;
                let (file, path) = file.into_parts();
                (file, Some(path), place)
            }
            Self::Bucket { .. } => {
                let place = format!("{}, the directory for temporary files", std::env::temp_dir().display());
                (tempfile::tempfile().with_context(|| format!("cannot write in {place}"))?, None, place)
            }
        };
        Ok(Unfinished { file, path, place, hash: Sha256::new(), bytes: 0 })
    }

    /// Gives a whole file its name, durably. `about` is what it says of itself where nobody kept that elsewhere.
    pub(super) async fn keep(&self, finished: Finished, name: &str, about: &str) -> anyhow::Result<()> {
        match self {
            Self::Dir { dir, .. } => {
                let path = dir.join(name);
                let kept = finished.keep_as(&path, dir);
                kept.with_context(|| format!("cannot write {}", path.display()))?;
            }
            Self::Bucket { bucket, there, .. } => {
                let Finished { mut file, bytes, .. } = finished;
                // Headers take ASCII.
                bucket.put_file(name, &mut file, bytes, ABOUT, &encoded(about)).await?;
                there.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), bytes);
            }
        }
        Ok(())
    }

    /// The length of a file, where there is one.
    pub(super) fn bytes_of(&self, name: &str) -> Option<u64> {
        match self {
            Self::Dir { dir, .. } => {
                let there = fs::metadata(dir.join(name)).ok()?;
                there.is_file().then_some(there.len())
            }
            Self::Bucket { there, .. } => there.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied(),
        }
    }

    /// What a file says of itself.
    pub(super) async fn about(&self, name: &str) -> anyhow::Result<Option<String>> {
        match self {
            Self::Bucket { bucket, .. } if self.bytes_of(name).is_some() => {
                Ok(bucket.about(name, ABOUT).await?.map(|about| decoded(&about)))
            }
            Self::Bucket { .. } | Self::Dir { .. } => Ok(None),
        }
    }

    /// All files below a folder of it.
    pub(super) fn names_below(&self, folder: &str) -> anyhow::Result<Vec<String>> {
        match self {
            Self::Dir { dir, .. } => {
                let mut names = Vec::new();
                for below in entries(&dir.join(folder))? {
                    let below = format!("{folder}/{below}");
                    let inner = self.names_below(&below)?;
                    names.extend(if inner.is_empty() { vec![below] } else { inner });
                }
                Ok(names)
            }
            Self::Bucket { there, .. } => {
                let there = there.lock().unwrap_or_else(PoisonError::into_inner);
                let is_below = |name: &&String| name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
                Ok(there.keys().filter(is_below).cloned().collect())
            }
        }
    }

    /// The manifest, which [`Self::replace_manifest`] replaces.
    pub(super) async fn read_manifest(&self, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let Self::Bucket { bucket, seen, .. } = self else { return self.read(name).await };
        let got = bucket.get(name).await?;
        *seen.lock().unwrap_or_else(PoisonError::into_inner) = got.as_ref().map(|(_, version)| version.clone());
        Ok(got.map(|(bytes, _)| bytes.to_vec()))
    }

    /// A small file. `None` where there is none.
    pub(super) async fn read(&self, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
        match self {
            Self::Dir { dir, .. } => match fs::read(dir.join(name)) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error).with_context(|| format!("cannot read {}", self.describe(name))),
            },
            Self::Bucket { bucket, .. } => Ok(bucket.get(name).await?.map(|(bytes, _)| bytes.to_vec())),
        }
    }

    /// Writes the manifest. Returns whether it is written: of a bucket another run may have changed it.
    pub(super) async fn replace_manifest(&self, name: &str, bytes: Vec<u8>) -> anyhow::Result<bool> {
        let Self::Bucket { bucket, seen, .. } = self else {
            return self.write(name, bytes).await.map(|()| true);
        };
        let known = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(match bucket.replace(name, bytes, known).await? {
            Replaced::Done(version) => {
                *seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(version);
                true
            }
            Replaced::Conflict => false,
        })
    }

    /// Writes a file in one go.
    pub(super) async fn write(&self, name: &str, bytes: Vec<u8>) -> anyhow::Result<()> {
        match self {
            Self::Dir { dir, .. } => {
                write_in(dir, name, &bytes).with_context(|| format!("cannot write {}", self.describe(name)))
            }
            Self::Bucket { bucket, .. } => bucket.put(name, bytes).await,
        }
    }

    /// Deletes a file, also one that is gone.
    pub(super) async fn remove(&self, name: &str) -> anyhow::Result<()> {
        match self {
            Self::Dir { dir, .. } => match fs::remove_file(dir.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            },
            Self::Bucket { bucket, there, .. } => {
                bucket.remove(name).await?;
                there.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
                Ok(())
            }
        }
    }
}

impl Unfinished {
    /// No more comes.
    pub(super) fn finish(self) -> Finished {
        let sha256 = self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Finished { file: self.file, path: self.path, bytes: self.bytes, sha256 }
    }
}

impl Finished {
    /// Gives it a name in a directory, durably.
    fn keep_as(self, path: &Path, dir: &Path) -> io::Result<()> {
        self.file.sync_data()?;
        fs::create_dir_all(path.parent().unwrap_or(dir))?;
        match self.path {
            Some(unnamed) => unnamed.persist(path).map_err(|error| error.error),
            None => Err(io::Error::other("it was begun elsewhere")),
        }
    }
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes);
        let named = |error: io::Error| io::Error::new(error.kind(), format!("cannot write in {}: {error}", self.place));
        let written_bytes = written.map_err(named)?;
        self.hash.update(&bytes[..written_bytes]);
        self.bytes += written_bytes as u64;
        Ok(written_bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn hold(dir: &Path) -> anyhow::Result<File> {
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
    let emptied = match fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::create_dir(&unfinished),
    };
    emptied.with_context(|| format!("cannot write in {name}"))?;
    Ok(lock)
}

/// Writes a file of a directory in one go, durably.
fn write_in(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = unfinished_in(&dir.join(UNFINISHED))?;
    file.as_file_mut().write_all(bytes)?;
    file.as_file().sync_data()?;
    file.persist(dir.join(name)).map(|_| ()).map_err(|error| error.error)
}

/// The names in a directory; none where it is no directory.
fn entries(dir: &Path) -> anyhow::Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        entries => entries?,
    };
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().into_string().ok()));
    Ok(names.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// The text that [`encoded`] made something of.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => (bytes.push(byte), rest = &after[2..]),
            None => (bytes.push(*first), rest = after),
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_object_says_of_itself_comes_back_from_its_header() {
        for text in [r#"{"project":"phc_ä%20/","bytes":3}"#, "", "100%", "%4"] {
            assert_eq!(decoded(&encoded(text)), text);
        }
    }

    #[test]
    fn a_bucket_is_named_by_its_scheme_and_everything_else_is_a_directory() {
        let bucket = |text: &str| match text.parse::<To>().unwrap() {
            To::Bucket(url) => url.to_string(),
            To::Dir(dir) => format!("dir {}", dir.display()),
        };
        assert_eq!(bucket("s3://b/a/c/"), "s3://b/a/c");
        assert_eq!(bucket("s3://b"), "s3://b");
        assert_eq!(bucket("./s3"), "dir ./s3");
        assert!("s3:///x".parse::<To>().unwrap_err().to_string().contains("names no bucket"));
    }

    #[tokio::test]
    async fn two_runs_never_write_to_one_directory() {
        let dir = tempfile::tempdir().unwrap();
        let to = To::Dir(dir.path().to_owned());
        let _first = Place::open(&to, None).await.unwrap();
        let refused = Place::open(&to, None).await.err().unwrap().to_string();
        assert!(refused.contains("another export is writing to"), "{refused}");
    }
}
