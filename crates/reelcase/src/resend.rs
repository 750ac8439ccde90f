//! Sends recordings to a PostHog as their clients once would have.
//!
//! What was sent stands in a file, a line for each upload that PostHog has taken, so that a run may be cut short anywhere
//! and be taken up. Uploads have ids that are made of what is in them: one that is sent twice, because a run was killed
//! between PostHog's answer and the line, is known again.

mod log;
mod target;

use std::io::{BufRead, BufReader, Seek};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use reelcase_format::count::counted;
use reelcase_format::line::split_line;
use reelcase_server::api::iso;
use reelcase_store::{Clock, SystemClock};
use reelcase_transform::stream::{Event, LeftOut, is_event};
use reelcase_transform::upload::{BODY_BYTES_MAX, Sender, Upload, UploadCutter};
use serde_json::Value;

use crate::Source;
use crate::bulk::{Listed, Origin, query};
use crate::local::report_left_out;
use crate::progress::Progress;
use crate::terminal;
use log::{Log, Sent};
use target::{Answer, Target};

/// PostHog drops what is older, or that much younger, when it comes.
const AGE_MAX_MS: i64 = 7 * 86_400_000;

/// How much younger a recording must be, since sending it takes its time.
const AGE_RESERVE_MS: i64 = 3_600_000;

/// `reelcase resend`.
#[derive(Debug, Args)]
pub(crate) struct ResendArgs {
    /// The recording's id; without one, all recordings, or those of --where, --since and --until.
    #[arg(conflicts_with_all = ["conditions", "since", "until"])]
    id: Option<String>,
    #[command(flatten)]
    source: Source,
    /// The address to which pages would send: https://eu.i.posthog.com, or a server of one's own.
    #[arg(long, value_name = "URL")]
    to: String,
    /// The key of the project there (phc_…).
    #[arg(long)]
    key: String,
    /// Only those with this, such as url=/checkout; the names are the parameters of the API's list. May be repeated.
    #[arg(long = "where", value_name = "NAME=VALUE")]
    conditions: Vec<String>,
    /// Only those that started at or after this: 2026-11-01, 2026-11-01T12:00:00Z, or so long ago: 7d, 12h.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only those that started before this.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Move each recording in time so that it ends now: PostHog takes nothing of more than 7 days ago.
    #[arg(long)]
    shift_to_now: bool,
    /// Where is kept what was sent.
    #[arg(long, value_name = "FILE", default_value = "reelcase-resend.jsonl")]
    log: PathBuf,
}

/// What a run came to.
#[derive(Debug, Default)]
struct Outcome {
    recordings: u64,
    uploads: u64,
    events: u64,
    there: u64,
    left_alone: u64,
    failed: u64,
    analytics_events: u64,
    gaps: u64,
    too_large_events: u64,
}

/// What there is to say of one recording.
struct Recording {
    listed: Listed,
    row: Value,
}

