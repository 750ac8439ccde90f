//! Looks at one file: what it is, which recordings are in it, and whether the store has them.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use reelcase_format::id::{ProjectKey, RecordingId, UploadId};
use reelcase_format::reel::{Index, IndexReader, RecordingEntry, ReelLimits, Source, Step, verify};
use reelcase_store::{FileSource, Store};
use reelcase_transform::foreign::{ForeignReader, Limits};
use reelcase_transform::format::Format;
use reelcase_transform::reel::{ReelReadLimits, ReelReader};
use reelcase_transform::stream::ReadEvents;
use reelcase_transform::tables::{SnapshotError, SnapshotReader};

use super::ImportArgs;
use crate::convert::{Target, convert_to};
use crate::file::{self, Kind};

/// zstd's level in files that the store compacts later.
pub(crate) const LEVEL: i32 = 3;

/// What the index of an object of a store says, and that of a file for others does not.
const OBJECT_KEYS: [&str; 2] = ["kind", "sealed_at_ms"];

/// A recording of a project.
pub(super) type Name = (ProjectKey, RecordingId);

/// What is known of files that do not say it themselves, such as lines.
pub(super) type Names = BTreeMap<PathBuf, Name>;

/// What a file turned out to be.
#[derive(Debug)]
pub(super) enum Found {
    /// Recordings that the store does not have, in files to be entered.
    New { reels: Vec<PathBuf>, recordings: Vec<Name>, event_count: u64, damage: Option<String> },
    /// All of it is there.
    There,
    /// The store has a recording of this id with other events.
    Other(RecordingId),
    /// Part of it cannot be read.
    Damaged(String),
    /// It is none.
    Nothing,
}

/// What a file is. `name` is what is known of it elsewhere; what it becomes is written into `workshop`.
pub(super) async fn examine(
    store: &Store,
    path: &Path,
    name: Option<&Name>,
    workshop: &Path,
    args: &ImportArgs,
) -> anyhow::Result<Found> {
    let kind = Kind::of_file(path)?;
    if kind == Kind::Table {
        return examine_table(store, path, workshop, args).await;
    }
    let of_page = (kind == Kind::Page).then(|| file::reel_of_page(path, workshop)).transpose()?;
    let path = of_page.as_deref().unwrap_or(path);
    if kind == Kind::Other {
        let mut reader = ForeignReader::new(file::open(path)?, Limits::default())?;
        let found = examine_as(store, &mut reader, name, workshop, args).await?;
        let is_other = matches!(found, Found::Damaged(_)) && reader.report().event_count == 0 && is_other_text(path)?;
        return Ok(if is_other { Found::Nothing } else { found });
    }
    let reel = file::source(path)?;
    let damage = verify(&reel, &ReelLimits::default()).damage;
    if let Some(damage) = damage.first() {
        let what = format!("byte {}: {}", damage.offset, damage.what);
        if !args.keep_partial {
            return Ok(Found::Damaged(what));
        }
        let mut reader = ReelReader::open(reel, None, ReelReadLimits::default())?;
        let found = examine_as(store, &mut reader, None, workshop, args).await?;
        return Ok(match found {
            Found::New { reels, recordings, event_count, .. } => {
                Found::New { reels, recordings, event_count, damage: Some(what) }
            }
            found => found,
        });
    }
    let index = index_of(&reel)?;
    if OBJECT_KEYS.iter().any(|key| index.metadata.contains_key(*key)) {
        // What it replaces, and what replaces it, only its own store knows.
        return Ok(Found::Damaged(
            "it is an object of a store; export that store and import what this makes".to_owned(),
        ));
    }
    examine_reel(store, path, &index, workshop, args).await
}

/// The recordings of a table of snapshots. Other tables hold none.
async fn examine_table(store: &Store, path: &Path, workshop: &Path, args: &ImportArgs) -> anyhow::Result<Found> {
    let mut table = match SnapshotReader::open(file::open(path)?) {
        Ok(table) => table,
        Err(SnapshotError::OtherTable(_)) => return Ok(Found::Nothing),
        Err(error) => return Ok(Found::Damaged(error.to_string())),
    };
    let (mut reels, mut recordings, mut event_count, mut partial, mut is_empty) = (vec![], vec![], 0, None, true);
    loop {
        let name = match table.next_recording() {
            Ok(Some(name)) => name,
            Ok(None) => break,
            Err(error) => return Ok(Found::Damaged(error.to_string())),
        };
        is_empty = false;
        match examine_as(store, &mut table, Some(&name), workshop, args).await? {
            Found::New { reels: made, recordings: new, event_count: more, damage } => {
                reels.extend(made);
                recordings.extend(new);
                event_count += more;
                partial = partial.or(damage);
            }
            Found::There | Found::Nothing => {}
            found => return Ok(found),
        }
    }
    Ok(match (recordings.is_empty(), is_empty) {
        (true, true) => Found::Nothing,
        (true, false) => Found::There,
        _ => Found::New { reels, recordings, event_count, damage: partial },
    })
}

