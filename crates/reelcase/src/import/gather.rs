//! What there is to import: files, directories that are searched for files, and buckets.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use reelcase_server::import::Name;

use super::sessions::{self, Piece, Session, piece_of_session};
use crate::bucket::{Bucket, BucketUrl, Found, is_absent};
use crate::bulk::{MANIFEST, STORE_ID, exported_files, read_manifest};
use crate::{file, sign};

/// Directories within directories.
const DEPTH_MAX: usize = 32;

/// What keeps the books of an export, and is no recording.
const BOOKS: [&str; 3] = [MANIFEST, "tables.jsonl", "SHA256SUMS"];

/// What is known of files that do not say it themselves, such as lines.
type Names = BTreeMap<PathBuf, Name>;

/// Where something lies.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    Disk,
    Bucket(Bucket),
}

/// A file, or an object of a bucket.
#[derive(Debug, Clone)]
pub(super) struct Blob {
    origin: Origin,
    /// A path, or a name below the prefix of the bucket.
    pub(super) name: String,
    path: PathBuf,
    bytes: u64,
    /// Of an object, what changes when its content does.
    version: Option<String>,
}

/// What a manifest says of a file.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) name: Name,
    pub(super) start_ms: i64,
    pub(super) event_count: u64,
}

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) blobs: Vec<Blob>,
    /// Recordings that lie in pieces, each a file of its own.
    pub(super) pieces: Vec<Session>,
    names: Names,
    /// Of objects, by bucket and name.
    known: BTreeMap<String, Known>,
    /// Objects with signatures, by bucket and name of what is signed.
    signatures: BTreeMap<String, Blob>,
    /// Where what is named elsewhere lies.
    places: Vec<(Origin, PathBuf)>,
}

/// A file to look at: one of somebody's, or a copy that goes when it was looked at.
pub(super) enum Local {
    Theirs(PathBuf),
    Copy(tempfile::NamedTempFile),
}

impl Local {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Theirs(path) => path,
            Self::Copy(file) => file.path(),
        }
    }
}

/// A recording whose pieces lie in one file.
pub(super) struct Joined {
    pub(super) file: Local,
    /// What is missing of it, for people, by the name of what it should be in.
    pub(super) missing: Vec<(String, String)>,
}

impl fmt::Display for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Disk => self.path.display().fmt(f),
            Origin::Bucket(bucket) => write!(f, "{}/{}", bucket.url(), self.name),
        }
    }
}

impl Blob {
    fn of_file(path: PathBuf) -> Self {
        let bytes = path.metadata().map_or(0, |file| file.len());
        Self { origin: Origin::Disk, name: path.to_string_lossy().into_owned(), path, bytes, version: None }
    }

    /// The state of an object, by name. A file is at hand anyway.
    pub(super) fn version(&self) -> Option<String> {
        self.version.as_ref().map(|version| format!("{self} {version}"))
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// All of it, as a piece.
    pub(super) fn whole(&self) -> Piece {
        Piece { blob: self.clone(), range: 0..self.bytes, is_block: false }
    }
}

impl Gathered {
    /// Adds a place of which it is known what to read. A bucket of PostHog may list millions of objects.
    pub(super) async fn add_place(&mut self, input: &Path, endpoint: Option<&str>) -> anyhow::Result<()> {
        match input.to_str().filter(|input| BucketUrl::is_one(input)) {
            Some(url) => {
                let bucket = Bucket::open(&url.parse()?, endpoint)?;
                ensure!(!bucket.is_empty().await?, "there is nothing in {}", bucket.url());
                self.places.push((Origin::Bucket(bucket), PathBuf::new()));
            }
            None => {
                std::fs::metadata(input).with_context(|| format!("cannot read {}", input.display()))?;
                self.places.push((Origin::Disk, input.to_owned()));
            }
        }
        Ok(())
    }

