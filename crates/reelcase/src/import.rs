//! Brings recordings of any form into a store that no server holds.
//!
//! Each file becomes a `.reel` file, unless it is one, and that an object of the store, which then enters it as it enters
//! any object. What is there already is recognised by its uploads, or else by the recording's id, so that a run may be
//! cut short and be repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use reelcase_format::id::{ProjectKey, RecordingId, UploadId};
use reelcase_format::reel::{Index, IndexReader, RecordingEntry, ReelLimits, Source, Step, verify};
use reelcase_server::keys;
use reelcase_store::{FileSource, Store};
use reelcase_transform::foreign::{ForeignReader, Limits};
use reelcase_transform::format::Format;
use reelcase_transform::reel::{ReelReadLimits, ReelReader};
use reelcase_transform::stream::ReadEvents;
use reelcase_transform::tables::{SnapshotError, SnapshotReader};

mod posthog;

use crate::bulk::exported_files;
use crate::convert::{Target, convert_to};
use crate::file::{self, Kind};
use crate::{local, terminal};

/// Files that are made ready before the store enters them.
const BATCH_FILES: usize = 200;

/// Bytes of them.
const BATCH_BYTES: u64 = 256 << 20;

/// zstd's level in files that the store compacts later.
const LEVEL: i32 = 3;

/// Directories within directories.
const DEPTH_MAX: usize = 32;

/// Where files take shape, below the data directory.
pub(crate) const WORKSHOP: &str = "importing";

/// What the index of an object of a store says, and that of a file for others does not.
const OBJECT_KEYS: [&str; 2] = ["kind", "sealed_at_ms"];

/// `reelcase import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    #[command(subcommand)]
    from: Option<From>,
    /// Files, and directories that are searched for files.
    #[arg(required = true)]
    inputs: Vec<PathBuf>,
    /// The data directory; no server may hold it.
    #[arg(long, required = true, value_name = "DATA")]
    data: Option<PathBuf>,
    /// Key of the project for recordings whose file names none.
    #[arg(long, default_value = "imported")]
    project: ProjectKey,
    /// Say what each file is, and import nothing.
    #[arg(long)]
    dry_run: bool,
    /// Import what can be read of damaged files, which are left alone otherwise.
    #[arg(long)]
    keep_partial: bool,
}

/// What is no file. A file of such a name is `./posthog`.
#[derive(Debug, Subcommand)]
enum From {
    /// Bring recordings from PostHog's cloud, or a server of one's own, with persons and analytics events.
    #[command(
        long_about = "Bring recordings from PostHog's cloud, or a server of one's own, with persons and analytics events.\n\nPostHog limits how often it may be asked, so that its cloud gives about 100 recordings an hour; the import waits as it is told. It may be cut short at any time: the same command takes it up where it ended, and tries what failed again. What came is compared with the figures that PostHog gives, which are kept beside ours. Exits with 1 where recordings failed, or are left alone: those that the store has with other events, and those of which blocks are missing, unless --keep-partial is given.",
        after_help = "Examples:\n  POSTHOG_PERSONAL_API_KEY=phx_… reelcase import posthog --host eu --project 12345 --data ./data --dry-run\n  POSTHOG_PERSONAL_API_KEY=phx_… reelcase import posthog --host https://posthog.example.com --project 1 --data ./data --jobs 8"
    )]
    Posthog(Box<posthog::PosthogArgs>),
}

impl ImportArgs {
    /// One file, as it is.
    pub(crate) fn of_file(file: PathBuf, data: PathBuf, keep_partial: bool) -> anyhow::Result<Self> {
        let (inputs, data, project) = (vec![file], Some(data), "imported".parse()?);
        Ok(Self { from: None, inputs, data, project, dry_run: false, keep_partial })
    }
}

/// A recording of a project.
type Name = (ProjectKey, RecordingId);

/// What is known of files that do not say it themselves, such as lines.
type Names = BTreeMap<PathBuf, Name>;

/// What a file turned out to be.
#[derive(Debug)]
enum Found {
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

/// What a run came to.
#[derive(Debug, Default)]
struct Outcome {
    recordings: u64,
    events: u64,
    there: u64,
    nothing: u64,
    left_alone: u64,
    partial: u64,
}

/// What is ready to be entered.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) reels: Vec<PathBuf>,
    recordings: BTreeSet<Name>,
    bytes: u64,
}