/// Whether a file of which nothing could be read is some text that never was a recording: notes, sums, a licence.
fn is_other_text(path: &Path) -> anyhow::Result<bool> {
    let mut first = Vec::new();
    file::open(path)?.take(4).read_to_end(&mut first)?;
    let opens_json = matches!(first.first(), Some(b'{' | b'[' | b'"'));
    Ok(!opens_json && first != b"H4sI" && first.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' '))
}

/// A whole reel: taken as it is where all of it is new, and recording by recording where some are.
async fn examine_reel(
    store: &Store,
    path: &Path,
    index: &Index,
    workshop: &Path,
    args: &ImportArgs,
) -> anyhow::Result<Found> {
    let mut new = Vec::new();
    for entry in &index.recordings {
        match presence(store, entry, index).await? {
            Presence::New => new.push(entry),
            Presence::There => {}
            Presence::Other => return Ok(Found::Other(entry.id.clone())),
        }
    }
    let recordings: Vec<_> = new.iter().map(|entry| (entry.project.clone(), entry.id.clone())).collect();
    let event_count = new.iter().map(|entry| entry.summary.event_count).sum();
    if index.recordings.is_empty() {
        return Ok(Found::Nothing);
    }
    if new.is_empty() {
        return Ok(Found::There);
    }
    if new.len() == index.recordings.len() {
        return Ok(Found::New { reels: vec![path.to_owned()], recordings, event_count, damage: None });
    }
    let mut reels = Vec::new();
    for entry in new {
        let mut reader = ReelReader::open(file::source(path)?, Some(&entry.id), ReelReadLimits::default())?;
        let name = (entry.project.clone(), entry.id.clone());
        let found = examine_as(store, &mut reader, Some(&name), workshop, args).await?;
        if let Found::New { reels: made, .. } = found {
            reels.extend(made);
        }
    }
    Ok(Found::New { reels, recordings, event_count, damage: None })
}

/// Makes a reel of what the reader reads, and looks whether the store has that.
async fn examine_as(
    store: &Store,
    reader: &mut dyn ReadEvents,
    name: Option<&Name>,
    workshop: &Path,
    args: &ImportArgs,
) -> anyhow::Result<Found> {
    let mut made = tempfile::Builder::new().suffix(".reel").tempfile_in(workshop)?;
    let (project, id) = name.cloned().map_or((args.project.clone(), None), |(project, id)| (project, Some(id)));
    let target = Target { format: Format::Reel, project, id, level: LEVEL };
    let converted = convert_to(reader, made.as_file_mut(), target);
    let damage = reader.report().damage.first().map(ToString::to_string);
    match (&converted, &damage) {
        (_, Some(damage)) if !args.keep_partial => return Ok(Found::Damaged(damage.clone())),
        (Err(_), _) if reader.report().event_count == 0 => {
            return Ok(damage.map_or(Found::Nothing, Found::Damaged));
        }
        _ => {}
    }
    converted?;
    let index = index_of(&file::source(made.path())?)?;
    let Some(entry) = index.recordings.first() else { return Ok(Found::Nothing) };
    match presence(store, entry, &index).await? {
        Presence::There => return Ok(Found::There),
        Presence::Other => return Ok(Found::Other(entry.id.clone())),
        Presence::New => {}
    }
    let recordings = vec![(entry.project.clone(), entry.id.clone())];
    let (event_count, reels) = (entry.summary.event_count, vec![made.into_temp_path().keep()?]);
    Ok(Found::New { reels, recordings, event_count, damage })
}

/// Whether the store has a recording.
enum Presence {
    New,
    There,
    Other,
}

async fn presence(store: &Store, entry: &RecordingEntry, index: &Index) -> anyhow::Result<Presence> {
    let Some(row) = store.catalog().get(&entry.project, &entry.id).await? else { return Ok(Presence::New) };
    let blocks = entry.blocks.iter().filter_map(|ordinal| index.blocks.get(usize::try_from(*ordinal).ok()?));
    let of_blocks = blocks.flat_map(|block| block.head.uploads.iter().copied());
    let uploads: Vec<UploadId> = of_blocks.chain(entry.uploads.iter().copied()).collect();
    let known = store.catalog().sealed_uploads(&entry.project, &uploads).await?;
    // A store forgets uploads after a while, but never how much there is of a recording.
    let figures = |summary: &reelcase_format::summary::Summary| (summary.event_count, summary.start_ms, summary.end_ms);
    let is_same = figures(&row.summary) == figures(&entry.summary);
    let is_there = is_same || (!known.is_empty() && known.iter().all(|known| *known));
    Ok(if is_there { Presence::There } else { Presence::Other })
}

fn index_of(reel: &FileSource) -> anyhow::Result<Index> {
    let mut reader = IndexReader::new(reel.file_bytes(), ReelLimits::default())?;
    loop {
        match reader.step() {
            Step::Need { offset, len } => reader.supply(&reel.read(offset, len)?)?,
            Step::Index(index) => return Ok(*index),
        }
    }
}
