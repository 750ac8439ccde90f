//! Exports many recordings into a directory or a bucket and keeps it in step with a store.
//!
//! A run takes up where the last one ended, however that ended: a file has its name only once it is whole, and then a
//! line of the manifest says of which state of the recording it is. What has not changed since is not read again.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use reelcase_format::count::counted;
use reelcase_format::sign::SigningKey;
use reelcase_server::api::{Recording, list_query};
use reelcase_server::export::FileExport;
use reelcase_server::schedules::LastRun;
use reelcase_store::{Clock, Store, SystemClock};
use reelcase_transform::format::Format;
use reelcase_transform::stream::LeftOut;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::bucket::{S3Args, Unusable};
use crate::local::report_left_out;
use crate::progress::Progress;
use crate::remote::{Remote, encoded, left_out_of};
use crate::sign::Signing;
use crate::web::Unreachable;
use crate::{WITH_GAPS, local, terminal};

mod place;
mod tables;
mod target;

pub(crate) use place::STORE_ID;
use place::{Place, To};
use tables::TablesTarget;
use target::Target;
pub(crate) use target::{MANIFEST, read_manifest};

/// Recordings that may be exported at once.
const JOBS_MAX: usize = 64;

/// Recordings that a server exports at once, which has other things to do.
const SERVER_JOBS: usize = 2;

/// Recordings asked for at a time.
const PAGE_RECORDINGS: usize = 200;

/// Which recordings are exported, and where to.
#[derive(Debug, Args)]
pub(crate) struct BulkArgs {
    /// Export all recordings, or those of --where, --since and --until, into this directory, or s3://bucket/prefix. What
    /// is there already and has not changed is left as it is.
    #[arg(long, value_name = "DIR")]
    to: Option<To>,
    #[command(flatten)]
    s3: S3Args,
    /// Only those with this, such as url=/checkout; the names are the parameters of the API's list. May be repeated.
    #[arg(long = "where", value_name = "NAME=VALUE", requires = "to")]
    conditions: Vec<String>,
    /// Only those that started at or after this: 2026-11-01, 2026-11-01T12:00:00Z, or so long ago: 7d, 12h.
    #[arg(long, value_name = "TIME", requires = "to")]
    since: Option<String>,
    /// Only those that started before this.
    #[arg(long, value_name = "TIME", requires = "to")]
    until: Option<String>,
    /// How many recordings are exported at once.
    #[arg(long, value_name = "COUNT", default_value_t = 4, requires = "to")]
    jobs: usize,
    /// Go on: look for what is new again and again, so many seconds apart.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "30", requires = "to")]
    watch: Option<u64>,
}

/// What recordings are exported as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExportForm {
    /// A file for each.
    Files(Format),
    /// Tables of all of them, in Parquet.
    Tables,
}

/// What [`ExportForm::Tables`] is called.
pub(crate) const TABLES_NAME: &str = "parquet";

/// Where recordings come from.
pub(crate) enum Origin {
    /// A store that no server holds.
    Local(Arc<Store>),
    /// A running server.
    Remote(Remote),
}

/// A recording as the list has it.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) id: String,
    pub(crate) project: String,
    pub(crate) start_ms: i64,
    pub(crate) updated_at_ms: i64,
    pub(crate) event_count: u64,
    pub(crate) stored_bytes: u64,
    pub(crate) plain_bytes: u64,
}

/// What a run came to.
#[derive(Debug, Default)]
struct Outcome {
    exported: u64,
    exported_bytes: u64,
    unchanged: u64,
    failed: u64,
    with_gaps: u64,
    /// What the form has no place for.
    left_out: Vec<LeftOut>,
    /// Why the first that failed did.
    first_failure: Option<String>,
}

/// What is not in the file of a recording.
#[derive(Debug, Default)]
struct Lacks {
    /// Damaged blocks.
    gap_count: u64,
    /// What its form has no place for.
    left_out: Vec<LeftOut>,
}

/// How a run is made.
#[derive(Debug, Clone, Copy)]
struct Manner {
    /// Recordings at once.
    jobs: usize,
    /// Nobody looks on.
    is_quiet: bool,
}

