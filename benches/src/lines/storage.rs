//! How many bytes recordings take when stored, against the form PostHog stores them in.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use reelcase_format::event::events;
use reelcase_format::id::ProjectKey;
use reelcase_format::limits::Limits;
use reelcase_format::upload;
use reelcase_store::{Accepted, Clock, ItemKind, ItemRef, Store, StoreOptions};

use crate::Settings;
use crate::report::{Row, number, times};
use crate::workload::{Capture, CapturedBody, captures};

/// How often PostHog's consumer writes its blocks, ms.
const SNAPPY_BLOCK_MS: u64 = 10_000;

/// How far the clock moves between two looks for what is due, ms: what a server does in that time.
const STEP_MS: u64 = 250;

/// When the recordings begin, ms since 1970. Any time does.
const BEGIN_MS: i64 = 1_795_000_000_000;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// A clock that is moved by hand, so that minutes of recording take seconds.
#[derive(Debug, Default)]
struct HandClock(AtomicI64);

impl Clock for HandClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

pub(crate) fn run(settings: &Settings) -> anyhow::Result<Vec<Row>> {
    let captures = captures(&settings.corpus)?;
    let plain_bytes: u64 = captures.iter().flat_map(|capture| &capture.bodies).map(|body| body.plain_bytes).sum();
    let snappy_bytes = snappy(&captures)?;
    let data = settings.directory()?;
    let (runtime, objects) = (tokio::runtime::Runtime::new()?, data.path().join("objects"));
    runtime.block_on(record(data.path(), &captures))?;
    let stored_bytes = bytes_below(&objects)?;
    runtime.block_on(compact(data.path()))?;
    let compacted_bytes = bytes_below(&objects)?;
    let describe = |bytes: u64| {
        format!(
            "{} MB, {:.3} of {} MB plain",
            number(bytes as f64 / 1e6),
            bytes as f64 / plain_bytes as f64,
            number(plain_bytes as f64 / 1e6)
        )
    };
    let row = |id, bytes: u64| {
        Row::compared(id, describe(bytes), describe(snappy_bytes), times(bytes as f64 / snappy_bytes as f64))
    };
    Ok(vec![row("P7", stored_bytes), row("P7c", compacted_bytes)])
}

/// Lets a store take all captures at the pace they were recorded, all at once.
pub(crate) async fn record(dir: &Path, captures: &[Capture]) -> anyhow::Result<()> {
    let clock = Arc::new(HandClock(AtomicI64::new(BEGIN_MS)));
    let store = Store::open(StoreOptions::new(dir), clock.clone()).await?;
    let mut bodies: Vec<&CapturedBody> = captures.iter().flat_map(|capture| &capture.bodies).collect();
    bodies.sort_by_key(|body| body.at_ms);
    let mut now_ms = 0;
    for body in bodies {
        while now_ms + STEP_MS <= body.at_ms {
            now_ms += STEP_MS;
            clock.0.store(BEGIN_MS + i64::try_from(now_ms)?, Relaxed);
            store.seal_due().await?;
        }
        store.accept(accepted(body, BEGIN_MS + i64::try_from(now_ms)?)?).await?;
    }
    store.close().await?;
    Ok(())
}

/// Lets a store do a day later what it does with recordings that are finished.
pub(crate) async fn compact(dir: &Path) -> anyhow::Result<()> {
    let clock = Arc::new(HandClock(AtomicI64::new(BEGIN_MS + DAY_MS)));
    let options = StoreOptions::new(dir);
    let sweep_grace_ms = options.sweep_grace_ms;
    let store = Store::open(options, clock.clone()).await?;
    store.compact_due().await?;
    clock.0.fetch_add(sweep_grace_ms + 1, Relaxed);
    store.sweep().await?;
    store.close().await?;
    Ok(())
}

/// What the server makes of an upload.
fn accepted(body: &CapturedBody, received_at_ms: i64) -> anyhow::Result<Accepted> {
    let scanned = upload::scan(&body.json, &Limits::default())?;
    let project: ProjectKey = "phc_bench".parse()?;
    let items = scanned.items.iter().map(|item| {
        let recording = item.session_id.as_deref().unwrap_or_default().parse()?;
        let index = u32::try_from(item.index)?;
        Ok(ItemRef { index, kind: ItemKind::Snapshot, upload: item.upload_id(), recording: Some(recording) })
    });
    Ok(Accepted {
        project,
        received_at_ms,
        content_type: Some(body.content_type.clone()),
        compression: None,
        user_agent: None,
        inflated_bytes: body.json.len() as u64,
        body: body.sent.clone(),
        items: items.collect::<anyhow::Result<_>>()?,
        onward: None,
    })
}

/// Bytes of the blocks that PostHog would write: lines as sent, a session's lines of ten seconds in a block of snappy.
fn snappy(captures: &[Capture]) -> anyhow::Result<u64> {
    let mut lines: BTreeMap<(u64, String), Vec<u8>> = BTreeMap::new();
    for body in captures.iter().flat_map(|capture| &capture.bodies) {
        for item in upload::scan(&body.json, &Limits::default())?.items {
            let window = serde_json::to_string(item.window_id.as_deref().unwrap_or_default())?;
            let block = (body.at_ms / SNAPPY_BLOCK_MS, item.session_id.clone().unwrap_or_default());
            let block = lines.entry(block).or_default();
            for event in events(item.data.unwrap_or_default()) {
                block.extend_from_slice(format!("[{window},").as_bytes());
                block.extend_from_slice(event);
                block.extend_from_slice(b"]\n");
            }
        }
    }
    let mut encoder = snap::raw::Encoder::new();
    lines.values().map(|block| Ok(encoder.compress_vec(block)?.len() as u64)).sum()
}

fn bytes_below(dir: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { bytes_below(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}
