//! Brings recordings from PostHog's API, of its cloud or of a server of one's own, into a store or to a server.
//!
//! The list is walked a page at a time, and how far it came is kept in a file; blocks that were fetched are kept until
//! the store has them. So a run may be cut short anywhere, and the next one takes up where it ended. What came is
//! compared with the figures that PostHog gives for it, and those stay in the recording's summary beside ours.

mod api;
mod blocks;
mod recording;
mod state;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use reelcase_format::count::counted;
use reelcase_format::id::{ProjectKey, RecordingId};
use reelcase_server::api::iso;
use reelcase_server::import::ImportOptions;
use reelcase_store::{Clock, SystemClock};
use reelcase_transform::staff::FIGURES;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::task::JoinSet;

use super::sink::{Sink, SinkArgs};
use crate::bulk::{cannot_write, moment_ms};
use crate::progress::Progress;
use crate::remote::encoded;
use crate::{WITH_GAPS, terminal};
use api::{Api, Unanswered};
use recording::{Fetched, IS_PARTIAL, Listed};
use state::State;

/// Recordings of a page of the list.
const PAGE_RECORDINGS: usize = 100;

/// Recordings that may be fetched at once.
const JOBS_MAX: usize = 32;

/// How far back the list goes where nobody says: PostHog keeps nothing for longer.
const YEARS_MS: i64 = 5 * 366 * 86_400_000;

/// A recording of so short a time ago may still grow.
const SETTLED_MS: i64 = 86_400_000;

/// Calls an hour that PostHog's cloud allows a paid plan.
const CALLS_PER_HOUR: u64 = 300;

/// `reelcase import posthog`.
#[derive(Debug, Args)]
pub(crate) struct PosthogArgs {
    /// Where PostHog is: eu, us, or the address of one's own.
    #[arg(long)]
    host: String,
    /// The project's id, as it stands in the addresses of PostHog's pages.
    #[arg(long)]
    project: String,
    /// A personal API key with session_recording:read, person:read and query:read.
    #[arg(long, env = "POSTHOG_PERSONAL_API_KEY", hide_env_values = true)]
    key: String,
    #[command(flatten)]
    sink: SinkArgs,
    /// Key of the project that the recordings come into. By default PostHog's own for the project, or else imported.
    #[arg(long)]
    into: Option<ProjectKey>,
    /// Only recordings that started at or after this: 2026-11-01, 2026-11-01T12:00:00Z, or so long ago: 30d.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only those that started before this. By default a day ago: younger ones may still grow.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// How many recordings are fetched at once.
    #[arg(long, value_name = "COUNT", default_value_t = 2)]
    jobs: usize,
    /// Leave analytics events where they are, which saves a request for each recording.
    #[arg(long)]
    no_events: bool,
    /// Import what there is of recordings of which blocks are missing or damaged.
    #[arg(long)]
    keep_partial: bool,
    /// Say how many recordings, bytes and hours there are, and import nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Where a page of the list begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Page {
    /// After so many recordings; servers before 2025 have no cursors.
    Offset(usize),
    /// Where the page before said.
    After(String),
}

/// What a run came to.
#[derive(Debug, Default)]
struct Outcome {
    recordings: u64,
    events: u64,
    analytics_events: u64,
    there: u64,
    empty: u64,
    gone: u64,
    left_alone: u64,
    partial: u64,
    failed: u64,
    verified: u64,
    differing: u64,
    without_events: u64,
}

/// All that a run needs to know.
struct Run {
    api: Arc<Api>,
    sink: Sink,
    into: ProjectKey,
    dir: PathBuf,
    jobs: usize,
    with_events: bool,
    keep_partial: bool,
    outcome: Outcome,
    progress: Arc<Progress>,
}