impl BulkArgs {
    /// Where many are to be exported to.
    pub(crate) fn target(&self) -> Option<To> {
        self.to.clone()
    }
}

/// What a directory that was exported to says of its files: where each is, its project and its recording.
pub(crate) fn exported_files(dir: &Path) -> anyhow::Result<Vec<(PathBuf, String, String)>> {
    target::listed_files(dir)
}

/// `reelcase export --to`.
pub(crate) async fn export(
    origin: Origin,
    to: To,
    args: BulkArgs,
    form: ExportForm,
    key: Option<Arc<SigningKey>>,
) -> anyhow::Result<ExitCode> {
    if matches!(origin, Origin::Local(_)) && args.watch.is_some() {
        bail!("nothing is added to a store that no server holds\nhint: --watch goes with --server");
    }
    if !(1..=JOBS_MAX).contains(&args.jobs) {
        bail!("--jobs can be 1 to {JOBS_MAX}");
    }
    // A server that is not there, and conditions that it refuses, leave no directory behind.
    let wanted = query(&args.conditions, &args.since, &args.until, SystemClock.now_ms())?;
    origin.page(&format!("limit=1{wanted}")).await?;
    let mut target = Destination::open(Place::open(&to, args.s3.endpoint()).await?, form, key).await?;
    let (origin, manner) = (Arc::new(origin), Manner { jobs: args.jobs, is_quiet: false });
    let mut interrupted = pin!(interrupted(args.watch.is_some()));
    let (mut code, mut is_to_tell) = (ExitCode::SUCCESS, true);
    loop {
        // Times like `7d` count from now, each time anew.
        let query = query(&args.conditions, &args.since, &args.until, SystemClock.now_ms())?;
        let made = tokio::select! {
            made = target.run(&origin, &query, manner) => made,
            () = &mut interrupted => return Ok(code),
        };
        code = match made {
            Ok(outcome) => {
                // Who watches is told at first, what is new, and that it goes well again.
                if is_to_tell || outcome.has_news() {
                    outcome.tell(&target.about(), !query.is_empty());
                }
                is_to_tell = false;
                outcome.code()
            }
            // Servers are started anew, and lines break: who watches looks again.
            Err(error) if args.watch.is_some() => {
                say!("{}", terminal::message(&format!("not exported, and tried again: {error:#}")));
                is_to_tell = true;
                ExitCode::FAILURE
            }
            Err(error) => return Err(error),
        };
        let Some(seconds) = args.watch else {
            if let Origin::Local(store) = &*origin {
                store.close().await?;
            }
            return Ok(code);
        };
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(seconds.max(1))) => {}
            () = &mut interrupted => return Ok(code),
        }
    }
}

