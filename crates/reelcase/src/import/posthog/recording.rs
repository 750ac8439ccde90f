//! Makes a `.reel` file of one recording of PostHog: its blocks, its analytics events, who is in it, and PostHog's figures.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use reelcase_format::id::{ProjectKey, RecordingId};
use reelcase_format::summary::Summary;
use reelcase_transform::analytics::{AnalyticsEvent, moment_ms, person_lines};
use reelcase_transform::foreign::{ForeignReader, Limits};
use reelcase_transform::reel::{Beside, BesideLine, ReelOptions, ReelSink};
use reelcase_transform::staff::FIGURES;
use reelcase_transform::stream::{Damage, Header, ReadEvents, WriteEvents};
use serde_json::{Map, Value, json};

use super::api::{Api, Unanswered};
use super::blocks::{self, Blocks};
use crate::convert::CREATOR;
use crate::import::LEVEL;
use crate::remote::encoded;

/// Analytics events of one request.
const PAGE_EVENTS: usize = 1_000;

/// Analytics events of a recording. Sessions end after a day.
const EVENTS_MAX: usize = 100_000;

/// How far from the recording its analytics events may lie, by other clocks.
const EVENTS_MARGIN_MS: i64 = 86_400_000;

/// Other ids of a person that are brought along.
const DISTINCT_IDS_MAX: usize = 100;

/// Which of the figures that are kept says that part of the recording is missing.
pub(super) const IS_PARTIAL: &str = "is_partial";

/// A recording as PostHog lists it.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) id: String,
    /// All of the row but the person.
    row: Map<String, Value>,
    person: Value,
}

/// One recording to be fetched.
pub(super) struct Job {
    pub(super) api: Arc<Api>,
    /// Where what is fetched lies.
    pub(super) dir: PathBuf,
    pub(super) row: Listed,
    pub(super) id: RecordingId,
    pub(super) into: ProjectKey,
    pub(super) with_events: bool,
    pub(super) keep_partial: bool,
    pub(super) now_ms: i64,
}

/// What became of it.
pub(super) enum Fetched {
    /// PostHog has it no more.
    Gone,
    /// There is no block of it.
    Empty,
    /// Part of it is missing.
    Damaged(String),
    Reel(Reel),
}

/// A recording that is ready for the store.
pub(super) struct Reel {
    pub(super) path: PathBuf,
    pub(super) event_count: u64,
    pub(super) analytics_event_count: u64,
    /// PostHog did not answer for its analytics events.
    pub(super) events_refused: bool,
    /// What is missing of it.
    pub(super) lacks: Option<String>,
    /// Figures in which it is not what PostHog counts.
    pub(super) differs: Vec<String>,
}

impl Listed {
    /// Reads a row of the list.
    pub(super) fn of(row: Value) -> Option<Self> {
        let Value::Object(mut row) = row else { return None };
        let id = row.get("id")?.as_str()?.to_owned();
        let person = row.remove("person").unwrap_or_default();
        Some(Self { id, row, person })
    }

    /// A count of the row.
    pub(super) fn figure(&self, name: &str) -> Option<u64> {
        self.row.get(name)?.as_u64()
    }

    /// The day on which it began.
    pub(super) fn day(&self) -> Option<&str> {
        let day = self.row.get("start_time")?.as_str()?.get(..10)?;
        day.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-').then_some(day)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.row.get(name)?.as_str().map(str::to_owned)
    }

    fn distinct_ids(&self) -> Vec<String> {
        let of_person = self.person["distinct_ids"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut ids: Vec<String> = self.text("distinct_id").into_iter().collect();
        ids.extend(of_person.map(str::to_owned));
        let mut seen = std::collections::HashSet::new();
        ids.retain(|id| !id.is_empty() && seen.insert(id.clone()));
        ids.truncate(DISTINCT_IDS_MAX);
        ids
    }

    fn moment_ms(&self, name: &str) -> Option<i64> {
        moment_ms(self.row.get(name)?)
    }
}

impl Job {
    /// Does it. Returns the recording's id and folder too.
    pub(super) async fn run(self) -> (String, PathBuf, anyhow::Result<Fetched>) {
        let (id, dir) = (self.row.id.clone(), self.dir.clone());
        let done = self.fetch().await;
        (id, dir, done)
    }

    async fn fetch(mut self) -> anyhow::Result<Fetched> {
        let Some(blocks) = blocks::fetch(&self.api, &self.row.id, &self.dir).await? else { return Ok(Fetched::Gone) };
        if blocks.listed == 0 {
            return Ok(Fetched::Empty);
        }
        if let Some(lacks) = blocks.lacks().filter(|_| !self.keep_partial) {
            return Ok(Fetched::Damaged(lacks));
        }
        self.complete_person().await?;
        let events = if self.with_events { self.events().await? } else { Some(Vec::new()) };
        tokio::task::spawn_blocking(move || self.make(&blocks, events)).await?
    }

    /// Asks for the person where the list says only that there is one.
    async fn complete_person(&mut self) -> anyhow::Result<()> {
        if self.row.person["properties"].is_object() {
            return Ok(());
        }
        let Some(id) = self.row.text("distinct_id") else { return Ok(()) };
        match self.api.json(&format!("persons/?distinct_id={}", encoded(&id))).await {
            // It may know of nobody by that id.
            Ok(Some(mut found)) => {
                self.row.person = found.pointer_mut("/results/0").map(Value::take).unwrap_or_default();
            }
            Err(error) if error.is::<Unanswered>() => return Err(error),
            // A key may read recordings and no persons.
            Ok(None) | Err(_) => {}
        }
        Ok(())
    }