/// Imports from PostHog. The code tells whether all that there is came.
pub(crate) async fn import(args: PosthogArgs) -> anyhow::Result<ExitCode> {
    if !(1..=JOBS_MAX).contains(&args.jobs) {
        bail!("--jobs can be 1 to {JOBS_MAX}");
    }
    let api = Arc::new(Api::new(&args.host, &args.project, &args.key)?);
    let dir = state::folder(args.sink.work(), api.base(), &args.project);
    let found = State::load(&dir)?;
    let state = match &found {
        Some(state) if args.since.is_none() && args.until.is_none() => state.clone(),
        _ => begin(&args, &api, SystemClock.now_ms())?,
    };
    if args.dry_run {
        return plan(&api, &state).await;
    }
    let into = project_of(&args, &api).await.map_err(ended)?;
    let PosthogArgs { sink, jobs, no_events, keep_partial, .. } = args;
    let sink = sink.open().await?;
    let into = sink.project_of(&into).await?;
    fs::create_dir_all(&dir)?;
    say!("importing into project {into} what began from {} to {}", state.from, state.to);
    let (with_events, outcome, progress) = (!no_events, Outcome::default(), Arc::new(Progress::new("recording")));
    let (made, progress_of_run) = (dir.clone(), progress.clone());
    let run = Run { api, sink, into, dir, jobs, with_events, keep_partial, outcome, progress: progress_of_run };
    let imported = progress.during(run.go(state)).await;
    if imported.is_err() {
        // Empty where nothing came, as of a project that there is not.
        let _ = fs::remove_dir(made);
    }
    imported.map_err(ended)
}

/// Whether what went wrong has nothing to do with the recording: with any other one it would go no better.
fn is_of_all(error: &anyhow::Error) -> bool {
    error.is::<Unanswered>() || cannot_write(error)
}

/// Why a run ends before its end. The next begins with the page of the list that this one was at.
fn ended(error: anyhow::Error) -> anyhow::Error {
    match is_of_all(&error) {
        true => anyhow::anyhow!("{error:#}\nhint: the same command goes on where this one ended"),
        false => error,
    }
}

/// What is to be listed where nobody began before.
fn begin(args: &PosthogArgs, api: &Api, now_ms: i64) -> anyhow::Result<State> {
    let moment = |text: &Option<String>, default_ms: i64| match text {
        Some(text) => moment_ms(text, now_ms),
        None => Ok(default_ms),
    };
    Ok(State {
        host: api.base().to_owned(),
        project: args.project.clone(),
        from: iso(moment(&args.since, now_ms - YEARS_MS)?),
        to: iso(moment(&args.until, now_ms - SETTLED_MS)?),
        next: Some(Page::Offset(0)),
        failed: Vec::new(),
    })
}

/// The project that was asked for, or else the key that PostHog has for it, so that pages need no other.
async fn project_of(args: &PosthogArgs, api: &Api) -> anyhow::Result<ProjectKey> {
    if let Some(into) = &args.into {
        return Ok(into.clone());
    }
    let project = match api.json("").await {
        Err(error) if error.is::<Unanswered>() => return Err(error),
        // A key may read recordings and not the project.
        asked => asked.ok().flatten().unwrap_or_default(),
    };
    let key = ["api_token", "key"].iter().find_map(|name| project[name].as_str());
    Ok(key.and_then(|key| key.parse().ok()).unwrap_or("imported".parse()?))
}

/// One page of the list, and where the next one begins.
async fn list(api: &Api, state: &State, page: &Page) -> anyhow::Result<(Vec<Listed>, Option<Page>)> {
    let mut path = format!(
        "session_recordings/?date_from={}&date_to={}&order=start_time&order_direction=DESC&limit={PAGE_RECORDINGS}",
        encoded(&state.from),
        encoded(&state.to)
    );
    match page {
        Page::Offset(offset) => path.push_str(&format!("&offset={offset}")),
        Page::After(cursor) => path.push_str(&format!("&after={}", encoded(cursor))),
    }
    let answer = api.json(&path).await?;
    let mut answer = answer.with_context(|| format!("there is no project {} on {}", state.project, state.host))?;
    let Value::Array(rows) = answer["results"].take() else { bail!("PostHog sent no list of recordings") };
    let count = rows.len();
    let next = match (answer["next_cursor"].as_str(), answer["has_next"].as_bool(), page) {
        (Some(cursor), _, _) => Some(Page::After(cursor.to_owned())),
        (None, Some(true), Page::Offset(offset)) if count > 0 => Some(Page::Offset(offset + count)),
        (None, Some(true), _) => bail!("PostHog says that there are more recordings, but not where"),
        _ => None,
    };
    Ok((rows.into_iter().filter_map(Listed::of).collect(), next))
}

