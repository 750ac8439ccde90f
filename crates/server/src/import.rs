//! Brings a file of any form into a store: one that is being served, or one that no server holds.
//!
//! The file becomes a `.reel` file for each of its recordings, unless it is one, and these become objects of the store.
//! What is there already is recognised by its uploads, or else by the recording's id and figures; so the same file may
//! come twice, and an import may be cut short anywhere.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reelcase_format::id::{ProjectKey, RecordingId, UploadId};
use reelcase_format::reel::{self, Index, RecordingEntry, ReelLimits, verify};
use reelcase_format::summary::Summary;
use reelcase_store::notes::said::Said;
use reelcase_store::{FileSource, Store, StoreError};
use reelcase_transform::foreign::{ForeignReader, Limits};
use reelcase_transform::html::ReelInHtml;
use reelcase_transform::kind::Kind;
use reelcase_transform::reel::{Beside, ReelOptions, ReelReadLimits, ReelReader, ReelSink};
use reelcase_transform::staff::{StaffError, StaffReader};
use reelcase_transform::stream::{Damage, ReadEvents, ReadReport, WriteError, copy_readable};
use reelcase_transform::tables::{SnapshotError, SnapshotReader};
use reelcase_transform::zip::ZipLimits;
use serde::{Deserialize, Serialize};
use tempfile::TempPath;
use utoipa::ToSchema;

/// What names this program in the files it writes.
const CREATOR: &str = concat!("reelcase ", env!("CARGO_PKG_VERSION"));

/// zstd's level in files that the store compacts later.
const LEVEL: i32 = 3;

/// What the index of an object of a store says, and that of a file for others does not.
const OBJECT_KEYS: [&str; 2] = ["kind", "sealed_at_ms"];

/// A recording of a project.
pub type Name = (ProjectKey, RecordingId);

/// How a file is taken.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// The project of recordings whose file names none.
    pub project: ProjectKey,
    /// The recording that is in the file, where the file does not say so itself.
    pub name: Option<Name>,
    /// Whether to take what can be read of a damaged file, which is left alone otherwise.
    pub keep_partial: bool,
    /// Whether to say what there is and take nothing.
    pub is_dry_run: bool,
}

/// What became of a file. A file of which nothing is said here holds no recording.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Imported {
    /// Recordings that were not in the store, and are now.
    pub new: Vec<ImportedRecording>,
    /// rrweb events of these.
    pub event_count: u64,
    /// How many recordings were there already.
    pub there_count: u64,
    /// Comments and tags of these recordings that were not in the store, and are now.
    pub said_count: u64,
    /// Those for which the store has no room, and what is none that it could have.
    pub said_left_out_count: u64,
    /// Recordings of which the store has other events. They are left alone.
    pub other: Vec<ImportedRecording>,
    /// What cannot be read, and where. Nothing of such a file is taken, unless it was asked for what can be read.
    pub damage: Option<String>,
}

/// A recording of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct ImportedRecording {
    /// Key of its project.
    #[schema(value_type = String)]
    pub project: ProjectKey,
    /// Its id.
    #[schema(value_type = String)]
    pub id: RecordingId,
}

