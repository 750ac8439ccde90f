//! A directory of Parquet tables, or a bucket with them, that follows a store.
//!
//! ```text
//! DIR/tables.jsonl                                        one line for each part
//! DIR/recordings/date=2026-11-21/part-1f….parquet         three files make a part: the same recordings in three tables
//! DIR/events/date=2026-11-21/part-1f….parquet
//! DIR/snapshots/date=2026-11-21/part-1f….parquet
//! ```
//!
//! A part never changes. Recordings that are new make new parts; one that has changed makes its part, and the small ones of
//! its day, be written anew, and the old files go once the manifest names the new ones. So every recording is in the tables
//! once, there are few files, and what has not changed is hardly touched.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use anyhow::{Context, bail};
use bytes::Bytes;
use reelcase_format::block::BlockKind;
use reelcase_format::count::counted;
use reelcase_server::api::{Recording, iso};
use reelcase_server::export::FileExport;
use reelcase_transform::format::Format;
use reelcase_transform::stream::LeftOut;
use reelcase_transform::tables::{TABLES, TABLES_VERSION, Tables};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::task::JoinSet;

use super::place::{Place, Unfinished};
use super::{Listed, Manner, Origin, Outcome, ended, is_of_all};
use crate::convert::CREATOR;
use crate::progress::Progress;
use crate::remote::encoded;
use crate::terminal;

const MANIFEST: &str = "tables.jsonl";

/// Bytes of lines, and recordings, of a part.
const PART_BYTES_MAX: u64 = 1 << 30;
const PART_RECORDINGS_MAX: usize = 2_000;

/// Parts with less than this are written anew when their day gets more.
const PART_BYTES_SMALL: u64 = PART_BYTES_MAX / 4;

/// A recording of a project.
type Name = (String, String);

/// The place, and what is in it.
pub(super) struct TablesTarget {
    place: Arc<Place>,
    /// By name.
    parts: BTreeMap<String, Part>,
}