/// Waits for whoever watches to want no more. Anybody else is interrupted as any command is.
async fn interrupted(is_watching: bool) {
    if !is_watching || tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

/// Makes one run for a server that holds the store itself. `query` is that of an address, each condition behind a `&`.
pub(crate) async fn export_for_server(
    store: Arc<Store>,
    to: &str,
    form: ExportForm,
    query: &str,
) -> anyhow::Result<LastRun> {
    let manner = Manner { jobs: SERVER_JOBS, is_quiet: true };
    let mut target = Destination::open(Place::open(&to.parse()?, None).await?, form, None).await?;
    let origin = Arc::new(Origin::Local(store));
    let outcome = target.run(&origin, query, manner).await?;
    Ok(LastRun {
        exported_count: outcome.exported,
        exported_bytes: outcome.exported_bytes,
        unchanged_count: outcome.unchanged,
        failed_count: outcome.failed,
        gap_count: outcome.with_gaps,
        left_out: outcome.left_out.iter().map(LeftOut::to_string).collect(),
        error: outcome.first_failure,
        ..LastRun::default()
    })
}

async fn run(origin: &Arc<Origin>, target: &mut Target, query: &str, manner: Manner) -> anyhow::Result<Outcome> {
    let format = target.format();
    let mut outcome = Outcome::default();
    let mut waiting = Vec::new();
    for listed in origin.list(query).await? {
        if target.has(&listed).await? {
            outcome.unchanged += 1;
        } else {
            waiting.push(listed);
        }
    }
    let progress = Progress::new("recording").quiet(manner.is_quiet);
    progress.expect(waiting.len() as u64, waiting.iter().map(|listed| listed.stored_bytes).sum());
    // The oldest first, so that a run which is stopped has what is most likely to be deleted next.
    let mut running = JoinSet::new();
    while !waiting.is_empty() || !running.is_empty() {
        while running.len() < manner.jobs
            && let Some(listed) = waiting.pop()
        {
            let (origin, place, key) = (origin.clone(), target.place().clone(), target.key().cloned());
            running.spawn(async move {
                let done = export_one(&origin, &place, format, key, &listed).await;
                (listed, done)
            });
        }
        let Some(done) = progress.during(running.join_next()).await else { break };
        let (listed, done) = done?;
        progress.add(listed.stored_bytes);
        match done {
            Ok((entry, left_out)) => {
                LeftOut::add(&mut outcome.left_out, &left_out);
                outcome.exported += 1;
                outcome.with_gaps += u64::from(entry.gap_count > 0);
                outcome.exported_bytes += entry.bytes;
                target.note(entry).await.map_err(ended)?;
            }
            Err(error) if is_of_all(&error) => return Err(ended(error)),
            Err(error) => {
                outcome.fail(&listed.id, &error);
                progress.say(&terminal::message(&format!("recording {} is not exported: {error:#}", listed.id)));
            }
        }
    }
    target.settle().await.map_err(ended)?;
    Ok(outcome)
}

/// Whether what went wrong has nothing to do with the recording: with any other one it would go no better.
fn is_of_all(error: &anyhow::Error) -> bool {
    error.is::<Unreachable>() || error.is::<Unusable>() || cannot_write(error)
}

/// Whether a disk takes nothing more, or nothing at all.
pub(crate) fn cannot_write(error: &anyhow::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let cannot = |cause: &(dyn std::error::Error + 'static)| {
        let kind = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        matches!(kind, Some(StorageFull | QuotaExceeded | ReadOnlyFilesystem))
    };
    error.chain().any(cannot)
}

/// Why a run ends before its end.
fn ended(error: anyhow::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}\nhint: the next run goes on where this one ended")
}

/// Writes one recording to its place. Returns its line of the manifest, and what its form has no place for.
async fn export_one(
    origin: &Origin,
    place: &Place,
    format: Format,
    key: Option<Arc<SigningKey>>,
    listed: &Listed,
) -> anyhow::Result<(target::Entry, Vec<LeftOut>)> {
    let (file, Lacks { gap_count, left_out }) =
        origin.export(listed, format, Signing::new(place.begin()?, key.as_ref())?).await?;
    let unfinished = tokio::task::spawn_blocking(move || file.finish()).await??;
    let signed_by = key.map(|key| key.public().to_string());
    let left_out_count = left_out.iter().map(|left_out| left_out.count).reduce(|sum, count| sum + count);
    let said = target::Said { gap_count, left_out_count, signed_by };
    Ok((target::keep(place, format, unfinished, listed, said).await?, left_out))
}

impl Outcome {
    fn fail(&mut self, id: &str, error: &anyhow::Error) {
        self.failed += 1;
        self.first_failure.get_or_insert_with(|| format!("recording {id} is not exported: {error:#}"));
    }

    /// Whether there is more to say than before.
    fn has_news(&self) -> bool {
        self.exported + self.failed > 0
    }

    fn tell(&self, about: &str, is_narrowed: bool) {
        let Self { exported, exported_bytes, unchanged, failed, with_gaps, .. } = self;
        if exported + unchanged + failed == 0 {
            tell_empty(is_narrowed);
        }
        let megabytes = *exported_bytes as f64 / 1e6;
        let exported = counted(*exported, "recording");
        say!("exported {exported}, {megabytes:.1} MB; {unchanged} unchanged; {about}");
        if *with_gaps > 0 {
            say!("exported with gaps: {with_gaps}; a line of each file stands for what is damaged");
        }
        report_left_out(&self.left_out);
        if *failed > 0 {
            say!("not exported: {failed}; the next run tries them again");
        }
    }

