//! Exports that are made again and again: what, where to and how often, and how each went the last time.
//!
//! What somebody decided is one setting of the store, so that it survives the catalog. How the last run went is of one
//! catalog. Whoever serves the store asks [`Schedules::next_due`] for what is to be done and says what came of it; here
//! nothing is exported.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reelcase_store::catalog::CatalogError;
use reelcase_store::{Clock, Store, StoreError};
use reelcase_transform::format::FORMATS;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use utoipa::ToSchema;

use crate::api::list_query;

/// What the form of tables is called, beside those of files.
pub const TABLES: &str = "parquet";

/// The setting that holds all schedules, by name.
const SETTING: &str = "exports";

/// What the names begin with under which the catalog keeps how runs went; that of the schedule follows.
const RUN: &str = "catalog export ";

/// Schedules that a store may have.
const SCHEDULES_MAX: usize = 100;

/// Characters of a name, of a place, and conditions of a filter.
const NAME_CHARACTERS_MAX: usize = 64;
const PLACE_CHARACTERS_MAX: usize = 500;
const CONDITIONS_MAX: usize = 20;

/// Seconds from the beginning of a run to that of the next.
const EVERY_S_MIN: u32 = 60;
const EVERY_S_MAX: u32 = 31 * 86_400;

/// How soon is looked again where the catalog cannot be asked.
const RETRY_WAIT: Duration = Duration::from_secs(30);

/// An export that is made again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Where to: a folder below the server's folder of exports, or `s3://bucket/prefix`.
    #[schema(min_length = 1, max_length = 500)]
    pub to: String,
    /// The form of the files, as downloads have it, or `parquet` for tables.
    pub format: String,
    /// Which recordings: parameters of the list, such as `errors_min`, by name. All of them must hold.
    #[serde(default)]
    pub filter: BTreeMap<String, String>,
    /// Seconds from the beginning of a run to that of the next.
    #[schema(minimum = 60, maximum = 2678400)]
    pub every_s: u32,
    /// Whether it is made. One that is off can be run by hand.
    pub is_on: bool,
}

/// How a run went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LastRun {
    /// When it began.
    pub started_at_ms: i64,
    /// When it ended.
    pub ended_at_ms: i64,
    /// Recordings that were new or had changed.
    pub exported_count: u64,
    /// Bytes of their files.
    pub exported_bytes: u64,
    /// Recordings that were there already.
    pub unchanged_count: u64,
    /// Recordings that could not be exported. The next run tries them again.
    pub failed_count: u64,
    /// Recordings of which damaged parts are missing.
    pub gap_count: u64,
    /// What the form has no place for, in words: `57 events that are no requests`.
    #[serde(default)]
    pub left_out: Vec<String>,
    /// What went wrong. Null where nothing did.
    pub error: Option<String>,
}

/// A schedule, and what is known of its runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ScheduleState {
    /// What it is called.
    pub name: String,
    /// What was decided.
    pub schedule: Schedule,
    /// Whether it is being made at this moment, or is about to be.
    pub is_running: bool,
    /// How the last run went. Null where there was none.
    pub last_run: Option<LastRun>,
    /// When the next run begins. Null where none is planned.
    pub next_run_at_ms: Option<i64>,
}

/// Why a schedule cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// It is not what a schedule can be.
    #[error("{0}")]
    Invalid(String),
    /// There is none of that name.
    #[error("there is no such export")]
    Unknown,
    /// What was decided cannot be read, and is not written over.
    #[error("what was decided of exports cannot be read: {0}")]
    Unreadable(String),
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The catalog refuses.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// A run that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The name of its schedule.
    pub name: String,
    /// What is to be done.
    pub schedule: Schedule,
    /// Where to: a directory, or `s3://…`.
    pub to: String,
}

/// See the module's page.
pub struct Schedules {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    /// Directories lie below it.
    folder: PathBuf,
    now: Mutex<Now>,
    changed: Notify,
    /// Held while schedules are changed.
    changing: tokio::sync::Mutex<()>,
}

/// What happens at the moment.
#[derive(Default)]
struct Now {
    running: Option<String>,
    /// What somebody wants to be made at once.
    asked: BTreeSet<String>,
}

