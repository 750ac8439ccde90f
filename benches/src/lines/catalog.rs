//! A catalog with very many recordings: listing, finding rare ones, and taking uploads beside them.

use std::path::Path;
use std::sync::Arc;

use anyhow::ensure;
use reelcase_format::block::{BlockHash, BlockKind};
use reelcase_format::id::{ProjectKey, RecordingId};
use reelcase_format::summary::{Summary, WindowSummary};
use reelcase_store::catalog::{BlockRow, Catalog, CatalogCommit, ObjectKind, ObjectRow, RecordingDelta, SqliteCatalog};

use crate::Settings;
use crate::lines::full::wait_until_sealed;
use crate::lines::serving::uploads;
use crate::load::{self, Load};
use crate::process::{Server, new_store};
use crate::report::{Row, median, number, percent};
use crate::workload::chance;

/// Recordings entered by one commit.
const PER_OBJECT: usize = 1_000;

/// Requests whose times are taken.
const REQUESTS: usize = 400;

/// One in so many recordings has an error.
const ERROR_EVERY: u64 = 500;

/// When the first recording starts, and how far apart they start, ms.
const BEGIN_MS: i64 = 1_700_000_000_000;
const APART_MS: i64 = 60_000;

/// What uploads cost beside a catalog: CPU seconds each, and highest memory in MB.
struct Cost {
    cpu_seconds: f64,
    memory_mb: f64,
}

pub(crate) fn run(settings: &Settings) -> anyhow::Result<Vec<Row>> {
    let full = settings.directory()?;
    new_store(&settings.binary, full.path())?;
    tokio::runtime::Runtime::new()?.block_on(fill(full.path(), settings.recordings))?;
    let (listed, found) = ask(settings, full.path())?;
    let (mut beside_many, mut beside_none) = (vec![], vec![]);
    for round in 0..settings.rounds {
        let empty = settings.directory()?;
        let seed = 200 + round as u64;
        beside_none.push(take(settings, empty.path(), seed)?);
        beside_many.push(take(settings, full.path(), seed)?);
    }
    let of = |costs: &[Cost], value: fn(&Cost) -> f64| median(costs.iter().map(value));
    let seconds = [&beside_many, &beside_none].map(|costs| of(costs, |cost| cost.cpu_seconds));
    let memory = [&beside_many, &beside_none].map(|costs| of(costs, |cost| cost.memory_mb));
    let micros = |seconds: f64| format!("{} µs", number(seconds * 1e6));
    Ok(vec![
        Row::alone("P14", number(listed)),
        Row::alone("P14f", number(found)),
        Row::compared("P14c", micros(seconds[0]), micros(seconds[1]), percent(seconds[0] / seconds[1])),
        Row::compared("P14m", number(memory[0]), number(memory[1]), percent(memory[0] / memory[1])),
    ])
}

/// Enters recordings, each with one block, as compacting has left those of the past.
async fn fill(dir: &Path, recording_count: usize) -> anyhow::Result<()> {
    let catalog = SqliteCatalog::open(dir.join("catalog.sqlite"))?;
    let project: ProjectKey = "phc_bench".parse()?;
    for seq in 0..recording_count.div_ceil(PER_OBJECT) as u64 {
        let key = format!("bench-{seq:08}");
        let object =
            ObjectRow { seq, key: key.clone(), kind: ObjectKind::Compacted, stored_bytes: 1 << 20, recording_count: 0 };
        let now_ms = BEGIN_MS + i64::try_from(seq)? * APART_MS;
        let (mut recordings, mut blocks) = (Vec::new(), Vec::new());
        for index in 0..PER_OBJECT as u64 {
            let number = seq * PER_OBJECT as u64 + index;
            let recording: RecordingId = format!("recording-{number:012}").parse()?;
            let summary = summary(number);
            blocks.push(block(&project, &recording, &key, u32::try_from(index)?, &summary));
            let (project, replaces) = (project.clone(), Vec::new());
            recordings.push(RecordingDelta { project, id: recording, summary, updated_at_ms: now_ms, replaces });
        }
        catalog
            .commit(CatalogCommit {
                object,
                recordings,
                blocks,
                project_block_count: 0,
                carried: Vec::new(),
                uploads: Vec::new(),
                persons: Vec::new(),
                now_ms,
            })
            .await?;
    }
    Ok(catalog.close().await?)
}