    fn code(&self) -> ExitCode {
        match (self.failed, self.with_gaps) {
            (0, 0) => ExitCode::SUCCESS,
            (0, _) => ExitCode::from(WITH_GAPS),
            _ => ExitCode::FAILURE,
        }
    }
}

/// Says that there was nothing to do, since that may not be what was meant.
pub(crate) fn tell_empty(is_narrowed: bool) {
    let all = if is_narrowed { "no recording is as --where, --since and --until say" } else { "there is no recording" };
    say!("note: {all}");
}

/// Where they are exported to.
enum Destination {
    Files(Target),
    Tables(TablesTarget),
}

impl Destination {
    async fn open(place: Place, form: ExportForm, key: Option<Arc<SigningKey>>) -> anyhow::Result<Self> {
        Ok(match form {
            ExportForm::Files(format) => Self::Files(Target::open(place, format, key).await?),
            ExportForm::Tables => Self::Tables(TablesTarget::open(place).await?),
        })
    }

    /// Exports what is new or has changed.
    async fn run(&mut self, origin: &Arc<Origin>, query: &str, manner: Manner) -> anyhow::Result<Outcome> {
        match self {
            Self::Files(target) => run(origin, target, query, manner).await,
            Self::Tables(target) => tables::run(origin, target, query, manner).await,
        }
    }

    /// What there is, for people.
    fn about(&self) -> String {
        match self {
            Self::Files(target) => target.about(),
            Self::Tables(target) => target.about(),
        }
    }
}

impl Origin {
    /// All recordings that the query asks for, newest first.
    pub(crate) async fn list(&self, query: &str) -> anyhow::Result<Vec<Listed>> {
        let (mut found, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let next = cursor.map_or_else(String::new, |cursor| format!("&cursor={}", encoded(&cursor)));
            let (page, next) = self.page(&format!("limit={PAGE_RECORDINGS}{query}{next}")).await?;
            for recording in &page {
                found.push(Listed::of(recording).context("the list holds a recording without an id")?);
            }
            cursor = next;
            if cursor.is_none() {
                return Ok(found);
            }
        }
    }

    async fn page(&self, query: &str) -> anyhow::Result<(Vec<Value>, Option<String>)> {
        match self {
            Self::Local(store) => {
                let now_ms = store.now_ms();
                let query = list_query(query, now_ms).map_err(anyhow::Error::msg)?;
                let page = store.catalog().list(query).await?;
                let rows = page.recordings.into_iter().map(|row| serde_json::to_value(Recording::new(row, now_ms)));
                Ok((rows.collect::<Result<_, _>>()?, page.next))
            }
            Self::Remote(remote) => {
                let mut page = remote.json(&format!("/api/recordings?{query}")).await?;
                let next = page["next"].as_str().map(str::to_owned);
                let Value::Array(recordings) = page["recordings"].take() else { bail!("the server sent no list") };
                Ok((recordings, next))
            }
        }
    }

    /// The recording of this id, of whatever project.
    pub(crate) async fn find(&self, id: &str) -> anyhow::Result<Option<Listed>> {
        let row = match self {
            Self::Local(store) => {
                let row = store.catalog().find(&id.parse()?).await?.into_iter().next();
                row.map(|row| serde_json::to_value(Recording::new(row, store.now_ms()))).transpose()?
            }
            Self::Remote(remote) => remote.json_if_any(&format!("/api/recordings/{}", encoded(id))).await?,
        };
        Ok(row.as_ref().and_then(Listed::of))
    }

    /// The lines of a recording in a file without a name, and how many gaps they have.
    pub(crate) async fn lines(&self, listed: &Listed) -> anyhow::Result<(File, u64)> {
        let file = tempfile::tempfile().context("cannot write in the directory for temporary files")?;
        let (file, lacks) = self.export(listed, Format::Jsonl, file).await?;
        Ok((file, lacks.gap_count))
    }