impl Schedules {
    /// The schedules of a store. Directories lie below `folder`.
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>, folder: PathBuf) -> Self {
        let (now, changed, changing) = (Mutex::default(), Notify::new(), tokio::sync::Mutex::default());
        Self { store, clock, folder, now, changed, changing }
    }

    /// Where directories lie.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// All of them, by name.
    pub async fn list(&self) -> Result<Vec<ScheduleState>, ScheduleError> {
        let runs: BTreeMap<String, String> = self.store.catalog().settings().await?.into_iter().collect();
        let state = |(name, schedule): (String, Schedule)| {
            let last_run = runs.get(&format!("{RUN}{name}")).and_then(|run| serde_json::from_str::<LastRun>(run).ok());
            let now = self.now();
            let is_running = now.running.as_ref() == Some(&name) || now.asked.contains(&name);
            let begun_ms = last_run.as_ref().map(|run| run.started_at_ms);
            let next_run_at_ms = schedule.is_on.then(|| match begun_ms {
                Some(begun_ms) => begun_ms.saturating_add(i64::from(schedule.every_s) * 1_000),
                None => self.clock.now_ms(),
            });
            ScheduleState { name, schedule, is_running, last_run, next_run_at_ms }
        };
        Ok(self.decided().await?.into_iter().map(state).collect())
    }

    /// One of them.
    pub async fn one(&self, name: &str) -> Result<ScheduleState, ScheduleError> {
        self.list().await?.into_iter().find(|state| state.name == name).ok_or(ScheduleError::Unknown)
    }

    /// Makes a schedule, or changes the one of this name.
    pub async fn set(&self, name: &str, schedule: Schedule) -> Result<ScheduleState, ScheduleError> {
        check_name(name)?;
        self.check(&schedule)?;
        let _changing = self.changing.lock().await;
        let mut decided = self.decided().await?;
        if decided.len() >= SCHEDULES_MAX && !decided.contains_key(name) {
            return Err(ScheduleError::Invalid(format!("there are {SCHEDULES_MAX} exports, and no more can be made")));
        }
        decided.insert(name.to_owned(), schedule);
        self.decide(&decided).await?;
        self.one(name).await
    }

    /// Deletes a schedule. What it exported stays.
    pub async fn delete(&self, name: &str) -> Result<(), ScheduleError> {
        let _changing = self.changing.lock().await;
        let mut decided = self.decided().await?;
        decided.remove(name).ok_or(ScheduleError::Unknown)?;
        self.decide(&decided).await?;
        self.now().asked.remove(name);
        Ok(self.store.catalog().set_setting(&format!("{RUN}{name}"), "").await?)
    }

    /// Has a schedule be carried out as soon as what is running is done.
    pub async fn ask(&self, name: &str) -> Result<ScheduleState, ScheduleError> {
        self.one(name).await?;
        self.now().asked.insert(name.to_owned());
        self.changed.notify_one();
        self.one(name).await
    }

    /// Waits until something is to be done. It counts as running until [`Self::ended`] is told.
    pub async fn next_due(&self) -> Due {
        loop {
            let wait = match self.list().await {
                Ok(states) => match self.due(states) {
                    Ok(due) => return due,
                    Err(wait) => wait,
                },
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "scheduled exports cannot be read yet");
                    Some(RETRY_WAIT)
                }
            };
            let changed = self.changed.notified();
            match wait {
                Some(wait) => drop(tokio::time::timeout(wait, changed).await),
                None => changed.await,
            }
        }
    }

    /// What is due, that which somebody asked for first; or how long to wait.
    fn due(&self, states: Vec<ScheduleState>) -> Result<Due, Option<Duration>> {
        let now_ms = self.clock.now_ms();
        let mut now = self.now();
        let asked = states.iter().find(|state| now.asked.contains(&state.name));
        let planned = states.iter().filter(|state| state.next_run_at_ms.is_some());
        let next = asked.or_else(|| planned.min_by_key(|state| state.next_run_at_ms));
        let Some(next) = next else { return Err(None) };
        let wait_ms = next.next_run_at_ms.unwrap_or(now_ms).saturating_sub(now_ms);
        if wait_ms > 0 && !now.asked.contains(&next.name) {
            // Clocks may be set meanwhile.
            return Err(Some(Duration::from_millis(wait_ms.unsigned_abs()).min(RETRY_WAIT)));
        }
        now.asked.remove(&next.name);
        now.running = Some(next.name.clone());
        let to = match is_bucket(&next.schedule.to) {
            true => next.schedule.to.clone(),
            false => self.folder.join(&next.schedule.to).display().to_string(),
        };
        Ok(Due { name: next.name.clone(), schedule: next.schedule.clone(), to })
    }

    /// Notes how a run went.
    pub async fn ended(&self, name: &str, run: &LastRun) -> Result<(), ScheduleError> {
        self.now().running = None;
        if !self.decided().await?.contains_key(name) {
            return Ok(());
        }
        let run = serde_json::to_string(run).map_err(|error| ScheduleError::Unreadable(error.to_string()))?;
        Ok(self.store.catalog().set_setting(&format!("{RUN}{name}"), &run).await?)
    }

    fn check(&self, schedule: &Schedule) -> Result<(), ScheduleError> {
        let invalid = |message: String| Err(ScheduleError::Invalid(message));
        check_place(&schedule.to)?;
        if schedule.format != TABLES && !FORMATS.iter().any(|format| format.name == schedule.format) {
            let names = FORMATS.map(|format| format.name).join(", ");
            return invalid(format!("there is no format {:?}; there are {names}, {TABLES}", schedule.format));
        }
        if !(EVERY_S_MIN..=EVERY_S_MAX).contains(&schedule.every_s) {
            return invalid(format!("every_s can be {EVERY_S_MIN} to {EVERY_S_MAX} seconds"));
        }
        if schedule.filter.len() > CONDITIONS_MAX {
            return invalid(format!("a filter has {CONDITIONS_MAX} conditions at most"));
        }
        if let Some(name) = ["limit", "cursor"].into_iter().find(|name| schedule.filter.contains_key(*name)) {
            return invalid(format!("{name} is no condition"));
        }
        match list_query(&query_of(&schedule.filter), self.clock.now_ms()) {
            Ok(_) => Ok(()),
            Err(message) => invalid(message),
        }
    }

    async fn decided(&self) -> Result<BTreeMap<String, Schedule>, ScheduleError> {
        match self.store.catalog().setting(SETTING).await? {
            Some(text) => serde_json::from_str(&text).map_err(|error| ScheduleError::Unreadable(error.to_string())),
            None => Ok(BTreeMap::new()),
        }
    }

    async fn decide(&self, decided: &BTreeMap<String, Schedule>) -> Result<(), ScheduleError> {
        let text = serde_json::to_string(decided).map_err(|error| ScheduleError::Unreadable(error.to_string()))?;
        self.store.set_setting(SETTING, &text).await?;
        self.changed.notify_one();
        Ok(())
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A filter as the query of an address.
pub fn query_of(filter: &BTreeMap<String, String>) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    filter.iter().map(|(name, value)| format!("&{}={}", encoded(name), encoded(value))).collect()
}