/// Says what there is, without fetching any of it.
async fn plan(api: &Api, state: &State) -> anyhow::Result<ExitCode> {
    let (mut recordings, mut bytes, mut without_bytes, mut seconds) = (0_u64, 0_u64, 0_u64, 0_u64);
    let mut calls = 0;
    let mut next = Some(Page::Offset(0));
    while let Some(page) = next {
        let (rows, following) = list(api, state, &page).await?;
        calls += 1;
        for row in &rows {
            recordings += 1;
            seconds += row.figure("recording_duration").unwrap_or_default();
            match row.figure("total_size") {
                Some(size) => bytes += size,
                None => without_bytes += 1,
            }
        }
        next = following;
    }
    let recordings_told = counted(recordings, "recording");
    print_line!("{recordings_told} of {:.1} hours from {} to {}", seconds as f64 / 3_600.0, state.from, state.to)?;
    let megabytes = bytes as f64 / 1e6;
    match without_bytes {
        0 => print_line!("{megabytes:.1} MB of lines, uncompressed")?,
        _ if bytes == 0 => print_line!("this PostHog does not say how many bytes they have")?,
        _ => print_line!("{megabytes:.1} MB of lines, uncompressed, without {without_bytes} of unknown size")?,
    }
    calls += recordings * 2;
    print_line!(
        "at least {}: {:.1} hours where PostHog allows {CALLS_PER_HOUR} an hour, as its paid plans do; \
         one's own server sets no limit by itself",
        counted(calls, "request"),
        calls as f64 / CALLS_PER_HOUR as f64
    )?;
    Ok(ExitCode::SUCCESS)
}

impl Run {
    async fn go(mut self, mut state: State) -> anyhow::Result<ExitCode> {
        // What could not be had before.
        for id in std::mem::take(&mut state.failed) {
            match self.api.json(&format!("session_recordings/{}/", encoded(&id))).await {
                Ok(row) => {
                    let rows = row.and_then(Listed::of).into_iter().collect();
                    self.page(rows, &mut state.failed).await?;
                }
                Err(error) if is_of_all(&error) => return Err(error),
                Err(error) => self.fail(id, &error, &mut state.failed),
            }
        }
        while let Some(page) = state.next.take() {
            let (rows, next) = list(&self.api, &state, &page).await?;
            if next.is_none() {
                // The last page: now it is known how many there are.
                self.progress.expect(self.progress.count() + rows.len() as u64, 0);
            }
            self.page(rows, &mut state.failed).await?;
            state.next = next;
            state.save(&self.dir)?;
        }
        self.sink.close().await?;
        if state.failed.is_empty() {
            fs::remove_dir_all(&self.dir)?;
        } else {
            state.save(&self.dir)?;
        }
        self.progress.end();
        self.outcome.tell();
        Ok(self.outcome.code())
    }

    /// Imports some recordings.
    async fn page(&mut self, rows: Vec<Listed>, failed: &mut Vec<String>) -> anyhow::Result<()> {
        let mut waiting = rows.into_iter();
        let mut running = JoinSet::new();
        loop {
            while running.len() < self.jobs
                && let Some(row) = waiting.next()
            {
                if let Some(day) = row.day() {
                    self.progress.reach(format!("back to {day}"));
                }
                match self.job(row).await? {
                    Some(job) => drop(running.spawn(job.run())),
                    None => self.progress.skip(),
                }
            }
            let Some(done) = running.join_next().await else { break };
            let (id, dir, done) = done?;
            self.progress.add(0);
            match done {
                Ok(fetched) => self.take(id, dir, fetched).await?,
                // The others that are under way end here, too; what was fetched of them is kept.
                Err(error) if is_of_all(&error) => return Err(error),
                Err(error) => self.fail(id, &error, failed),
            }
        }
        Ok(())
    }

