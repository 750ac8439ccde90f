//! Brings recordings of any form into a store that no server holds, or into that of a running server.
//!
//! What is there already is recognised, so that a run may be cut short and be repeated. What a file is, and what becomes of
//! it, is decided in one place for both, `import.rs` of the server.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use reelcase_format::count::{counted, counted_as};
use reelcase_format::id::{ProjectKey, RecordingId};
use reelcase_format::sign::PublicKey;
use reelcase_server::import::{ImportOptions, Imported, Name, holds_nothing};
use reelcase_store::notes::said::Taken;
use reelcase_transform::encrypted::Key;
use reelcase_transform::kind::Kind;
use reelcase_transform::stream::LeftOut;

mod done;
mod gather;
mod posthog;
mod sessions;
mod sink;

use crate::bucket::{S3Args, is_absent, is_denied};
use crate::encrypted::{KeyArgs, decrypt};
use crate::local::report_left_out;
use crate::progress::Progress;
use crate::sign::{self, Refusal};
use crate::terminal;
use crate::{WITH_GAPS, file};
use done::Done;
use gather::{Blob, Gathered, Joined, Local};
use sessions::{Session, Walked};
use sink::{Sink, SinkArgs};

/// Things that are missing and are named one by one.
const MISSING_SHOWN_MAX: usize = 20;

/// zstd's level in files that the store compacts later.
pub(crate) const LEVEL: i32 = 3;

/// `reelcase import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    #[command(subcommand)]
    from: Option<From>,
    /// Files, and directories or s3://bucket/prefix that are searched for files.
    #[arg(required = true, value_name = "PATH")]
    inputs: Vec<PathBuf>,
    #[command(flatten)]
    sink: SinkArgs,
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
    /// Take only files that were signed with this key: the public half of a pair, or a file that holds it.
    #[arg(long, value_name = "PUBLICKEY", value_parser = sign::public_key, conflicts_with = "blocks")]
    signed_by: Option<PublicKey>,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    s3: S3Args,
}

/// What is no file. A file of such a name is `./posthog`.
#[derive(Debug, Subcommand)]
enum From {
    /// Bring recordings from PostHog's cloud, or a server of one's own, with persons and analytics events.
    #[command(
        long_about = "Bring recordings from PostHog's cloud, or a server of one's own, with persons and analytics events.\n\nPostHog limits how often it may be asked, so that its cloud gives about 100 recordings an hour; the import waits as it is told. It may be cut short at any time: the same command takes it up where it ended, and tries what failed again. What came is compared with the figures that PostHog gives, which are kept beside ours. Exits with 1 where recordings failed, or are left alone: those that the store has with other events, and those of which blocks are missing, unless --keep-partial is given; then the exit code is 3 where parts are missing.",
        after_help = "Examples:\n  POSTHOG_PERSONAL_API_KEY=phx_… reelcase import posthog --host eu --project 12345 --data ./data --dry-run\n  POSTHOG_PERSONAL_API_KEY=phx_… reelcase import posthog --host https://posthog.example.com --project 1 --data ./data --jobs 8"
    )]
    Posthog(Box<posthog::PosthogArgs>),
}

impl ImportArgs {
    /// One file, as it is.
    pub(crate) fn of_file(
        file: PathBuf,
        data: PathBuf,
        keep_partial: bool,
        signed_by: Option<PublicKey>,
    ) -> anyhow::Result<Self> {
        let (inputs, sink, project) = (vec![file], SinkArgs::of_data(data), "imported".parse()?);
        let (blocks, key, s3) = (None, KeyArgs::default(), S3Args::default());
        Ok(Self { from: None, inputs, sink, project, dry_run: false, keep_partial, blocks, signed_by, key, s3 })
    }
}