/// Sends recordings. The code tells whether PostHog has all of them now.
pub(crate) async fn resend(args: ResendArgs) -> anyhow::Result<ExitCode> {
    let target = Target::new(&args.to)?;
    let mut log = Log::open(&args.log, target.address(), &args.key)?;
    let Source { place, token } = args.source;
    let origin = Origin::of(place.data, place.server, token).await?;
    let mut waiting = match &args.id {
        Some(id) => vec![origin.find(id).await?.with_context(|| format!("there is no recording {id}"))?],
        None => origin.list(&query(&args.conditions, &args.since, &args.until, SystemClock.now_ms())?).await?,
    };
    let (mut outcome, progress) = (Outcome::default(), Progress::new("recording"));
    progress.expect(waiting.len() as u64, waiting.iter().map(|listed| listed.stored_bytes).sum());
    // The oldest first: they are the next that PostHog would no longer take.
    while let Some(listed) = waiting.pop() {
        let (id, stored_bytes) = (listed.id.clone(), listed.stored_bytes);
        let Some(row) = origin.row(&listed.project, &id).await? else { continue };
        let done = send_one(&origin, &target, &mut log, &args.key, args.shift_to_now, Recording { listed, row });
        if let Err(error) = progress.during(done).await.map(|done| outcome.note(&id, done)) {
            if error.is::<target::Refusal>() {
                return Err(error);
            }
            outcome.failed += 1;
            say!("{}", terminal::message(&format!("recording {id} is not sent: {error:#}")));
        }
        progress.add(stored_bytes);
    }
    progress.end();
    if let Origin::Local(store) = &origin {
        store.close().await?;
    }
    outcome.tell(target.address());
    Ok(if outcome.left_alone + outcome.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What became of one recording.
enum Done {
    /// All of it was sent before.
    There,
    LeftAlone(String),
    Sent(Outcome),
}

async fn send_one(
    origin: &Origin,
    target: &Target,
    log: &mut Log,
    key: &str,
    shift_to_now: bool,
    recording: Recording,
) -> anyhow::Result<Done> {
    let Recording { listed, row } = recording;
    let now_ms = SystemClock.now_ms();
    let end_ms = row["end_ms"].as_i64().unwrap_or(listed.start_ms);
    let mut sent = log.of(&listed).unwrap_or(Sent { shift_ms: 0, uploads: 0, is_whole: false });
    if sent.is_whole {
        return Ok(Done::There);
    }
    if sent.uploads == 0 && shift_to_now {
        sent.shift_ms = now_ms - end_ms;
    }
    if now_ms - (listed.start_ms + sent.shift_ms) > AGE_MAX_MS - AGE_RESERVE_MS {
        let what = format!("it began {}, and PostHog drops what is older than 7 days", iso(listed.start_ms));
        return Ok(Done::LeftAlone(format!("{what}\nhint: --shift-to-now")));
    }
    let (lines, gaps) = origin.lines(&listed).await?;
    let mut cutter = UploadCutter::new(sender_of(&listed, &row, key, sent.shift_ms)?);
    let mut lines = BufReader::with_capacity(1 << 20, lines);
    lines.rewind()?;
    let mut done = Outcome { recordings: 1, gaps, ..Outcome::default() };
    done.analytics_events = row["analytics_event_count"].as_u64().unwrap_or_default();
    let (mut line, mut number) = (Vec::new(), 0);
    while lines.read_until(b'\n', &mut line)? > 0 {
        let json = line.strip_suffix(b"\n").unwrap_or(&line);
        if let Some((window, json)) = split_line(json).filter(|(_, json)| is_event(json)) {
            for upload in cutter.push(&Event { window: &window, json }) {
                send_upload(target, log, &listed, &mut sent, &mut number, upload, &mut done).await?;
            }
        }
        line.clear();
    }
    for upload in cutter.finish() {
        send_upload(target, log, &listed, &mut sent, &mut number, upload, &mut done).await?;
    }
    sent.is_whole = true;
    log.note(&listed, &sent)?;
    Ok(Done::Sent(done))
}

/// Sends the upload with this number, unless an earlier run did.
async fn send_upload(
    target: &Target,
    log: &mut Log,
    listed: &Listed,
    sent: &mut Sent,
    number: &mut u64,
    upload: Upload,
    done: &mut Outcome,
) -> anyhow::Result<()> {
    *number += 1;
    if *number <= sent.uploads {
        return Ok(());
    }
    if upload.body.len() > BODY_BYTES_MAX {
        done.too_large_events += upload.event_count;
    } else {
        match target.send(upload.body).await? {
            Answer::Taken => {
                done.uploads += 1;
                done.events += upload.event_count;
            }
            Answer::TooLarge => done.too_large_events += upload.event_count,
        }
    }
    sent.uploads = *number;
    log.note(listed, sent)
}

fn sender_of(listed: &Listed, row: &Value, key: &str, shift_ms: i64) -> anyhow::Result<Sender> {
    let text = |name: &str| row[name].as_str().map(str::to_owned);
    let distinct_id = row["person"]["distinct_ids"][0].as_str().unwrap_or(&listed.id);
    Ok(Sender {
        token: key.to_owned(),
        recording: listed.id.parse()?,
        distinct_id: distinct_id.to_owned(),
        source: text("source").unwrap_or_else(|| "web".to_owned()),
        library: text("library"),
        library_version: text("library_version"),
        shift_ms,
    })
}

impl Outcome {
    fn note(&mut self, id: &str, done: Done) {
        match done {
            Done::There => self.there += 1,
            Done::LeftAlone(why) => {
                self.left_alone += 1;
                say!("left alone: recording {id}: {}", terminal::message(&why));
            }
            Done::Sent(of_one) => {
                self.recordings += of_one.recordings;
                self.uploads += of_one.uploads;
                self.events += of_one.events;
                self.analytics_events += of_one.analytics_events;
                self.gaps += of_one.gaps;
                self.too_large_events += of_one.too_large_events;
            }
        }
    }

    fn tell(&self, to: &str) {
        let Self { recordings, uploads, events, there, left_alone, failed, .. } = self;
        let (recordings, events) = (counted(*recordings, "recording"), counted(*events, "event"));
        let (uploads, were) = (counted(*uploads, "upload"), if *there == 1 { "was" } else { "were" });
        say!(
            "sent {recordings} to {to}: {events} in {uploads}; {there} {were} sent before, {left_alone} left alone, \
             {failed} failed"
        );
        let left_out = [
            LeftOut::of(
                self.analytics_events,
                "analytics event, which /s/ has no place for",
                "analytics events, which /s/ has no place for",
            ),
            LeftOut::of(self.gaps, "damaged block", "damaged blocks"),
            LeftOut::of(
                self.too_large_events,
                "event that is larger than PostHog takes",
                "events that are larger than PostHog takes",
            ),
        ];
        report_left_out(&left_out.into_iter().flatten().collect::<Vec<_>>());
        if *failed > 0 {
            say!("hint: the same command takes it up where it ended");
        }
    }
}

/// The address uploads go to.
fn address_of(to: &str) -> anyhow::Result<String> {
    let base = to.trim_end_matches('/');
    let uri: http::Uri = base.parse().with_context(|| format!("{to} is no address"))?;
    if uri.authority().is_none() || !matches!(uri.scheme_str(), Some("http" | "https")) {
        bail!("{to} is no address of a PostHog\nhint: --to https://eu.i.posthog.com");
    }
    Ok(format!("{base}/s/"))
}
