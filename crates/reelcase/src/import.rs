//! Brings recordings of any form into a store that no server holds.
//!
//! Each file becomes a `.reel` file, unless it is one, and that an object of the store, which then enters it as it enters
//! any object. What is there already is recognised by its uploads, or else by the recording's id, so that a run may be
//! cut short and be repeated.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, Subcommand};
use reelcase_format::id::ProjectKey;
use reelcase_server::keys;
use reelcase_store::Store;

mod examine;
mod gather;
mod posthog;
mod sessions;

use crate::bucket::S3Args;
use crate::{local, terminal};
pub(crate) use examine::LEVEL;
use examine::{Found, Name, examine};
use gather::Gathered;
use sessions::{Session, Walked};

/// Files that are made ready before the store enters them.
const BATCH_FILES: usize = 200;

/// Bytes of them.
const BATCH_BYTES: u64 = 256 << 20;

/// Where files take shape, below the data directory.
pub(crate) const WORKSHOP: &str = "importing";

/// `reelcase import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    #[command(subcommand)]
    from: Option<From>,
    /// Files, and directories or s3://bucket/prefix that are searched for files.
    #[arg(required = true, value_name = "PATH")]
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
    /// Which blocks of PostHog's bucket are whose: session_id and block_url or block_urls of its ClickHouse, as JSON
    /// lines. Without it, batches are walked, and windows say what belongs together.
    #[arg(long, value_name = "FILE")]
    blocks: Option<PathBuf>,
    #[command(flatten)]
    s3: S3Args,
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
        let (blocks, s3) = (None, S3Args::default());
        Ok(Self { from: None, inputs, data, project, dry_run: false, keep_partial, blocks, s3 })
    }
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

/// A run.
struct Run {
    args: ImportArgs,
    data: PathBuf,
    /// Where files take shape.
    workshop: PathBuf,
    /// Gone only while the store is opened anew.
    store: Option<Arc<Store>>,
    batch: Batch,
    outcome: Outcome,
    file_count: usize,
}

/// Imports files. The code tells whether all of them are in the store now.
pub(crate) async fn import(mut args: ImportArgs) -> anyhow::Result<ExitCode> {
    if let Some(From::Posthog(args)) = args.from {
        return posthog::import(*args).await;
    }
    let data = args.data.take().context("--data is missing")?;
    let mut gathered = Gathered::default();
    for input in &args.inputs {
        gathered.add(input, args.s3.endpoint()).await?;
    }
    let listed = args.blocks.as_deref().map(sessions::read_blocks).transpose()?;
    let store = local::open(&data, "reelcase import").await?;
    args.project = keys::project_of(&store, &args.project).await?;
    // What an earlier run left when it was killed.
    let workshop = data.join(WORKSHOP);
    if workshop.exists() {
        std::fs::remove_dir_all(&workshop)?;
    }
    std::fs::create_dir(&workshop)?;
    let (store, batch, outcome) = (Some(store), Batch::default(), Outcome::default());
    let mut run = Run { args, data, workshop, store, batch, outcome, file_count: 0 };
    match listed {
        Some(listed) => run.sessions(&gathered, gathered.of_urls(listed)?).await?,
        None => run.all(&gathered).await?,
    }
    run.end().await
}

impl Run {
    /// All that was gathered, whatever it is.
    async fn all(&mut self, gathered: &Gathered) -> anyhow::Result<()> {
        let mut walked = Walked::default();
        for blob in &gathered.blobs {
            if self.is_known(gathered.known(blob)).await? {
                self.file_count += 1;
                self.outcome.there += 1;
                continue;
            }
            let local = gathered.fetch(blob, &self.workshop).await?;
            match walked.walk(blob, local.path())? {
                true => self.file_count += 1,
                false => self.file(local.path(), &blob.to_string(), gathered.name(blob)).await?,
            }
        }
        self.sessions(gathered, gathered.pieces.clone()).await?;
        self.sessions(gathered, walked.sessions()).await
    }

    /// Recordings of which the pieces lie in several places.
    async fn sessions(&mut self, gathered: &Gathered, sessions: Vec<Session>) -> anyhow::Result<()> {
        for Session { id, pieces, what } in sessions {
            let whole = gathered.join(&pieces, &self.workshop).await;
            let whole = whole.with_context(|| format!("cannot import {what}"))?;
            let name = id.map(|id| (self.args.project.clone(), id));
            self.file(whole.path(), &what, name.as_ref()).await?;
        }
        Ok(())
    }

    /// One file, which is called `label` for people.
    async fn file(&mut self, path: &Path, label: &str, name: Option<&Name>) -> anyhow::Result<()> {
        self.file_count += 1;
        let cannot = || format!("cannot import {label}");
        let found = examine(self.store()?, path, name, &self.workshop, &self.args).await.with_context(cannot)?;
        let is_twice = matches!(&found, Found::New { recordings, .. }
            if recordings.iter().any(|recording| self.batch.recordings.contains(recording)));
        let found = if is_twice {
            // Two files hold the same recording: the first is entered, and then the second compared with it.
            self.enter().await?;
            examine(self.store()?, path, name, &self.workshop, &self.args).await.with_context(cannot)?
        } else {
            found
        };
        self.outcome.note(label, &found, self.args.dry_run);
        if let Found::New { reels, recordings, .. } = found
            && !self.args.dry_run
        {
            let bytes = |reel: &PathBuf| reel.metadata().map_or(0, |reel| reel.len());
            self.batch.bytes += reels.iter().map(bytes).sum::<u64>();
            self.batch.reels.extend(self.kept(path, reels)?);
            self.batch.recordings.extend(recordings);
        }
        if self.batch.reels.len() >= BATCH_FILES || self.batch.bytes >= BATCH_BYTES {
            self.enter().await?;
        }
        Ok(())
    }

    /// The same files. One that is in the workshop itself, and goes when it has been looked at, gets another name.
    fn kept(&self, path: &Path, reels: Vec<PathBuf>) -> anyhow::Result<Vec<PathBuf>> {
        let is_fetched = |reel: &PathBuf| reel == path && reel.starts_with(&self.workshop);
        let keep = |reel: PathBuf| {
            if !is_fetched(&reel) {
                return Ok(reel);
            }
            let kept = reel.with_extension("kept.reel");
            std::fs::hard_link(&reel, &kept)?;
            Ok(kept)
        };
        reels.into_iter().map(keep).collect()
    }

    /// Whether the store has as much of a recording as a manifest says that a file holds.
    async fn is_known(&self, known: Option<&gather::Known>) -> anyhow::Result<bool> {
        let Some(gather::Known { name: (project, id), start_ms, event_count }) = known else { return Ok(false) };
        let there = self.store()?.catalog().get(project, id).await?;
        Ok(there.is_some_and(|row| (row.summary.start_ms, row.summary.event_count) == (*start_ms, *event_count)))
    }

    fn store(&self) -> anyhow::Result<&Arc<Store>> {
        self.store.as_ref().context("the store is closed")
    }

    async fn enter(&mut self) -> anyhow::Result<()> {
        let store = self.store.take().context("the store is closed")?;
        self.store = Some(self.batch.enter(store, &self.data).await?);
        Ok(())
    }

    async fn end(mut self) -> anyhow::Result<ExitCode> {
        self.enter().await?;
        self.store()?.close().await?;
        std::fs::remove_dir_all(&self.workshop)?;
        self.outcome.tell(self.file_count, self.args.dry_run);
        Ok(if self.outcome.left_alone == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
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
    fn note(&mut self, label: &str, found: &Found, is_dry_run: bool) {
        let path = terminal::line(label);
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