    /// What is to be done for a recording; nothing where the store has it, or something else of its name.
    async fn job(&mut self, row: Listed) -> anyhow::Result<Option<recording::Job>> {
        let id: RecordingId = match row.id.parse() {
            Ok(id) => id,
            Err(error) => {
                self.outcome.left_alone += 1;
                say!("left alone: recording {}: {error}", terminal::line(&row.id));
                return Ok(None);
            }
        };
        if let Some(there) = self.sink.recording(&self.into, &id).await? {
            let known = there[FIGURES]["event_count"].as_u64().or(there["event_count"].as_u64());
            let is_same = row.figure("event_count").is_none_or(|listed| Some(listed) == known);
            if is_same {
                self.outcome.there += 1;
                self.outcome.partial += u64::from(there[FIGURES][IS_PARTIAL] == Value::Bool(true));
            } else {
                self.outcome.left_alone += 1;
                say!("left alone: the store has recording {id} with other events");
            }
            return Ok(None);
        }
        Ok(Some(recording::Job {
            api: self.api.clone(),
            dir: self.dir.join(id.as_str()),
            row,
            id,
            into: self.into.clone(),
            with_events: self.with_events,
            keep_partial: self.keep_partial,
            now_ms: SystemClock.now_ms(),
        }))
    }

    async fn take(&mut self, id: String, dir: PathBuf, fetched: Fetched) -> anyhow::Result<()> {
        match fetched {
            Fetched::Gone => {
                self.outcome.gone += 1;
                say!("recording {id} is in PostHog's list, and deleted");
            }
            Fetched::Empty => self.outcome.empty += 1,
            Fetched::Damaged(what) => {
                self.outcome.left_alone += 1;
                say!("left alone: recording {id}: {}", terminal::line(&what));
            }
            Fetched::Reel(reel) => {
                let (project, keep_partial) = (self.into.clone(), self.keep_partial);
                let options = ImportOptions { project, name: None, keep_partial, is_dry_run: false };
                let imported = self.sink.take(&reel.path, &options).await;
                imported.with_context(|| format!("cannot import recording {id}"))?;
                fs::remove_dir_all(&dir)?;
                let outcome = &mut self.outcome;
                outcome.recordings += 1;
                outcome.events += reel.event_count;
                outcome.analytics_events += reel.analytics_event_count;
                outcome.without_events += u64::from(reel.events_refused);
                if let Some(lacks) = &reel.lacks {
                    outcome.partial += 1;
                    say!("imported in part: recording {id}: {}", terminal::line(lacks));
                }
                if reel.differs.is_empty() {
                    outcome.verified += 1;
                } else {
                    outcome.differing += 1;
                    let differs = terminal::line(&reel.differs.join(", "));
                    say!("recording {id} is not what PostHog counts: {differs}");
                }
            }
        }
        Ok(())
    }

    fn fail(&mut self, id: String, error: &anyhow::Error, failed: &mut Vec<String>) {
        self.outcome.failed += 1;
        say!("{}", terminal::message(&format!("recording {id} is not imported: {error:#}")));
        failed.push(id);
    }
}

impl Outcome {
    fn tell(&self) {
        let Self { recordings, events, analytics_events, there, empty, gone, left_alone, failed, partial, .. } = self;
        let (recordings, events) = (counted(*recordings, "recording"), counted(*events, "event"));
        let analytics_events = counted(*analytics_events, "analytics event");
        let are = if *there == 1 { "is" } else { "are" };
        say!(
            "imported {recordings} with {events} and {analytics_events}; {there} {are} there already, {empty} empty, \
             {gone} deleted, {left_alone} left alone, {failed} failed, {partial} in part"
        );
        let Self { verified, differing, without_events, .. } = self;
        let have = |count: u64| if count == 1 { "has" } else { "have" };
        let (all, others) = (have(*verified), have(*differing));
        say!("{verified} {all} the events and bytes that PostHog counts, {differing} {others} others");
        if *without_events > 0 {
            say!("{without_events} came without analytics events: the key may not query them, or PostHog cannot");
        }
        if *failed > 0 {
            say!("hint: the same command tries those again that failed");
        }
    }

    fn code(&self) -> ExitCode {
        match (self.failed + self.left_alone, self.partial) {
            (0, 0) => ExitCode::SUCCESS,
            (0, _) => ExitCode::from(WITH_GAPS),
            _ => ExitCode::FAILURE,
        }
    }
}
