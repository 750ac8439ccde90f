//! What was not kept, and why: counted in memory, and added to the catalog every few seconds, so that the counts
//! outlive the process. What sealing drops is in the catalog already.
//!
//! Reasons are words of this program, never of a client, so there is a bounded number of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reelcase_store::catalog::{Catalog, CatalogError, DropCount};

/// How often counts are added to the catalog.
pub(crate) const SAVE_EVERY: Duration = Duration::from_secs(5);

/// What the reasons of uploads begin with in the catalog, where those of single events have nothing.
const UPLOAD: &str = "upload_";

/// What the reasons of copies begin with there: uploads that went to PostHog and were not kept here.
const COPY: &str = "copy_";

/// An analytics event without a recording that says nothing of a person: the one reason that is nobody's mistake.
pub(crate) const NO_RECORDING: &str = "no_recording";

/// An event of a recording that was deleted.
pub(crate) const DELETED_RECORDING: &str = "deleted_recording";

/// Counts of what was not kept. See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Drops {
    unsaved: Mutex<BTreeMap<String, u64>>,
    /// Held while counts move to the catalog, so that nobody sees them twice or not at all.
    moving: tokio::sync::Mutex<()>,
}

/// All counts, by reason.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Events that were dropped, their neighbours kept.
    pub(crate) items: BTreeMap<String, u64>,
    /// Uploads that were refused for good, as a whole.
    pub(crate) uploads: BTreeMap<String, u64>,
    /// Uploads that went to PostHog, and of which no copy was kept.
    pub(crate) copies: BTreeMap<String, u64>,
}

impl Drops {
    /// Counts an event that was dropped.
    pub(crate) fn count_item(&self, reason: &'static str) {
        self.add(reason.to_owned(), 1);
    }

    /// Counts an upload that was refused for good.
    pub(crate) fn count_upload(&self, reason: &'static str) {
        self.add(format!("{UPLOAD}{reason}"), 1);
    }

    /// Counts an upload that went to PostHog, and of which no copy was kept.
    pub(crate) fn count_copy(&self, reason: &'static str) {
        self.add(format!("{COPY}{reason}"), 1);
    }

    /// Moves what was counted since the last time to the catalog.
    pub(crate) async fn save(&self, catalog: &dyn Catalog) -> Result<(), CatalogError> {
        let _moving = self.moving.lock().await;
        let unsaved = std::mem::take(&mut *self.unsaved());
        if unsaved.is_empty() {
            return Ok(());
        }
        let counts: Vec<_> =
            unsaved.iter().map(|(reason, count)| DropCount { reason: reason.clone(), count: *count }).collect();
        let saved = catalog.add_drops(&counts).await;
        if saved.is_err() {
            unsaved.into_iter().for_each(|(reason, count)| self.add(reason, count));
        }
        saved
    }

    /// Everything counted since the catalog exists.
    pub(crate) async fn totals(&self, catalog: &dyn Catalog) -> Result<Totals, CatalogError> {
        let _moving = self.moving.lock().await;
        let saved = catalog.drops().await?.into_iter().map(|drop| (drop.reason, drop.count));
        let unsaved = self.unsaved().clone();
        let mut totals = Totals::default();
        for (reason, count) in saved.chain(unsaved) {
            let (counts, reason) = match (reason.strip_prefix(UPLOAD), reason.strip_prefix(COPY)) {
                (Some(reason), _) => (&mut totals.uploads, reason.to_owned()),
                (_, Some(reason)) => (&mut totals.copies, reason.to_owned()),
                _ => (&mut totals.items, reason),
            };
            *counts.entry(reason).or_default() += count;
        }
        Ok(totals)
    }

    fn add(&self, reason: String, count: u64) {
        *self.unsaved().entry(reason).or_default() += count;
    }

    fn unsaved(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, u64>> {
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What to do about a reason, if anything.
pub(crate) fn hint(reason: &str) -> Option<&'static str> {
    Some(match reason {
        NO_RECORDING | DELETED_RECORDING => return None,
        "unknown_key" => "a page sends a key that no project has: create it with `reelcase serve --project KEY`",
        "deleted_key" => "a page still sends a key that was deleted: give it another key of its project",
        "no_key" | "bad_key" => "a client sends no project key, or a personal one: give it one like phc_…",
        "too_large" | "body_too_large" => "uploads pass a limit: `reelcase serve --help` names them all",
        "malformed" | "empty_body" | "no_events" => "something sends what no client does, or a proxy changes bodies",
        "session_id_invalid" => "a client uses session ids with other characters than letters, digits and dashes",
        "busy" | "store_failing" => {
            "PostHog got uploads that were not kept here, because memory, inbox or disk were full: look at the log"
        }
        "broken_body" | "slow_body" => "clients went away in the middle of uploads; they send them again",
        "kept_compressed" => "some events were kept as they were sent, because they inflate to too much or are no gzip",
        "unreadable_body" | "unreadable_record" | "missing_item" | "block_not_encoded" => {
            "accepted uploads could not be sealed: please report this with the log"
        }
        _ => "a client sends events that cannot be kept",
    })
}