/// A line of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    name: String,
    tables_version: u32,
    /// The day on which its recordings began.
    date: String,
    files: Vec<PartFile>,
    recordings: Vec<PartRecording>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PartFile {
    /// Below the directory.
    file: String,
    bytes: u64,
    sha256: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PartRecording {
    project: String,
    recording: String,
    /// The state of the recording: when something was last added to it.
    updated_at_ms: i64,
    event_count: u64,
    plain_bytes: u64,
    /// Damaged blocks that are missing.
    #[serde(default)]
    gap_count: u64,
}

/// What is to be written of one day.
#[derive(Default)]
struct Day {
    /// Parts that go when all of the day is written.
    old: Vec<String>,
    parts_left: usize,
    written: Vec<Part>,
}

/// One part to be written.
struct Job {
    date: String,
    recordings: Vec<Listed>,
}

/// What became of it.
struct Done {
    part: Option<Part>,
    /// What tables cannot hold of it.
    left_out: Vec<LeftOut>,
    /// Recordings that are not in it, and why.
    failed: Vec<(String, anyhow::Error)>,
}

impl TablesTarget {
    /// Reads what is there, and deletes what no manifest names.
    pub(super) async fn open(place: Place) -> anyhow::Result<Self> {
        let target = Self { parts: read_manifest(&place).await?, place: Arc::new(place) };
        target.remove_unknown().await?;
        Ok(target)
    }

    /// What there is, for people.
    pub(super) fn about(&self) -> String {
        let recordings: usize = self.parts.values().map(|part| part.recordings.len()).sum();
        let (recordings, parts) = (counted(recordings as u64, "recording"), counted(self.parts.len() as u64, "part"));
        format!("{recordings} in {parts} in {}", self.place.describe(MANIFEST))
    }

    /// Deletes files of parts that the manifest does not name: a run was killed before it did, or after it did no more.
    async fn remove_unknown(&self) -> anyhow::Result<()> {
        let known: BTreeSet<&str> = self.parts.values().flat_map(|part| &part.files).map(|file| &*file.file).collect();
        for table in TABLES {
            for file in self.place.names_below(table.as_str())? {
                let mut folders = file.rsplit('/');
                let (name, day) = (folders.next().unwrap_or_default(), folders.next().unwrap_or_default());
                if day.starts_with("date=") && is_part_file(name) && !known.contains(file.as_str()) {
                    self.place.remove(&file).await?;
                }
            }
        }
        Ok(())
    }

    fn is_whole(&self, part: &Part) -> bool {
        let is_there = |file: &PartFile| self.place.bytes_of(&file.file) == Some(file.bytes);
        part.tables_version == TABLES_VERSION && part.files.iter().all(is_there)
    }

    /// Which part each recording is in. One that is in two is in neither.
    fn places(&self) -> BTreeMap<Name, (&Part, &PartRecording)> {
        let mut places = BTreeMap::new();
        for part in self.parts.values().filter(|part| self.is_whole(part)) {
            for recording in &part.recordings {
                let name = (recording.project.clone(), recording.recording.clone());
                places.insert(name, (part, recording));
            }
        }
        places
    }

    /// Names parts that are written, and forgets those that they replace.
    async fn commit(&mut self, written: Vec<Part>, old: &[String]) -> anyhow::Result<()> {
        let mut gone = Vec::new();
        for name in old {
            gone.extend(self.parts.remove(name).into_iter().flat_map(|part| part.files));
        }
        self.parts.extend(written.into_iter().map(|part| (part.name.clone(), part)));
        let kept: BTreeSet<&str> = self.parts.values().flat_map(|part| &part.files).map(|file| &*file.file).collect();
        let mut lines = Vec::new();
        for part in self.parts.values() {
            serde_json::to_writer(&mut lines, part)?;
            lines.push(b'\n');
        }
        if !self.place.replace_manifest(MANIFEST, lines).await? {
            // What it replaces may be what we have just written: the next run sees what there is.
            bail!("another export has written to {}\nhint: run it again", self.place.describe(MANIFEST));
        }
        for file in gone.iter().filter(|file| !kept.contains(file.file.as_str())) {
            self.place.remove(&file.file).await?;
        }
        Ok(())
    }
}

/// Exports what is new or has changed.
pub(super) async fn run(
    origin: &Arc<Origin>,
    target: &mut TablesTarget,
    query: &str,
    manner: Manner,
) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    let (mut days, mut waiting) = plan(origin, target, query, &mut outcome).await?;
    let all = || waiting.iter().flat_map(|job: &Job| &job.recordings);
    let progress = Arc::new(Progress::new("recording").quiet(manner.is_quiet));
    progress.expect(all().count() as u64, all().map(|listed| listed.stored_bytes).sum());
    let mut running = JoinSet::new();
    while !waiting.is_empty() || !running.is_empty() {
        while running.len() < manner.jobs
            && let Some(job) = waiting.pop_front()
        {
            let (origin, place, progress) = (origin.clone(), target.place.clone(), progress.clone());
            running.spawn(async move {
                let date = job.date.clone();
                (date, write_part(&origin, &place, job, &progress).await)
            });
        }
        let Some(done) = progress.during(running.join_next()).await else { break };
        let (date, done) = done?;
        let Done { part, left_out, failed } = done.map_err(ended)?;
        LeftOut::add(&mut outcome.left_out, &left_out);
        for (id, error) in &failed {
            outcome.fail(id, error);
            progress.say(&terminal::message(&format!("recording {id} is not exported: {error:#}")));
        }
        if let Some(part) = &part {
            outcome.exported += part.recordings.len() as u64;
            outcome.exported_bytes += part.files.iter().map(|file| file.bytes).sum::<u64>();
            outcome.with_gaps += part.recordings.iter().filter(|recording| recording.gap_count > 0).count() as u64;
        }
        let Some(day) = days.get_mut(&date) else { continue };
        day.parts_left -= 1;
        day.written.extend(part);
        // Where nothing goes, each part counts as soon as it is there.
        if day.old.is_empty() || day.parts_left == 0 {
            let (written, old) = (std::mem::take(&mut day.written), std::mem::take(&mut day.old));
            target.commit(written, &old).await.map_err(ended)?;
        }
    }
    // Days of which nothing is left.
    let old: Vec<String> = days.into_values().filter(|day| day.parts_left == 0).flat_map(|day| day.old).collect();
    if !old.is_empty() {
        target.commit(Vec::new(), &old).await?;
    }
    Ok(outcome)
}