/// Why it cannot be told what becomes of a file.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file is gone, or the disk fails.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// There is no room for what is made of the file.
    #[error("cannot write what is made of the file")]
    Write(#[source] io::Error),
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a file holds.
enum Content {
    /// No recording.
    Nothing,
    /// What cannot be read, and is to be left alone.
    Damaged(String),
    /// Recordings, a reel for each.
    Made { recordings: Vec<Made>, damage: Option<String> },
    /// A whole reel, with analytics events and persons.
    Reel { file: ReelFile, index: Box<Index> },
}

/// A recording in a reel of its own.
struct Made {
    file: TempPath,
    index: Box<Index>,
    /// What people said of it.
    said: Said,
}

/// What became of reading a recording.
struct Making {
    /// What could be read, if that is anything.
    made: Option<Made>,
    /// Why no more could be.
    stopped: Option<String>,
}

/// Where a reel lies.
enum ReelFile {
    /// It is somebody's.
    Theirs(PathBuf),
    /// It was in something else, and is gone when nobody wants it.
    Made(TempPath),
}

impl ReelFile {
    fn path(&self) -> &Path {
        match self {
            Self::Theirs(path) => path,
            Self::Made(path) => path,
        }
    }
}

/// Takes a file into the store. When this returns what is [`Imported::new`] is on stable storage.
pub async fn import(store: &Arc<Store>, path: &Path, options: &ImportOptions) -> Result<Imported, ImportError> {
    let workshop = store.workshop()?;
    let job = Job { path: path.to_owned(), options: options.clone(), workshop };
    let content = job.clone().off_thread(|job| job.content()).await?;
    let mut imported = Imported::default();
    match content {
        Content::Nothing => {}
        Content::Damaged(what) => imported.damage = Some(what),
        Content::Made { recordings, damage } => {
            imported.damage = damage;
            for made in recordings {
                job.take_made(store, made, &mut imported).await?;
            }
        }
        Content::Reel { file, index } => job.take_reel(store, file, &index, &mut imported).await?,
    }
    Ok(imported)
}

/// Whether a file holds no recording, damaged or not, as far as it can be told. `workshop` is where files may take shape.
pub async fn holds_nothing(path: &Path, workshop: &Path, options: &ImportOptions) -> Result<bool, ImportError> {
    let job = Job { path: path.to_owned(), options: options.clone(), workshop: workshop.to_owned() };
    Ok(matches!(job.off_thread(|job| job.content()).await?, Content::Nothing))
}

/// One file, and how it is taken.
#[derive(Clone)]
struct Job {
    path: PathBuf,
    options: ImportOptions,
    workshop: PathBuf,
}

impl Job {
    /// Takes a recording that the store does not have.
    async fn take_made(&self, store: &Arc<Store>, made: Made, imported: &mut Imported) -> Result<(), ImportError> {
        let Some(entry) = made.index.recordings.first() else { return Ok(()) };
        let is_new = imported.note(entry, presence(store, entry, &made.index).await?);
        if self.options.is_dry_run {
            return Ok(());
        }
        if is_new {
            store.enter_reel(&made.file).await?;
        }
        imported.take_said(store, entry, made.said).await
    }

    /// Takes a reel as it is where all of it is new, and recording by recording where some are.
    async fn take_reel(
        &self,
        store: &Arc<Store>,
        file: ReelFile,
        index: &Index,
        imported: &mut Imported,
    ) -> Result<(), ImportError> {
        let mut new = Vec::new();
        for entry in &index.recordings {
            if imported.note(entry, presence(store, entry, index).await?) {
                new.push(name_of(entry));
            }
        }
        if self.options.is_dry_run {
            return Ok(());
        }
        if new.len() == index.recordings.len() {
            self.enter_whole(store, file).await?;
        } else {
            for name in new {
                let (job, path) = (self.clone(), file.path().to_owned());
                let made = job.off_thread(move |job| job.recording_of(&path, &name)).await?;
                store.enter_reel(&made.file).await?;
            }
        }
        for entry in &index.recordings {
            imported.take_said(store, entry, Said::of_entry(entry)).await?;
        }
        Ok(())
    }

    async fn enter_whole(&self, store: &Arc<Store>, file: ReelFile) -> Result<(), ImportError> {
        let file = match file {
            ReelFile::Theirs(path) if !path.starts_with(&self.workshop) => {
                let job = self.clone();
                ReelFile::Made(job.off_thread(move |job| job.kept(&mut open(&path)?)).await?)
            }
            ours => ours,
        };
        Ok(store.enter_reel(file.path()).await?)
    }

    /// What the file holds. Blocks its thread.
    fn content(&self) -> Result<Content, ImportError> {
        let kind = Kind::read(open(&self.path)?).map_err(unreadable(&self.path))?;
        match kind {
            Kind::Reel => self.content_of_reel(ReelFile::Theirs(self.path.clone())),
            Kind::Page => {
                let reel = self.kept(&mut ReelInHtml::new(open(&self.path)?))?;
                self.content_of_reel(ReelFile::Made(reel))
            }
            Kind::Table => self.content_of_table(),
            Kind::Zip => self.content_of_zip(),
            Kind::Encrypted => {
                Ok(Content::Damaged("it is encrypted; import it with --key, or convert it first".to_owned()))
            }
            Kind::Other => self.content_of_foreign(),
        }
    }

    fn content_of_reel(&self, file: ReelFile) -> Result<Content, ImportError> {
        let reel = reel_at(file.path())?;
        let damage = verify(&reel, &ReelLimits::default()).damage;
        if let Some(damage) = damage.first() {
            let what = format!("byte {}: {}", damage.offset, damage.what);
            return match self.options.keep_partial {
                true => self.intact_content(&reel, file.path(), what),
                false => Ok(Content::Damaged(what)),
            };
        }
        let index = index_of(&reel)?;
        if OBJECT_KEYS.iter().any(|key| index.metadata.contains_key(*key)) {
            // What it replaces, and what replaces it, only its own store knows.
            let what = "it is an object of a store; export that store and import what this makes";
            return Ok(Content::Damaged(what.to_owned()));
        }
        Ok(match index.recordings.is_empty() {
            true => Content::Nothing,
            false => Content::Reel { file, index },
        })
    }

    /// What can be read of a damaged reel. Without its index, it is taken for one recording.
    fn intact_content(&self, reel: &FileSource, path: &Path, damage: String) -> Result<Content, ImportError> {
        let entries = index_of(reel).map(|index| index.recordings).unwrap_or_default();
        let wanted: Vec<Option<&RecordingEntry>> = match entries.is_empty() {
            true => vec![None],
            false => entries.iter().map(Some).collect(),
        };
        let mut recordings = Vec::new();
        for entry in wanted {
            let (id, name) = (entry.map(|entry| &entry.id), entry.map(name_of));
            let Ok(mut reader) = ReelReader::open(reel_at(path)?, id, ReelReadLimits::default()) else { continue };
            // One of which nothing is left must not cost the others.
            let made = self.make(&mut reader, name.as_ref())?.made;
            let said = entry.map(Said::of_entry).unwrap_or_default();
            recordings.extend(made.map(|made| Made { said, ..made }));
        }
        Ok(match recordings.is_empty() {
            true => Content::Damaged(damage),
            false => Content::Made { recordings, damage: Some(damage) },
        })
    }

    /// One recording of a reel of several.
    fn recording_of(&self, path: &Path, name: &Name) -> Result<Made, ImportError> {
        let (_, id) = name;
        let gone =
            |what: String| ImportError::Read { path: path.display().to_string(), source: io::Error::other(what) };
        let reader = ReelReader::open(reel_at(path)?, Some(id), ReelReadLimits::default());
        let mut reader = reader.map_err(|error| gone(error.to_string()))?;
        match self.make(&mut reader, Some(name))? {
            Making { stopped: Some(what), .. } => Err(gone(what)),
            Making { made, .. } => made.ok_or_else(|| gone(format!("there are no rrweb events in recording {id}"))),
        }
    }

    /// The recordings of a table of snapshots. Other tables hold none.
    fn content_of_table(&self) -> Result<Content, ImportError> {
        let mut table = match SnapshotReader::open(open(&self.path)?) {
            Ok(table) => table,
            Err(SnapshotError::OtherTable(_)) => return Ok(Content::Nothing),
            Err(error) => return Ok(Content::Damaged(error.to_string())),
        };
        let (mut recordings, mut damage) = (Vec::new(), None);
        loop {
            let Making { made, stopped } = match table.next_recording() {
                Ok(Some(name)) => self.make(&mut table, Some(&name))?,
                Ok(None) => break,
                Err(error) => Making { made: None, stopped: Some(error.to_string()) },
            };
            let is_over = stopped.is_some();
            damage = damage.or(first_damage(table.report(), stopped));
            recordings.extend(made);
            if is_over || (damage.is_some() && !self.options.keep_partial) {
                break;
            }
        }
        Ok(self.content_of_made(recordings, damage))
    }

    /// What PostHog exported for its staff. Other zips hold no recording.
    fn content_of_zip(&self) -> Result<Content, ImportError> {
        let mut export = match StaffReader::open(open(&self.path)?, &ZipLimits::default()) {
            Ok(export) => export,
            Err(StaffError::Other) => return Ok(Content::Nothing),
            Err(error) => return Ok(Content::Damaged(error.to_string())),
        };
        let beside = export.beside();
        let Making { made, stopped } = self.make_with(&mut export, self.options.name.as_ref(), beside)?;
        let damage = first_damage(export.report(), stopped);
        Ok(self.content_of_made(made.into_iter().collect(), damage))
    }

    fn content_of_foreign(&self) -> Result<Content, ImportError> {
        let mut reader = match ForeignReader::new(open(&self.path)?, Limits::default()) {
            Ok(reader) => reader,
            Err(error) => return Ok(Content::Damaged(error.to_string())),
        };
        let Making { made, stopped } = self.make(&mut reader, self.options.name.as_ref())?;
        let damage = first_damage(reader.report(), stopped);
        let is_empty = reader.report().event_count == 0;
        if is_empty && damage.is_some() && is_other_text(&self.path)? {
            return Ok(Content::Nothing);
        }
        Ok(self.content_of_made(made.into_iter().collect(), damage))
    }

    /// What was made of a file, unless it is damaged and is to be left alone.
    fn content_of_made(&self, recordings: Vec<Made>, damage: Option<String>) -> Content {
        match damage {
            Some(what) if !self.options.keep_partial => Content::Damaged(what),
            damage => Content::of(recordings, damage),
        }
    }

    /// Makes a reel of what the reader reads; nothing where it reads no event.
    fn make(&self, reader: &mut dyn ReadEvents, name: Option<&Name>) -> Result<Making, ImportError> {
        self.make_with(reader, name, Beside::default())
    }

    /// The same, with what is kept beside the events.
    fn make_with(
        &self,
        reader: &mut dyn ReadEvents,
        name: Option<&Name>,
        beside: Beside,
    ) -> Result<Making, ImportError> {
        let mut file = self.begin()?;
        let (project, recording) = match name {
            Some((project, id)) => (project.clone(), Some(id.clone())),
            None => (self.options.project.clone(), None),
        };
        let options = ReelOptions { project, recording, creator: CREATOR.to_owned(), level: LEVEL };
        let (written, stopped) = match copy_readable(reader, ReelSink::new(file.as_file_mut(), options).with(beside)) {
            Ok(copied) => copied,
            Err(WriteError::NoEvents) => (None, None),
            Err(WriteError::Io(error)) => return Err(ImportError::Write(error)),
            Err(WriteError::Reel(error)) => return Err(StoreError::from(error).into()),
        };
        let stopped = stopped.map(|error| error.to_string());
        if written.is_none() {
            return Ok(Making { made: None, stopped });
        }
        let index = index_of(&reel_at(file.path())?)?;
        Ok(Making { made: Some(Made { file: file.into_temp_path(), index, said: Said::default() }), stopped })
    }

    fn begin(&self) -> Result<tempfile::NamedTempFile, ImportError> {
        tempfile::Builder::new().suffix(".reel").tempfile_in(&self.workshop).map_err(ImportError::Write)
    }

    /// Keeps a reel in the workshop.
    fn kept(&self, reel: &mut impl Read) -> Result<TempPath, ImportError> {
        let mut file = self.begin()?;
        io::copy(reel, file.as_file_mut()).map_err(ImportError::Write)?;
        Ok(file.into_temp_path())
    }

    /// Does what would hold up an async thread.
    async fn off_thread<T: Send + 'static>(
        self,
        work: impl FnOnce(&Self) -> Result<T, ImportError> + Send + 'static,
    ) -> Result<T, ImportError> {
        let done = tokio::task::spawn_blocking(move || work(&self)).await;
        done.unwrap_or_else(|error| Err(ImportError::Write(io::Error::other(error))))
    }
}