/// Imports files. The code tells whether all of them are in the store now.
pub(crate) async fn import(mut args: ImportArgs) -> anyhow::Result<ExitCode> {
    if let Some(From::Posthog(args)) = args.from {
        return posthog::import(*args).await;
    }
    let data = args.data.take().context("--data is missing")?;
    let (mut files, mut names) = (Vec::new(), Names::new());
    for input in &args.inputs {
        collect(input, 0, &mut files)?;
        names.extend(names_below(input)?);
    }
    // Of several files of one recording, the one that holds most of it.
    files.sort_by_key(|path| path.extension().is_none_or(|ending| ending != "reel"));
    let mut store = local::open(&data, "reelcase import").await?;
    args.project = keys::project_of(&store, &args.project).await?;
    // What an earlier run left when it was killed.
    let workshop = data.join(WORKSHOP);
    if workshop.exists() {
        std::fs::remove_dir_all(&workshop)?;
    }
    std::fs::create_dir(&workshop)?;
    let (mut outcome, mut batch) = (Outcome::default(), Batch::default());
    for path in &files {
        let found = examine(&store, path, names.get(path), &workshop, &args).await;
        let found = found.with_context(|| format!("cannot import {}", path.display()))?;
        let is_twice = matches!(&found, Found::New { recordings, .. }
            if recordings.iter().any(|recording| batch.recordings.contains(recording)));
        let found = if is_twice {
            // Two files hold the same recording: the first is entered, and then the second compared with it.
            store = batch.enter(store, &data).await?;
            examine(&store, path, names.get(path), &workshop, &args).await?
        } else {
            found
        };
        outcome.note(path, &found, args.dry_run);
        if let Found::New { reels, recordings, .. } = found
            && !args.dry_run
        {
            batch.bytes += reels.iter().filter_map(|reel| reel.metadata().ok()).map(|reel| reel.len()).sum::<u64>();
            batch.reels.extend(reels);
            batch.recordings.extend(recordings);
        }
        if batch.reels.len() >= BATCH_FILES || batch.bytes >= BATCH_BYTES {
            store = batch.enter(store, &data).await?;
        }
    }
    store = batch.enter(store, &data).await?;
    store.close().await?;
    std::fs::remove_dir_all(&workshop)?;
    outcome.tell(files.len(), args.dry_run);
    Ok(if outcome.left_alone == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Batch {
    /// Has the store enter what is ready, which it does when it is opened.
    pub(crate) async fn enter(&mut self, store: Arc<Store>, data: &Path) -> anyhow::Result<Arc<Store>> {
        let Self { reels, .. } = std::mem::take(self);
        if reels.is_empty() {
            return Ok(store);
        }
        let next_seq = store.catalog().next_object_seq().await?;
        store.close().await?;
        drop(store);
        for (seq, reel) in (next_seq..).zip(&reels) {
            let placed = Store::place_object(data, reel, seq).await;
            placed.with_context(|| format!("cannot import {}", reel.display()))?;
        }
        for reel in reels.iter().filter(|reel| reel.starts_with(data.join(WORKSHOP))) {
            std::fs::remove_file(reel)?;
        }
        local::open(data, "reelcase import").await
    }
}

impl Outcome {
    fn note(&mut self, path: &Path, found: &Found, is_dry_run: bool) {
        let path = terminal::line(&path.display().to_string());
        let (what, detail) = match found {
            Found::New { recordings, event_count, damage, .. } => {
                self.recordings += recordings.len() as u64;
                self.events += event_count;
                self.partial += u64::from(damage.is_some());
                let ids: Vec<_> = recordings.iter().map(|(_, id)| id.as_str()).collect();
                ("new", format!("{event_count} events, recording {}", ids.join(", ")))
            }
            Found::There => {
                self.there += 1;
                ("there", "all of it is in the store".to_owned())
            }
            Found::Nothing => {
                self.nothing += 1;
                ("nothing", "no recording".to_owned())
            }
            Found::Other(id) => {
                self.left_alone += 1;
                ("other", format!("the store has recording {id} with other events"))
            }
            Found::Damaged(what) => {
                self.left_alone += 1;
                ("damaged", what.clone())
            }
        };
        if is_dry_run {
            println!("{what:<8} {path}: {}", terminal::line(&detail));
        } else if matches!(found, Found::Other(_) | Found::Damaged(_)) {
            eprintln!("left alone: {path}: {}", terminal::line(&detail));
        } else if let Found::New { damage: Some(damage), .. } = found {
            eprintln!("imported in part: {path}: {}", terminal::line(damage));
        }
    }

    fn tell(&self, files: usize, is_dry_run: bool) {
        let Self { recordings, events, there, nothing, left_alone, partial } = self;
        let verb = if is_dry_run { "would import" } else { "imported" };
        eprintln!(
            "{verb} {recordings} recordings with {events} events of {files} files; {there} are there already, \
             {nothing} hold none, {left_alone} left alone, {partial} in part"
        );
        if *left_alone > 0 && !is_dry_run {
            eprintln!("hint: --keep-partial takes what can be read of damaged files");
        }
    }
}

/// What a directory that was exported to says of its files.
fn names_below(dir: &Path) -> anyhow::Result<Names> {
    if !dir.is_dir() {
        return Ok(Names::new());
    }
    let named = exported_files(dir)?.into_iter();
    Ok(named.filter_map(|(path, project, id)| Some((path, (project.parse().ok()?, id.parse().ok()?)))).collect())
}

/// All files below a path, by name. Hidden ones are nobody's recordings.
fn collect(path: &Path, depth: usize, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let metadata = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    if !metadata.is_dir() {
        found.push(path.to_owned());
        return Ok(());
    }
    if depth > DEPTH_MAX {
        bail!("{} lies more than {DEPTH_MAX} directories deep", path.display());
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    let is_hidden = |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    paths.iter().filter(|path| !is_hidden(path)).try_for_each(|path| collect(path, depth + 1, found))
}

async fn examine(
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