/// What is to be written, and which parts that replaces.
async fn plan(
    origin: &Origin,
    target: &TablesTarget,
    query: &str,
    outcome: &mut Outcome,
) -> anyhow::Result<(BTreeMap<String, Day>, VecDeque<Job>)> {
    let places = target.places();
    let (mut days, mut wanted) = (BTreeMap::<String, Vec<Listed>>::new(), BTreeSet::new());
    let mut old: BTreeSet<&str> =
        target.parts.values().filter(|part| !target.is_whole(part)).map(|part| part.name.as_str()).collect();
    for listed in origin.list(query).await? {
        let name = (listed.project.clone(), listed.id.clone());
        match places.get(&name) {
            Some((_, there)) if there.updated_at_ms == listed.updated_at_ms => outcome.unchanged += 1,
            place => {
                old.extend(place.map(|(part, _)| part.name.as_str()));
                wanted.insert(name);
                days.entry(date_of(&listed)).or_default().push(listed);
            }
        }
    }
    let is_small = |part: &Part| {
        let bytes: u64 = part.recordings.iter().map(|recording| recording.plain_bytes).sum();
        bytes < PART_BYTES_SMALL && part.recordings.len() < PART_RECORDINGS_MAX / 4
    };
    let small = target.parts.values().filter(|part| days.contains_key(&part.date) && is_small(part));
    old.extend(small.map(|part| part.name.as_str()));
    // What else is in parts that go comes along.
    for part in old.iter().filter_map(|name| target.parts.get(*name)) {
        for recording in &part.recordings {
            let name = (recording.project.clone(), recording.recording.clone());
            if wanted.insert(name)
                && let Some(listed) = origin.one(&recording.project, &recording.recording).await?
            {
                outcome.unchanged = outcome.unchanged.saturating_sub(1);
                days.entry(date_of(&listed)).or_default().push(listed);
            }
        }
    }
    let mut planned: BTreeMap<String, Day> = BTreeMap::new();
    for name in old {
        // A recording that turns out to have begun on another day leaves this one for that: its old part stays until then.
        let date = target.parts.get(name).map(|part| part.date.clone()).unwrap_or_default();
        planned.entry(date).or_default().old.push(name.to_owned());
    }
    let mut jobs = VecDeque::new();
    for (date, mut recordings) in days {
        recordings.sort_by(|a, b| (a.start_ms, &a.project, &a.id).cmp(&(b.start_ms, &b.project, &b.id)));
        let day = planned.entry(date.clone()).or_default();
        for recordings in cut(recordings) {
            day.parts_left += 1;
            jobs.push_back(Job { date: date.clone(), recordings });
        }
    }
    Ok((planned, jobs))
}