impl Content {
    fn of(recordings: Vec<Made>, damage: Option<String>) -> Self {
        match (recordings.is_empty(), damage) {
            (true, None) => Self::Nothing,
            (true, Some(what)) => Self::Damaged(what),
            (false, damage) => Self::Made { recordings, damage },
        }
    }
}

impl Imported {
    /// Whether part of the file is not in the store, though it could have been.
    pub fn is_left_alone(&self) -> bool {
        !self.other.is_empty() || (self.damage.is_some() && self.new.is_empty() && self.there_count == 0)
    }

    /// Notes what there is of a recording. Returns whether it is to be taken.
    fn note(&mut self, entry: &RecordingEntry, presence: Presence) -> bool {
        let recording = ImportedRecording { project: entry.project.clone(), id: entry.id.clone() };
        match presence {
            Presence::New => {
                self.event_count += entry.summary.event_count;
                self.new.push(recording);
                return true;
            }
            Presence::There => self.there_count += 1,
            Presence::Other => self.other.push(recording),
        }
        false
    }

    /// Takes what people said of a recording, unless that is left alone.
    async fn take_said(&mut self, store: &Store, entry: &RecordingEntry, said: Said) -> Result<(), ImportError> {
        let is_this = |other: &ImportedRecording| other.id == entry.id && other.project == entry.project;
        if self.other.iter().any(is_this) {
            return Ok(());
        }
        let taken = store.take_said(&entry.project, &entry.id, said).await?;
        self.said_count += taken.new_count;
        self.said_left_out_count += taken.left_out_count;
        Ok(())
    }
}

