//! What a store does by itself while nobody asks: compacts what is finished, sweeps what is dead.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::store::{Store, StoreError};

/// Longest pause between two looks at what is due.
const TICK_MAX: Duration = Duration::from_secs(60);
/// Shortest one, however soon recordings count as finished.
const TICK_MIN: Duration = Duration::from_millis(250);
/// How many looks there are while a recording becomes finished.
const TICKS_PER_IDLE: i64 = 8;
/// Finished recordings share an object: once they have this many bytes, it is made at once.
const GATHER_BYTES: u64 = 16 << 20;
/// How many finished recordings are looked at to see whether they have that.
const GATHER_RECORDINGS: usize = 1_000;

/// A recording that has been finished for so many times as long as it takes to be finished is overdue.
const OVERDUE_IDLES: i64 = 4;

impl Store {
    /// How many recordings should long be compacted, as far as one page of them tells. None where nobody asked the
    /// store to maintain itself.
    pub async fn overdue(&self) -> Result<usize, StoreError> {
        if !self.options.maintains_itself {
            return Ok(0);
        }
        let since_ms = self.now_ms() - self.options.compact_idle_ms.saturating_mul(OVERDUE_IDLES);
        Ok(self.catalog().compaction_candidates(since_ms, GATHER_RECORDINGS).await?.len())
    }
}

/// Maintains the store until it is closed. A failure is logged and tried again: nothing is lost by waiting.
pub(crate) async fn run(store: Arc<Store>, mut stopping: watch::Receiver<bool>) {
    let tick = Duration::from_millis(u64::try_from(store.options.compact_idle_ms / TICKS_PER_IDLE).unwrap_or_default());
    let tick = tick.clamp(TICK_MIN, TICK_MAX);
    loop {
        tokio::select! {
            () = tokio::time::sleep(tick) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        let outcome = maintain(&store).await;
        if store.is_stopping() {
            return;
        }
        store.figures().last_error = outcome.as_ref().err().map(ToString::to_string);
        if let Err(error) = outcome {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot compact; recordings stay as they are");
        }
    }
}

async fn maintain(store: &Arc<Store>) -> Result<(), StoreError> {
    store.keep_projects().await?;
    if !store.newer_objects().is_empty() {
        return Ok(());
    }
    if is_worth_an_object(store).await? || store.catalog().is_erasing().await? {
        store.compact_due().await?;
    }
    store.sweep().await
}

/// Whether enough is finished to fill an object, or the first has waited as long again for others to join it: a quiet
/// site should not get an object for each recording, nor keep recordings in small blocks for good.
async fn is_worth_an_object(store: &Store) -> Result<bool, StoreError> {
    let (now_ms, idle_ms) = (store.now_ms(), store.options.compact_idle_ms);
    let due = store.catalog().compaction_candidates(now_ms - idle_ms, GATHER_RECORDINGS).await?;
    let is_overdue = due.first().is_some_and(|first| first.updated_at_ms <= now_ms - idle_ms.saturating_mul(2));
    Ok(is_overdue || due.iter().map(|candidate| candidate.stored_bytes).sum::<u64>() >= GATHER_BYTES)
}