fn is_bucket(to: &str) -> bool {
    to.starts_with("s3://")
}

fn check_name(name: &str) -> Result<(), ScheduleError> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match !name.is_empty() && name.len() <= NAME_CHARACTERS_MAX && name.bytes().all(is_plain) {
        true => Ok(()),
        false => Err(ScheduleError::Invalid(format!(
            "the name of an export is 1 to {NAME_CHARACTERS_MAX} of the characters a to z, 0 to 9 and -"
        ))),
    }
}

/// Whoever may change settings must not write wherever this process could.
fn check_place(to: &str) -> Result<(), ScheduleError> {
    let is_short = to.chars().count() <= PLACE_CHARACTERS_MAX && !to.contains(char::is_control);
    let bucket = to.strip_prefix("s3://").map(|rest| rest.split('/').next().unwrap_or_default());
    let is_folder = || !to.is_empty() && Path::new(to).components().all(|part| matches!(part, Component::Normal(_)));
    match (is_short, bucket) {
        (true, Some(bucket)) if !bucket.is_empty() => Ok(()),
        (true, None) if is_folder() => Ok(()),
        _ => Err(ScheduleError::Invalid(
            "write a folder below the server's folder of exports, such as nightly, or s3://bucket/prefix".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_go_to_buckets_and_below_one_folder_and_nowhere_else() {
        for good in ["nightly", "a/b/c", "s3://bucket", "s3://bucket/a/b"] {
            assert!(check_place(good).is_ok(), "{good}");
        }
        for bad in ["", "/etc", "../up", "a/../../b", "s3://", "s3:///x", "a\nb", "./a/..", "."] {
            assert!(check_place(bad).is_err(), "{bad}");
        }
        assert!(check_place(&"x".repeat(501)).is_err());
        for (name, is_good) in [("nightly-2", true), ("", false), ("a/b", false), ("Ä", false), ("A", false)] {
            assert_eq!(check_name(name).is_ok(), is_good, "{name}");
        }
    }

    #[test]
    fn a_filter_cannot_leave_its_place_in_a_query() {
        let filter = BTreeMap::from([("url".to_owned(), "/a b&limit=1".to_owned())]);
        assert_eq!(query_of(&filter), "&url=%2Fa%20b%26limit%3D1");
    }
}
