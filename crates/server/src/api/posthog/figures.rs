//! A recording as PostHog's API shows it.

use reelcase_store::catalog::{Person, RecordingRow};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::api::iso;

/// Characters of a start address.
const START_URL_CHARACTERS_MAX: usize = 512;

/// Something came in so short a time ago that more may.
const ONGOING_MS: i64 = 5 * 60_000;

/// A recording. What this server does not keep, such as who watched it, is empty.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct PosthogRecording {
    id: String,
    distinct_id: String,
    viewed: bool,
    viewers: Vec<String>,
    /// Seconds.
    recording_duration: i64,
    /// Seconds.
    active_seconds: f64,
    /// Seconds.
    inactive_seconds: f64,
    start_time: String,
    end_time: String,
    click_count: u64,
    keypress_count: u64,
    mouse_activity_count: u64,
    console_log_count: u64,
    console_warn_count: u64,
    console_error_count: u64,
    start_url: Option<String>,
    person: Option<PosthogPerson>,
    retention_period_days: Option<u32>,
    expiry_time: Option<String>,
    recording_ttl: Option<u32>,
    snapshot_source: String,
    snapshot_library: Option<String>,
    ongoing: bool,
    activity_score: f64,
    has_summary: bool,
    summary_outcome: Option<String>,
    external_references: Vec<String>,
    /// Bytes of all lines, uncompressed.
    total_size: u64,
    event_count: u64,
}

/// Who is in a recording.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct PosthogPerson {
    /// The same as `uuid`.
    id: String,
    /// Made of the project and the person's first id.
    uuid: String,
    name: String,
    distinct_ids: Vec<String>,
    #[schema(value_type = Object)]
    properties: Map<String, Value>,
}

impl PosthogRecording {
    pub(super) fn new(row: RecordingRow, now_ms: i64) -> Self {
        let activity_score = activity_score(&row);
        let (duration_s, active_s) = (duration_s(&row), active_s(&row));
        let RecordingRow { project, id, summary, updated_at_ms, person, .. } = row;
        let known = person.as_ref().and_then(|person| person.distinct_ids.first().cloned());
        Self {
            id: id.to_string(),
            distinct_id: summary.distinct_ids.first().cloned().or(known).unwrap_or_default(),
            viewed: false,
            viewers: Vec::new(),
            recording_duration: duration_s,
            active_seconds: active_s,
            inactive_seconds: inactive_s(duration_s, active_s),
            start_time: iso(summary.start_ms),
            end_time: iso(summary.end_ms),
            click_count: summary.click_count,
            keypress_count: summary.keypress_count,
            mouse_activity_count: summary.mouse_activity_count,
            console_log_count: summary.console_log_count,
            console_warn_count: summary.console_warn_count,
            console_error_count: summary.console_error_count,
            start_url: summary.start_url.map(|url| url.chars().take(START_URL_CHARACTERS_MAX).collect()),
            person: person.map(|person| PosthogPerson::new(project.as_str(), person)),
            retention_period_days: None,
            expiry_time: None,
            recording_ttl: None,
            snapshot_source: summary.source.unwrap_or_else(|| "web".to_owned()),
            snapshot_library: summary.library,
            ongoing: updated_at_ms >= now_ms - ONGOING_MS,
            activity_score,
            has_summary: false,
            summary_outcome: None,
            external_references: Vec::new(),
            total_size: summary.plain_bytes,
            event_count: summary.event_count,
        }
    }
}

impl PosthogPerson {
    pub(super) fn new(project: &str, person: Person) -> Self {
        let Person { distinct_ids, properties } = person;
        let first = distinct_ids.first().cloned().unwrap_or_default();
        let hash = blake3::derive_key("reelcase 2026 uuid of a person", format!("{project}\n{first}").as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        let uuid = uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string();
        let named = ["email", "name", "username"].iter().find_map(|name| properties.get(*name)?.as_str());
        let name = named.map_or(first, str::to_owned);
        Self { id: uuid.clone(), uuid, name, distinct_ids, properties }
    }
}

/// Figures that recordings are chosen by.
pub(super) const FIGURES: [&str; 10] = [
    "duration",
    "active_seconds",
    "inactive_seconds",
    "click_count",
    "keypress_count",
    "mouse_activity_count",
    "console_log_count",
    "console_warn_count",
    "console_error_count",
    "activity_score",
];

/// One of the [`FIGURES`].
pub(super) fn figure(row: &RecordingRow, name: &str) -> f64 {
    let summary = &row.summary;
    match name {
        "duration" => duration_s(row) as f64,
        "active_seconds" => active_s(row),
        "inactive_seconds" => inactive_s(duration_s(row), active_s(row)),
        "click_count" => summary.click_count as f64,
        "keypress_count" => summary.keypress_count as f64,
        "mouse_activity_count" => summary.mouse_activity_count as f64,
        "console_log_count" => summary.console_log_count as f64,
        "console_warn_count" => summary.console_warn_count as f64,
        "console_error_count" => summary.console_error_count as f64,
        _ => activity_score(row),
    }
}

fn duration_s(row: &RecordingRow) -> i64 {
    row.summary.end_ms.saturating_sub(row.summary.start_ms) / 1_000
}

fn active_s(row: &RecordingRow) -> f64 {
    row.summary.active_ms as f64 / 1_000.0
}

/// Batches overlap, so there may be more activity than time.
fn inactive_s(duration_s: i64, active_s: f64) -> f64 {
    (duration_s as f64 - active_s).max(0.0)
}

/// What was done, for what passed: PostHog's rule.
fn activity_score(row: &RecordingRow) -> f64 {
    let summary = &row.summary;
    let done = active_s(row) + (summary.click_count + summary.keypress_count + summary.console_error_count) as f64;
    let console = summary.console_error_count + summary.console_log_count + summary.console_warn_count;
    let passed = duration_s(row) as f64 + (summary.mouse_activity_count + console) as f64;
    if passed > 0.0 { (done / passed * 10_000.0).round() / 100.0 } else { 0.0 }
}