/// What a run came to.
#[derive(Debug, Default)]
struct Outcome {
    recordings: u64,
    events: u64,
    there: u64,
    said: Taken,
    nothing: u64,
    left_alone: u64,
    /// Of those, files that cannot be read to their end.
    damaged: u64,
    /// Of these, files that no key opens, or that are not there or not for us: --keep-partial finds nothing in them.
    unreadable: u64,
    partial: u64,
}

/// A run.
struct Run {
    sink: Sink,
    /// How a file is taken that says of itself what it is.
    options: ImportOptions,
    /// Who is to have signed what is taken.
    signed_by: Option<PublicKey>,
    /// What opens encrypted files.
    key: Option<Key>,
    done: Done,
    outcome: Outcome,
    file_count: usize,
    /// Objects and files that are not there, or end too early.
    missing: BTreeSet<String>,
    progress: Arc<Progress>,
}

/// Imports files. The code tells whether all of them are in the store now.
pub(crate) async fn import(args: ImportArgs) -> anyhow::Result<ExitCode> {
    if let Some(From::Posthog(args)) = args.from {
        return posthog::import(*args).await;
    }
    if args.blocks.is_some() && args.inputs.len() > 1 {
        bail!(
            "--blocks reads one place, and {} are named\nhint: name the bucket, or the directory that holds a copy of all of it",
            args.inputs.len()
        );
    }
    let key = args.key.key()?;
    let mut gathered = Gathered::default();
    let listed = args.blocks.as_deref().map(sessions::read_blocks).transpose()?;
    for input in &args.inputs {
        match listed {
            Some(_) => gathered.add_place(input, args.s3.endpoint()).await?,
            None => gathered.add(input, args.s3.endpoint()).await?,
        }
    }
    let work = args.sink.work().to_owned();
    let sink = args.sink.open().await?;
    let project = sink.project_of(&args.project).await?;
    let options = ImportOptions { project, name: None, keep_partial: args.keep_partial, is_dry_run: args.dry_run };
    let done = Done::open(&work)?;
    let (signed_by, outcome, missing) = (args.signed_by, Outcome::default(), BTreeSet::new());
    // A dry run says of each file what it is.
    let progress = Arc::new(Progress::new("file").quiet(args.dry_run));
    let mut run =
        Run { sink, options, signed_by, key, done, outcome, file_count: 0, missing, progress: progress.clone() };
    match listed {
        Some(listed) => progress.during(run.pieces(&gathered, gathered.of_urls(listed)?)).await?,
        None => progress.during(run.all(&gathered)).await?,
    }
    progress.end();
    run.end().await
}

impl Run {
    /// All that was gathered, whatever it is.
    async fn all(&mut self, gathered: &Gathered) -> anyhow::Result<()> {
        let mut walked = Walked::default();
        self.progress.go_on_with("file", gathered.blobs.len() as u64, gathered.blobs.iter().map(Blob::bytes).sum());
        for blob in &gathered.blobs {
            self.file_count += 1;
            self.blob(gathered, blob, &mut walked).await?;
            self.progress.add(blob.bytes());
        }
        self.pieces(gathered, gathered.pieces.clone()).await?;
        self.sessions(gathered, walked.sessions()).await
    }