/// Recordings by parts.
fn cut(recordings: Vec<Listed>) -> Vec<Vec<Listed>> {
    let (mut parts, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
    for listed in recordings {
        if !part.is_empty() && (bytes + listed.plain_bytes > PART_BYTES_MAX || part.len() == PART_RECORDINGS_MAX) {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += listed.plain_bytes;
        part.push(listed);
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

/// Writes one part. A recording that cannot be read is left out of it.
async fn write_part(origin: &Origin, place: &Place, job: Job, progress: &Progress) -> anyhow::Result<Done> {
    let Job { date, mut recordings } = job;
    let (mut failed, mut told_count) = (Vec::new(), 0);
    loop {
        if recordings.is_empty() {
            return Ok(Done { part: None, left_out: Vec::new(), failed });
        }
        let outs = [place.begin()?, place.begin()?, place.begin()?];
        let mut tables = Tables::new(outs, CREATOR)?;
        let mut written = Vec::new();
        let mut broken = None;
        for (place, listed) in recordings.iter().enumerate() {
            match write_recording(origin, listed, &mut tables).await {
                Ok(gap_count) => written.push(PartRecording {
                    project: listed.project.clone(),
                    recording: listed.id.clone(),
                    updated_at_ms: listed.updated_at_ms,
                    event_count: listed.event_count,
                    plain_bytes: listed.plain_bytes,
                    gap_count,
                }),
                Err(error) if is_of_all(&error) => return Err(error),
                Err(error) => {
                    broken = Some((place, error));
                    break;
                }
            }
            // What is written anew is told once.
            if written.len() > told_count {
                told_count += 1;
                progress.add(listed.stored_bytes);
            }
        }
        if let Some((place, error)) = broken {
            // Some of its rows are written already: the part is begun again without it.
            let listed = recordings.remove(place);
            progress.add(listed.stored_bytes);
            failed.push((listed.id, error));
            continue;
        }
        let (outs, left_out) = tables.finish()?;
        let name = name_of(&written);
        let mut files = Vec::new();
        for (table, out) in TABLES.into_iter().zip(outs) {
            let file = format!("{}/date={date}/{name}.parquet", table.as_str());
            let finished = out.finish();
            let part = PartFile { file, bytes: finished.bytes, sha256: finished.sha256.clone() };
            place.keep(finished, &part.file, &serde_json::to_string(&part)?).await?;
            files.push(part);
        }
        let part = Part { name, tables_version: TABLES_VERSION, date, files, recordings: written };
        return Ok(Done { part: Some(part), left_out, failed });
    }
}

/// Writes one recording. Returns how many damaged blocks are missing.
async fn write_recording(origin: &Origin, listed: &Listed, tables: &mut Tables<Unfinished>) -> anyhow::Result<u64> {
    let row = origin.row(&listed.project, &listed.id).await?.context("it is gone")?;
    tables.begin(&row)?;
    match origin {
        Origin::Local(store) => {
            let (project, id) = (listed.project.parse()?, listed.id.parse()?);
            let row = store.catalog().get(&project, &id).await?.context("it is gone")?;
            let blocks = store.blocks(&project, &id).await?;
            let events = blocks.iter().filter(|block| block.kind == BlockKind::Events).cloned().collect::<Vec<_>>();
            let mut export = FileExport::new(store, row, blocks, Format::Jsonl)?;
            while let Some(chunk) = export.next_chunk().await? {
                tables.lines(&chunk.into())?;
            }
            let mut gaps = export.gaps().len() as u64;
            for block in events {
                match store.read_lines(&block).await {
                    Ok(plain) => tables.analytics(&plain)?,
                    Err(_) => gaps += 1,
                }
            }
            Ok(gaps)
        }
        Origin::Remote(remote) => {
            let (mut response, gaps) = remote.export_of(&listed.id, Some(&listed.project), Format::Jsonl).await?;
            let mut rest = Vec::new();
            while let Some(chunk) = response.chunk().await? {
                rest.extend_from_slice(&chunk);
                let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                let after = rest.split_off(whole);
                tables.lines(&Bytes::from(std::mem::replace(&mut rest, after)))?;
            }
            tables.lines(&Bytes::from(rest))?;
            let (id, project) = (&listed.id, encoded(&listed.project));
            let list = remote.json(&format!("/api/recordings/{id}/blocks?project={project}")).await?;
            let blocks = list["blocks"].as_array().into_iter().flatten().filter(|block| block["kind"] == "events");
            for url in blocks.filter_map(|block| block["url"].as_str()) {
                // The server's prefix stands in its address already.
                let url = url.find("/api/").map_or(url, |begins| &url[begins..]);
                tables.analytics(&remote.bytes(&format!("{url}?project={project}")).await?)?;
            }
            Ok(gaps.map_or(0, |gaps| gaps.count as u64))
        }
    }
}

impl Origin {
    /// One recording as the API describes it.
    pub(crate) async fn row(&self, project: &str, id: &str) -> anyhow::Result<Option<Value>> {
        match self {
            Self::Local(store) => {
                let row = store.catalog().get(&project.parse()?, &id.parse()?).await?;
                Ok(row.map(|row| serde_json::to_value(Recording::new(row, store.now_ms()))).transpose()?)
            }
            Self::Remote(remote) => {
                let path = format!("/api/recordings/{}?project={}", encoded(id), encoded(project));
                remote.json_if_any(&path).await
            }
        }
    }

    async fn one(&self, project: &str, id: &str) -> anyhow::Result<Option<Listed>> {
        Ok(self.row(project, id).await?.as_ref().and_then(Listed::of))
    }
}

fn date_of(listed: &Listed) -> String {
    let moment = iso(listed.start_ms);
    // What programs take for no date at all.
    moment.split('T').next().filter(|day| !day.is_empty()).unwrap_or("__HIVE_DEFAULT_PARTITION__").to_owned()
}

/// A name that is made of what is in the part.
fn name_of(recordings: &[PartRecording]) -> String {
    let mut hasher = blake3::Hasher::new();
    for PartRecording { project, recording, updated_at_ms, .. } in recordings {
        hasher.update(format!("{project}\n{recording}\n{updated_at_ms}\n").as_bytes());
    }
    format!("part-{}", &hasher.finalize().to_hex()[..16])
}

fn is_part_file(name: &str) -> bool {
    let hash = name.strip_prefix("part-").and_then(|rest| rest.strip_suffix(".parquet"));
    hash.is_some_and(|hash| hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

async fn read_manifest(place: &Place) -> anyhow::Result<BTreeMap<String, Part>> {
    let manifest = place.read_manifest(MANIFEST).await?.unwrap_or_default();
    let mut parts = BTreeMap::new();
    for line in manifest.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        // Guessing would delete files, or write them twice.
        let part: Part = serde_json::from_slice(line).with_context(|| {
            format!("{} cannot be understood\nhint: export to another place", place.describe(MANIFEST))
        })?;
        parts.insert(part.name.clone(), part);
    }
    Ok(parts)
}