fn summary(number: u64) -> Summary {
    let chance = chance(number);
    let start_ms = BEGIN_MS + i64::try_from(number).unwrap_or_default() * APART_MS / 60;
    let duration_ms = i64::try_from(chance % 1_800_000).unwrap_or_default();
    let url =
        format!("https://shop.example/{}/{}", ["home", "cart", "search", "item"][chance as usize % 4], chance % 997);
    let window = format!("window-{number}");
    let event_count = 100 + chance % 5_000;
    Summary {
        start_ms,
        end_ms: start_ms + duration_ms,
        event_count,
        click_count: chance % 40,
        keypress_count: chance / 7 % 90,
        console_error_count: u64::from(chance.is_multiple_of(ERROR_EVERY)) * 3,
        full_snapshot_count: 1,
        plain_bytes: event_count * 400,
        start_url: Some(url.clone()),
        urls: vec![url],
        windows: vec![WindowSummary {
            id: window,
            start_ms,
            end_ms: start_ms + duration_ms,
            event_count,
            full_snapshot_count: 1,
        }],
        source: Some("web".to_owned()),
        distinct_ids: vec![format!("visitor-{}", chance % 300_000)],
        ..Summary::default()
    }
}

fn block(project: &ProjectKey, recording: &RecordingId, object: &str, block: u32, summary: &Summary) -> BlockRow {
    BlockRow {
        project: project.clone(),
        recording: recording.clone(),
        object: object.to_owned(),
        block,
        offset: u64::from(block) << 10,
        stored_bytes: 1 << 10,
        plain_bytes: summary.plain_bytes,
        start_ms: summary.start_ms,
        end_ms: summary.end_ms,
        event_count: summary.event_count,
        windows: summary.windows.iter().map(|window| window.id.clone()).collect(),
        keyframes: Vec::new(),
        kind: BlockKind::Lines,
        hash: BlockHash::of(recording.as_str().as_bytes()),
    }
}

/// The 99th percentiles of listing from anywhere, and of finding rare recordings, in ms.
fn ask(settings: &Settings, dir: &Path) -> anyhow::Result<(f64, f64)> {
    let server = Server::reelcase(&settings.binary, dir)?;
    let last_ms = BEGIN_MS + i64::try_from(settings.recordings)? * APART_MS / 60;
    let spread = u64::try_from(last_ms - BEGIN_MS)?;
    let anywhere = |turn: usize| last_ms - i64::try_from(chance(turn as u64) % spread).unwrap_or_default();
    let list = |turn: usize| format!("/api/recordings?limit=50&to_ms={}", anywhere(turn));
    let find = |turn: usize| {
        let page = chance(turn as u64) % 997;
        format!("/api/recordings?limit=50&errors_min=1&duration_min_ms=900000&url=cart/{page}")
    };
    let slowest = |path: &dyn Fn(usize) -> String| -> anyhow::Result<f64> {
        let requests = Arc::new((0..REQUESTS).map(|turn| load::get(&path(turn), &server.token)).collect());
        let answers = Load::once(server.address, 1, &requests).send()?;
        ensure!(answers.refused == 0, "{} requests failed", answers.refused);
        Ok(answers.quantile_ms(0.99))
    };
    Ok((slowest(&list)?, slowest(&find)?))
}

fn take(settings: &Settings, dir: &Path, seed: u64) -> anyhow::Result<Cost> {
    let requests = uploads(settings, seed)?;
    let server = Server::reelcase(&settings.binary, dir)?;
    let before = server.process.cpu_seconds()?;
    let answers = Load::once(server.address, 64, &requests).send()?;
    ensure!(answers.refused == 0, "{} uploads were refused", answers.refused);
    wait_until_sealed(&server)?;
    let cpu_seconds = (server.process.cpu_seconds()? - before) / requests.len() as f64;
    let memory_mb = server.process.peak_mb()?;
    server.process.stop("-TERM")?;
    Ok(Cost { cpu_seconds, memory_mb })
}