    /// A file or object, whatever it is.
    async fn blob(&mut self, gathered: &Gathered, blob: &Blob, walked: &mut Walked) -> anyhow::Result<()> {
        if self.is_known(gathered.known(blob)).await? || blob.version().is_some_and(|state| self.done.has(&state)) {
            self.outcome.there += 1;
            return Ok(());
        }
        let label = blob.to_string();
        let local = match self.looked_at(gathered, blob, walked).await {
            Ok(Some(local)) => local,
            Ok(None) => return Ok(()),
            // Buckets let go of what is old, also while they are read.
            Err(error) if is_absent(&error) => {
                self.leave_unread(&label, format!("{error:#}"))?;
                if !is_denied(&error) {
                    self.missing.insert(label);
                }
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let Some(local) = self.opened(local, &label)? else { return Ok(()) };
        let is_taken = self.file(local.path(), &label, gathered.name(blob).cloned()).await?;
        self.note_done(blob, is_taken)
    }

    /// A file to take in; none where it is not one that is wanted, or a batch, whose blocks are noted.
    async fn looked_at(
        &mut self,
        gathered: &Gathered,
        blob: &Blob,
        walked: &mut Walked,
    ) -> anyhow::Result<Option<Local>> {
        let local = gathered.fetch(blob, self.sink.workshop()).await?;
        if self.is_refused(gathered, blob, local.path()).await? {
            return Ok(None);
        }
        Ok((!walked.walk(blob, local.path())?).then_some(local))
    }

    /// Recordings in pieces, of files that were not looked at before.
    async fn pieces(&mut self, gathered: &Gathered, sessions: Vec<Session>) -> anyhow::Result<()> {
        let pieces = sessions.iter().flat_map(|session| &session.pieces);
        let files: BTreeSet<String> = pieces.map(|piece| piece.blob.to_string()).collect();
        self.file_count += files.len();
        self.sessions(gathered, sessions).await
    }

    /// Recordings of which the pieces lie in several places.
    async fn sessions(&mut self, gathered: &Gathered, sessions: Vec<Session>) -> anyhow::Result<()> {
        self.progress.go_on_with("recording", sessions.len() as u64, sessions.iter().map(Session::bytes).sum());
        for session in sessions {
            let bytes = session.bytes();
            self.session(gathered, session).await?;
            self.progress.add(bytes);
        }
        Ok(())
    }

    async fn session(&mut self, gathered: &Gathered, session: Session) -> anyhow::Result<()> {
        let Session { id, pieces, what, damage } = session;
        if self.signed_by.is_some() {
            return self.leave_alone(&what, Some("it lies in pieces, which cannot be signed".to_owned()));
        }
        if damage.is_some() && !self.options.keep_partial {
            return self.leave_alone(&what, damage);
        }
        let joined = gathered.join(&pieces, self.sink.workshop()).await;
        let Joined { file, missing } = joined.with_context(|| format!("cannot import {what}"))?;
        let lacks = missing.first().map(|(_, why)| match missing.len() {
            1 => why.clone(),
            2 => format!("{why}, and 1 more of its pieces is missing"),
            count => format!("{why}, and {} more of its pieces are missing", count - 1),
        });
        let lacks_all = missing.len() == pieces.len();
        self.missing.extend(missing.into_iter().map(|(blob, _)| blob));
        if lacks.is_some() && (lacks_all || !self.options.keep_partial) {
            return self.leave_alone(&what, lacks);
        }
        let name = id.map(|id| (self.options.project.clone(), id));
        self.file_with(file.path(), &what, name, damage.or(lacks)).await?;
        Ok(())
    }

    /// Whether a file is none of those that are wanted, which is said. One that holds no recording brings nothing in,
    /// signed or not, and is counted as it always is.
    async fn is_refused(&mut self, gathered: &Gathered, blob: &Blob, path: &Path) -> anyhow::Result<bool> {
        let Some(key) = &self.signed_by else { return Ok(false) };
        let label = blob.to_string();
        let unreadable = || format!("cannot import {label}");
        let beside = gathered.signatures(blob, self.sink.workshop()).await?;
        let Some(refusal) = sign::refusal(path, beside.as_deref(), key).with_context(unreadable)? else {
            return Ok(false);
        };
        let is_empty = matches!(refusal, Refusal::OtherKind)
            && holds_nothing(path, self.sink.workshop(), &self.options).await.with_context(unreadable)?;
        let damage = (!is_empty).then(|| refusal.to_string());
        self.leave_alone(&label, damage)?;
        Ok(true)
    }

    /// What is in a file that the key opens, or the file. None of it where that ends too early and is left alone.
    fn opened(&mut self, local: Local, label: &str) -> anyhow::Result<Option<Local>> {
        let encrypted = file::open(local.path())?;
        if Kind::read(&encrypted)? != Kind::Encrypted {
            return Ok(Some(local));
        }
        let Some(key) = &self.key else {
            return self.leave_locked(label, "it is encrypted; import it with --key, or convert it first".to_owned());
        };
        let mut plain = tempfile::Builder::new().suffix(".reel").tempfile_in(self.sink.workshop())?;
        let damage = match decrypt(file::open(local.path())?, Some(key), plain.as_file_mut()) {
            Ok(None) => return Ok(Some(Local::Copy(plain))),
            Ok(Some(flaw)) if self.options.keep_partial => {
                say!("damaged: {}: {flaw}", terminal::line(label));
                return Ok(Some(Local::Copy(plain)));
            }
            Ok(Some(flaw)) => flaw,
            Err(error) => return self.leave_locked(label, format!("{error:#}")),
        };
        self.leave_alone(label, Some(damage))?;
        Ok(None)
    }

    /// Names what no key opens.
    fn leave_locked(&mut self, label: &str, why: String) -> anyhow::Result<Option<Local>> {
        self.leave_unread(label, why)?;
        Ok(None)
    }

    /// Names what nothing can be read of as it is, damaged or not.
    fn leave_unread(&mut self, label: &str, why: String) -> anyhow::Result<()> {
        self.outcome.unreadable += 1;
        self.leave_alone(label, Some(why))
    }

    /// Names what is not taken, and why; what holds no recording is counted without a reason.
    fn leave_alone(&mut self, label: &str, damage: Option<String>) -> anyhow::Result<()> {
        self.outcome.note(label, &Imported { damage, ..Imported::default() }, self.options.is_dry_run)
    }

    /// One file, which is called `label` for people. Returns whether nothing of it is left to be taken.
    async fn file(&mut self, path: &Path, label: &str, name: Option<Name>) -> anyhow::Result<bool> {
        self.file_with(path, label, name, None).await
    }

    /// The same, of which something was damaged before it became this file.
    async fn file_with(
        &mut self,
        path: &Path,
        label: &str,
        name: Option<Name>,
        damage: Option<String>,
    ) -> anyhow::Result<bool> {
        let options = ImportOptions { name, ..self.options.clone() };
        let mut imported = self.sink.take(path, &options).await.with_context(|| format!("cannot import {label}"))?;
        imported.damage = damage.or(imported.damage);
        self.outcome.note(label, &imported, self.options.is_dry_run)?;
        Ok(!imported.is_left_alone())
    }

    /// Notes an object that need not be fetched again.
    fn note_done(&mut self, blob: &Blob, is_taken: bool) -> anyhow::Result<()> {
        match blob.version() {
            Some(state) if is_taken && !self.options.is_dry_run => self.done.note(&state),
            _ => Ok(()),
        }
    }

    /// Whether the store has as much of a recording as a manifest says that a file holds.
    async fn is_known(&self, known: Option<&gather::Known>) -> anyhow::Result<bool> {
        let Some(gather::Known { name: (project, id), start_ms, event_count }) = known else { return Ok(false) };
        let there = self.sink.recording(project, id).await?;
        let has = |there: &serde_json::Value| {
            there["start_ms"].as_i64() == Some(*start_ms) && there["event_count"].as_u64() == Some(*event_count)
        };
        Ok(there.as_ref().is_some_and(has))
    }

    async fn end(self) -> anyhow::Result<ExitCode> {
        self.sink.close().await?;
        if !self.options.is_dry_run {
            self.done.clear()?;
        }
        self.outcome.tell(self.file_count, self.options.is_dry_run);
        let ImportOptions { is_dry_run, keep_partial, .. } = self.options;
        // Nothing helps a file that is not signed.
        if self.outcome.damaged > self.outcome.unreadable && !is_dry_run && !keep_partial && self.signed_by.is_none() {
            say!("hint: --keep-partial takes what can be read of damaged files");
        }
        tell_missing(&self.missing);
        Ok(match (self.outcome.left_alone, self.outcome.partial) {
            (0, 0) => ExitCode::SUCCESS,
            (0, _) => ExitCode::from(WITH_GAPS),
            _ => ExitCode::FAILURE,
        })
    }
}

impl Outcome {
    fn note(&mut self, label: &str, imported: &Imported, is_dry_run: bool) -> anyhow::Result<()> {
        let path = terminal::line(label);
        let Imported { new, event_count, there_count, said_count, said_left_out_count, other, damage } = imported;
        self.recordings += new.len() as u64;
        self.events += event_count;
        self.there += there_count;
        self.said.new_count += said_count;
        self.said.left_out_count += said_left_out_count;
        self.left_alone += other.len() as u64;
        let ids = |recordings: &[reelcase_server::import::ImportedRecording]| {
            recordings.iter().map(|recording| RecordingId::as_str(&recording.id)).collect::<Vec<_>>().join(", ")
        };
        let mut said = Vec::new();
        if !new.is_empty() {
            said.push(("new", format!("{}, recording {}", counted(*event_count, "event"), ids(new))));
        }
        if !other.is_empty() {
            let what = format!("the store has recording {} with other events", ids(other));
            said.push(("other", what));
        }
        if *there_count > 0 {
            said.push(("there", "all of it is in the store".to_owned()));
        }
        match damage {
            Some(damage) if imported.is_left_alone() && other.is_empty() => {
                self.left_alone += 1;
                self.damaged += 1;
                said.push(("damaged", damage.clone()));
            }
            Some(damage) if !imported.is_left_alone() => {
                self.partial += 1;
                if !is_dry_run {
                    say!("imported in part: {path}: {}", terminal::line(damage));
                }
            }
            _ => {}
        }
        if said.is_empty() {
            self.nothing += 1;
            said.push(("nothing", "no recording".to_owned()));
        }
        for (what, detail) in said {
            if is_dry_run {
                print_line!("{what:<8} {path}: {}", terminal::line(&detail))?;
            } else if ["other", "damaged"].contains(&what) {
                say!("left alone: {path}: {}", terminal::line(&detail));
            }
        }
        Ok(())
    }

    fn tell(&self, files: usize, is_dry_run: bool) {
        let Self { recordings, events, there, said, nothing, left_alone, partial, .. } = self;
        let verb = if is_dry_run { "would import" } else { "imported" };
        let (recordings, events) = (counted(*recordings, "recording"), counted(*events, "event"));
        let files = counted(files as u64, "file");
        let (are, hold) = (if *there == 1 { "is" } else { "are" }, if *nothing == 1 { "holds" } else { "hold" });
        say!(
            "{verb} {recordings} with {events} of {files}; {there} {are} there already, {nothing} {hold} none, \
             {left_alone} left alone, {partial} in part"
        );
        tell_said(*said);
    }
}

/// Says what came along of what people said.
pub(crate) fn tell_said(Taken { new_count, left_out_count }: Taken) {
    if new_count > 0 {
        say!("{} came along", counted_as(new_count, "comment or tag", "comments and tags"));
    }
    let one = "comment or tag: there is no room, or it is none";
    let several = "comments and tags: there is no room, or they are none";
    report_left_out(LeftOut::of(left_out_count, one, several).as_slice());
}

/// Names what was to be read and is not there.
fn tell_missing(missing: &BTreeSet<String>) {
    for name in missing.iter().take(MISSING_SHOWN_MAX) {
        say!("missing, or too short: {}", terminal::line(name));
    }
    if missing.len() > MISSING_SHOWN_MAX {
        say!("missing, or too short: {} more, {} in all", missing.len() - MISSING_SHOWN_MAX, missing.len());
    }
}