fn name_of(entry: &RecordingEntry) -> Name {
    (entry.project.clone(), entry.id.clone())
}

/// Whether the store has a recording.
enum Presence {
    New,
    There,
    Other,
}

async fn presence(store: &Arc<Store>, entry: &RecordingEntry, index: &Index) -> Result<Presence, StoreError> {
    // What waits of it counts.
    store.seal_recording(&entry.project, &entry.id).await?;
    let Some(row) = store.catalog().get(&entry.project, &entry.id).await? else { return Ok(Presence::New) };
    let blocks = entry.blocks.iter().filter_map(|ordinal| index.blocks.get(usize::try_from(*ordinal).ok()?));
    let of_blocks = blocks.flat_map(|block| block.head.uploads.iter().copied());
    let uploads: Vec<UploadId> = of_blocks.chain(entry.uploads.iter().copied()).collect();
    let known = store.catalog().sealed_uploads(&entry.project, &uploads).await?;
    // A store forgets uploads after a while, but never how much there is of a recording.
    let figures = |summary: &Summary| (summary.event_count, summary.start_ms, summary.end_ms);
    let is_same = figures(&row.summary) == figures(&entry.summary);
    let is_there = is_same || (!known.is_empty() && known.iter().all(|known| *known));
    Ok(if is_there { Presence::There } else { Presence::Other })
}

/// What cannot be read first, and why no more can be.
fn first_damage(report: &ReadReport, stopped: Option<String>) -> Option<String> {
    report.damage.first().map(Damage::to_string).or(stopped)
}

/// Whether a file of which nothing could be read is some text that never was a recording: notes, sums, a licence.
fn is_other_text(path: &Path) -> Result<bool, ImportError> {
    let mut first = Vec::new();
    open(path)?.take(64).read_to_end(&mut first).map_err(unreadable(path))?;
    let opens_json = matches!(first.trim_ascii_start().first(), Some(b'{' | b'[' | b'"'));
    let is_text = first.iter().take(4).all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
    Ok(is_text && !opens_json && !first.starts_with(b"H4sI"))
}

fn index_of(reel: &FileSource) -> Result<Box<Index>, StoreError> {
    Ok(Box::new(reel::index_of(reel, &ReelLimits::default())?))
}

fn reel_at(path: &Path) -> Result<FileSource, ImportError> {
    FileSource::new(open(path)?).map_err(unreadable(path))
}

fn open(path: &Path) -> Result<File, ImportError> {
    File::open(path).map_err(unreadable(path))
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> ImportError {
    let path = path.display().to_string();
    move |source| ImportError::Read { path, source }
}