    /// Writes one recording. Returns what is missing of it.
    async fn export<W: Write>(&self, listed: &Listed, format: Format, mut file: W) -> anyhow::Result<(W, Lacks)> {
        let lacks = match self {
            Self::Local(store) => {
                let (project, id) = (listed.project.parse()?, listed.id.parse()?);
                let row = store.catalog().get(&project, &id).await?.context("it is gone")?;
                let blocks = store.blocks(&project, &id).await?;
                let mut export = FileExport::new(store, row, blocks, format)?;
                while let Some(chunk) = export.next_chunk().await? {
                    file.write_all(&chunk)?;
                }
                Lacks { gap_count: export.gaps().len() as u64, left_out: export.left_out().to_vec() }
            }
            Self::Remote(remote) => {
                let (mut response, gaps) = remote.export_of(&listed.id, Some(&listed.project), format).await?;
                while let Some(chunk) = response.chunk().await? {
                    file.write_all(&chunk)?;
                }
                Lacks { gap_count: gaps.map_or(0, |gaps| gaps.count as u64), left_out: left_out_of(&response) }
            }
        };
        Ok((file, lacks))
    }

    /// Opens a store, or speaks to a server.
    pub(crate) async fn of(
        data: Option<PathBuf>,
        server: Option<String>,
        token: Option<String>,
    ) -> anyhow::Result<Self> {
        match data {
            Some(data) => Ok(Self::Local(local::open(&data, "reelcase export").await?)),
            None => Ok(Self::Remote(Remote::new(server, token)?)),
        }
    }
}

impl Listed {
    fn of(recording: &Value) -> Option<Self> {
        let number = |name: &str| recording[name].as_i64().unwrap_or_default();
        Some(Self {
            id: recording["id"].as_str()?.to_owned(),
            project: recording["project"].as_str()?.to_owned(),
            start_ms: number("start_ms"),
            updated_at_ms: number("updated_at_ms"),
            event_count: number("event_count") as u64,
            stored_bytes: number("stored_bytes") as u64,
            plain_bytes: number("plain_bytes") as u64,
        })
    }
}

/// What a condition looks like.
const WHERE: &str = "write url=/checkout, or errors_min=1; docs/formats.md names others";

/// The list's parameters as the query of an address, each behind a `&`.
pub(crate) fn query(
    conditions: &[String],
    since: &Option<String>,
    until: &Option<String>,
    now_ms: i64,
) -> anyhow::Result<String> {
    let mut query = String::new();
    for condition in conditions {
        let (name, value) = condition
            .split_once('=')
            .with_context(|| format!("--where {condition} is no NAME=VALUE\nhint: {WHERE}"))?;
        query.push_str(&format!("&{}={}", encoded(name), encoded(value)));
    }
    for (name, text) in [("from_ms", since), ("to_ms", until)] {
        if let Some(text) = text {
            query.push_str(&format!("&{name}={}", moment_ms(text, now_ms)?));
        }
    }
    Ok(query)
}

/// A day, a moment, or how long ago.
pub(crate) fn moment_ms(text: &str, now_ms: i64) -> anyhow::Result<i64> {
    const UNITS: [(char, i64); 4] = [('d', 86_400_000), ('h', 3_600_000), ('m', 60_000), ('s', 1_000)];
    for (unit, unit_ms) in UNITS {
        if let Some(count) = text.strip_suffix(unit).and_then(|count| count.parse::<i64>().ok()) {
            return Ok(now_ms.saturating_sub(count.saturating_mul(unit_ms)));
        }
    }
    let day = || text.parse::<jiff::civil::Date>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    let moment = text.parse::<jiff::Timestamp>().ok().or_else(|| day().map(|day| day.timestamp()));
    let moment =
        moment.with_context(|| format!("{text} is no time\nhint: write 2026-11-01, 2026-11-01T12:00:00Z or 7d"))?;
    Ok(moment.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_days_moments_and_how_long_ago() {
        let now_ms = 1_795_226_820_000;
        for (text, expected_ms) in [
            ("7d", now_ms - 7 * 86_400_000),
            ("90m", now_ms - 90 * 60_000),
            ("2026-11-21", 1_795_219_200_000),
            ("2026-11-21T02:07:00Z", now_ms),
            ("2026-11-21T03:07:00+01:00", now_ms),
        ] {
            assert_eq!(moment_ms(text, now_ms).unwrap(), expected_ms, "{text}");
        }
        assert!(moment_ms("yesterday", now_ms).unwrap_err().to_string().contains("hint: "));
    }
}