    /// Adds what was named on the command line.
    pub(super) async fn add(&mut self, input: &Path, endpoint: Option<&str>) -> anyhow::Result<()> {
        let blobs = match input.to_str().filter(|input| BucketUrl::is_one(input)) {
            Some(url) => self.add_bucket(Bucket::open(&url.parse()?, endpoint)?).await?,
            None => {
                if input.join(STORE_ID).is_file() {
                    let hint = "`reelcase merge` brings it into another one, `reelcase pack` makes a file of it";
                    bail!("{} is a store\nhint: {hint}", input.display());
                }
                let mut files = Vec::new();
                collect(input, 0, &mut files)?;
                files.retain(|file| !keeps_books(input, file));
                self.names.extend(names_below(input)?);
                files.into_iter().map(Blob::of_file).collect()
            }
        };
        let mut pieces: BTreeMap<_, Vec<(i64, Blob)>> = BTreeMap::new();
        for blob in blobs {
            match piece_of_session(&blob.name) {
                Some((id, start_ms)) => pieces.entry(id).or_default().push((start_ms, blob)),
                None => self.blobs.push(blob),
            }
        }
        for (id, mut blobs) in pieces {
            blobs.sort_by_key(|(start_ms, _)| *start_ms);
            let first = blobs.first().map_or_else(String::new, |(_, blob)| blob.to_string());
            let what = format!("recording {id} in {}", first.rsplit_once('/').map_or("", |(folder, _)| folder));
            let pieces = blobs.iter().map(|(_, blob)| blob.whole()).collect();
            self.pieces.push(Session { what, id: Some(id), pieces, damage: None });
        }
        // Of several files of one recording, the one that holds most of it.
        self.blobs.sort_by_key(|blob| !blob.name.ends_with(".reel"));
        Ok(())
    }

    async fn add_bucket(&mut self, bucket: Bucket) -> anyhow::Result<Vec<Blob>> {
        let origin = Origin::Bucket(bucket.clone());
        let mut listed = bucket.list().await?;
        if listed.is_empty() {
            bail!("there is nothing in {}", bucket.url());
        }
        if let Some((manifest, _)) = bucket.get(MANIFEST).await? {
            for entry in read_manifest(&manifest).into_values() {
                let (Ok(project), Ok(id)) = (entry.project.parse(), entry.recording.parse()) else { continue };
                let (start_ms, event_count) = (entry.start_ms, entry.event_count);
                let known = Known { name: (project, id), start_ms, event_count };
                self.known.insert(format!("{}/{}", bucket.url(), entry.file), known);
            }
        }
        listed.retain(|found| !BOOKS.contains(&found.name.as_str()));
        let blob = |found: Found| {
            let (name, bytes, version) = (found.name, found.bytes, Some(found.version));
            Blob { origin: origin.clone(), path: PathBuf::from(&name), name, bytes, version }
        };
        let mut blobs = Vec::new();
        for blob in listed.into_iter().map(blob) {
            match sign::signed_beside(&blob.name) {
                Some(of) => drop(self.signatures.insert(format!("{}/{of}", bucket.url()), blob)),
                None => blobs.push(blob),
            }
        }
        Ok(blobs)
    }

    /// What is known of the recording that is in it.
    pub(super) fn name(&self, blob: &Blob) -> Option<&Name> {
        match blob.origin {
            Origin::Disk => self.names.get(&blob.path),
            Origin::Bucket(_) => self.known(blob).map(|known| &known.name),
        }
    }

    /// What a manifest of a bucket says of it.
    pub(super) fn known(&self, blob: &Blob) -> Option<&Known> {
        self.known.get(&blob.to_string())
    }

    /// A file of it to look at.
    pub(super) async fn fetch(&self, blob: &Blob, workshop: &Path) -> anyhow::Result<Local> {
        Ok(match &blob.origin {
            Origin::Disk => Local::Theirs(blob.path.clone()),
            Origin::Bucket(bucket) => {
                let mut copy = tempfile::Builder::new().tempfile_in(workshop)?;
                bucket.download(&blob.name, 0..blob.bytes, copy.as_file_mut()).await?;
                Local::Copy(copy)
            }
        })
    }

    /// The signatures beside it, where there are any.
    pub(super) async fn signatures(&self, blob: &Blob, workshop: &Path) -> anyhow::Result<Option<Vec<u8>>> {
        if let Origin::Disk = blob.origin {
            return sign::read_beside(&blob.path);
        }
        let Some(beside) = self.signatures.get(&blob.to_string()) else { return Ok(None) };
        let mut copy = tempfile::tempfile_in(workshop)?;
        beside.read(0..beside.bytes.min(sign::BESIDE_BYTES_MAX), &mut copy).await?;
        copy.rewind()?;
        let mut signatures = Vec::new();
        copy.read_to_end(&mut signatures)?;
        Ok(Some(signatures))
    }