    /// The session's analytics events, by time. `None` where PostHog does not answer for them.
    async fn events(&self) -> anyhow::Result<Option<Vec<BesideLine>>> {
        let near = |name: &str, margin_ms: i64| {
            let at_ms = self.row.moment_ms(name).unwrap_or(self.now_ms);
            reelcase_server::api::iso(at_ms.saturating_add(margin_ms))
        };
        let mut events = Vec::new();
        while events.len() < EVENTS_MAX {
            let query = json!({ "query": {
                "kind": "EventsQuery",
                "select": ["uuid", "event", "timestamp", "distinct_id", "properties"],
                "properties": [{ "key": "$session_id", "value": [self.row.id], "operator": "exact", "type": "event" }],
                "after": near("start_time", -EVENTS_MARGIN_MS),
                "before": near("end_time", EVENTS_MARGIN_MS),
                "orderBy": ["timestamp ASC"],
                "limit": PAGE_EVENTS,
                "offset": events.len(),
            } });
            let answer = match self.api.query("query/", &query).await {
                Ok(Some(answer)) => answer,
                Err(error) if error.is::<Unanswered>() => return Err(error),
                Ok(None) | Err(_) => return Ok(None),
            };
            let rows = answer["results"].as_array().map_or(&[][..], Vec::as_slice);
            events.extend(rows.iter().filter_map(event_line));
            if answer["hasMore"] != Value::Bool(true) || rows.is_empty() {
                break;
            }
        }
        Ok(Some(events))
    }

    fn make(self, blocks: &Blocks, events: Option<Vec<BesideLine>>) -> anyhow::Result<Fetched> {
        let events_refused = events.is_none();
        let events = events.unwrap_or_default();
        let analytics_event_count = events.len() as u64;
        let header = Header {
            recording: Some(self.id.clone()),
            source: self.row.text("snapshot_source"),
            library: self.row.text("snapshot_library"),
            library_version: None,
            distinct_ids: self.row.distinct_ids(),
            person_properties: self.row.person["properties"].as_object().cloned().unwrap_or_default(),
        };
        let (project, recording) = (self.into.clone(), Some(self.id.clone()));
        let options = ReelOptions { project, recording, creator: CREATOR.to_owned(), level: LEVEL };
        let path = self.dir.join("recording.reel");
        let mut reader = ForeignReader::new(blocks.open()?, Limits::default())?;
        let mut sink = ReelSink::new(std::io::BufWriter::new(File::create(&path)?), options);
        while let Some(event) = reader.next_event()? {
            sink.push(&header, &event)?;
        }
        let report = reader.report().clone();
        if let Some(damage) = report.damage.first().filter(|_| !self.keep_partial || report.event_count == 0) {
            return Ok(Fetched::Damaged(damage.to_string()));
        }
        if report.event_count == 0 {
            return Ok(Fetched::Empty);
        }
        let lacks = blocks.lacks().or(report.damage.first().map(Damage::to_string));
        let summary = Map::from_iter([(FIGURES.to_owned(), self.figures(lacks.is_some()))]);
        let beside = Beside { events, of_project: self.person_lines(), summary };
        let written = sink.with(beside).finish(&header)?;
        let differs = self.compare(&written.summary, blocks);
        Ok(Fetched::Reel(Reel {
            path,
            event_count: report.event_count,
            analytics_event_count,
            events_refused,
            lacks,
            differs,
        }))
    }

    /// PostHog's figures as they are kept.
    fn figures(&self, is_partial: bool) -> Value {
        let mut figures = self.row.row.clone();
        figures.insert("host".to_owned(), self.api.base().into());
        figures.insert("imported_at_ms".to_owned(), self.now_ms.into());
        if is_partial {
            figures.insert(IS_PARTIAL.to_owned(), true.into());
        }
        Value::Object(figures)
    }

    /// Figures of which PostHog has others. It counts what was delivered twice twice.
    fn compare(&self, ours: &Summary, blocks: &Blocks) -> Vec<String> {
        let mut pairs = vec![("event_count", Some(ours.event_count)), ("total_size", blocks.plain_bytes)];
        pairs.extend([
            ("click_count", Some(ours.click_count)),
            ("keypress_count", Some(ours.keypress_count)),
            ("mouse_activity_count", Some(ours.mouse_activity_count)),
        ]);
        let differ = |(name, ours): (&str, Option<u64>)| {
            let (ours, theirs) = (ours?, self.row.figure(name)?);
            let is_explained = blocks.repeated > 0 && name != "total_size" && theirs > ours;
            (ours != theirs && !is_explained).then(|| format!("{name} {ours} here, {theirs} there"))
        };
        pairs.into_iter().filter_map(differ).collect()
    }

    /// What says of a person what PostHog knew when it was asked.
    fn person_lines(&self) -> Vec<BesideLine> {
        let properties = self.row.person["properties"].as_object().cloned().unwrap_or_default();
        person_lines(&self.row.distinct_ids(), &properties, self.now_ms)
    }
}

/// A row of an answer as a line of a recording.
fn event_line(row: &Value) -> Option<BesideLine> {
    let [uuid, event, timestamp, distinct_id, properties] = row.as_array()?.as_slice() else { return None };
    AnalyticsEvent { uuid, event, timestamp, distinct_id, properties }.line()
}