    /// One file of all pieces that are there. Blocks have their lengths before them in it.
    pub(super) async fn join(&self, pieces: &[Piece], workshop: &Path) -> anyhow::Result<Joined> {
        let mut whole = tempfile::Builder::new().tempfile_in(workshop)?;
        let mut missing = Vec::new();
        for Piece { blob, range, is_block } in pieces {
            let begins_at = whole.stream_position()?;
            if *is_block {
                let stored_bytes = u32::try_from(range.end - range.start).context("a block of more than 4 GiB")?;
                whole.write_all(&stored_bytes.to_be_bytes())?;
            }
            match blob.read(range.clone(), whole.as_file_mut()).await {
                // One object that is gone, or too short, must not cost the others.
                Err(error) if is_absent(&error) => {
                    whole.as_file().set_len(begins_at)?;
                    whole.seek(io::SeekFrom::Start(begins_at))?;
                    missing.push((blob.to_string(), format!("{error:#}")));
                }
                read => read?,
            }
        }
        Ok(Joined { file: Local::Copy(whole), missing })
    }

    /// The recordings that a list of PostHog's block URLs names.
    pub(super) fn of_urls(&self, listed: Vec<sessions::Listed>) -> anyhow::Result<Vec<Session>> {
        let (origin, root) = self.places.first().context("there is no bucket to read")?;
        let session = |listed: sessions::Listed| {
            let piece = |(key, range): (String, Range<u64>)| {
                let origin = match origin {
                    Origin::Disk => Origin::Disk,
                    Origin::Bucket(bucket) => Origin::Bucket(bucket.at_top()),
                };
                let blob = Blob { origin, path: root.join(&key), name: key, bytes: range.end, version: None };
                Piece { blob, range, is_block: true }
            };
            let pieces = listed.blocks.into_iter().map(piece).collect();
            Session { what: format!("recording {}", listed.id), id: Some(listed.id), pieces, damage: None }
        };
        Ok(listed.into_iter().map(session).collect())
    }
}

impl Blob {
    /// Adds a part of it to a file.
    async fn read(&self, range: Range<u64>, to: &mut File) -> anyhow::Result<()> {
        match &self.origin {
            Origin::Disk => {
                let mut file = file::open(&self.path)?;
                file.seek(io::SeekFrom::Start(range.start))?;
                let (file_bytes, wanted_bytes) = (file.metadata()?.len(), range.end - range.start);
                if io::copy(&mut file.take(wanted_bytes), to)? < wanted_bytes {
                    let what = format!("{self} ends at byte {file_bytes}, too early");
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what).into());
                }
                Ok(())
            }
            Origin::Bucket(bucket) => bucket.download(&self.name, range, to).await,
        }
    }
}

/// Whether a file keeps the books of the export that a directory holds.
fn keeps_books(dir: &Path, file: &Path) -> bool {
    let is_export = || exported_files(dir).is_ok_and(|files| !files.is_empty()) || dir.join("snapshots").is_dir();
    BOOKS.iter().any(|book| dir.join(book) == file) && is_export()
}

/// What a directory that was exported to says of its files.
fn names_below(dir: &Path) -> anyhow::Result<Names> {
    if !dir.is_dir() {
        return Ok(Names::new());
    }
    let named = exported_files(dir)?.into_iter();
    Ok(named.filter_map(|(path, project, id)| Some((path, (project.parse().ok()?, id.parse().ok()?)))).collect())
}

/// All files below a path, by name. Hidden ones are nobody's recordings, and signatures are of others.
fn collect(path: &Path, depth: usize, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let metadata = match std::fs::metadata(path) {
        // One among others that leads nowhere is named when it is looked at.
        Err(_) if depth > 0 => {
            found.push(path.to_owned());
            return Ok(());
        }
        metadata => metadata.with_context(|| format!("cannot read {}", path.display()))?,
    };
    if !metadata.is_dir() {
        found.push(path.to_owned());
        return Ok(());
    }
    if depth > DEPTH_MAX {
        bail!("{} lies more than {DEPTH_MAX} directories deep", path.display());
    }
    let entries = match std::fs::read_dir(path) {
        // So is one that is for others.
        Err(_) if depth > 0 => {
            found.push(path.to_owned());
            return Ok(());
        }
        entries => entries.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    let is_hidden = |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let is_signature = |path: &Path| path.to_str().is_some_and(|name| sign::signed_beside(name).is_some());
    paths
        .iter()
        .filter(|path| !is_hidden(path) && !is_signature(path))
        .try_for_each(|path| collect(path, depth + 1, found))
}
