//! The figures of a recording: how many events, clicks and errors, over which time, on which pages.
//!
//! The rules are PostHog's, so that a list of recordings sorts and filters as its users expect; `docs/format.md`
//! section 5 states them. Every count is additive: a batch is summarised on its own and merged into the recording's
//! summary, and nothing is ever counted from the start again.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::event::{EventHead, kind};

mod probe;

/// Most URLs a summary lists.
pub const SUMMARY_URLS_MAX: usize = 25;
/// Most characters of a listed URL.
pub const SUMMARY_URL_CHARS_MAX: usize = 4_096;
/// Most windows a summary lists. Events of further windows count in the totals alone.
pub const SUMMARY_WINDOWS_MAX: usize = 256;
/// Most distinct ids a summary lists.
pub const SUMMARY_DISTINCT_IDS_MAX: usize = 100;
/// Most characters of a source, library or distinct id.
pub const SUMMARY_TEXT_CHARS_MAX: usize = 1_000;
/// An active segment ends when this long, in ms, passes after its last active event.
pub const ACTIVE_GAP_MS: i64 = 5_000;

/// What is known of a recording, or of one batch of it. Times are ms since 1970 by the client's clock.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// Smallest event timestamp; 0 when `event_count` is 0.
    pub start_ms: i64,
    /// Largest event timestamp; 0 when `event_count` is 0.
    pub end_ms: i64,
    /// rrweb events.
    pub event_count: u64,
    /// Clicks, context menus, double clicks and ends of a touch. PostHog's `click_count` counts these same four.
    pub click_count: u64,
    /// Input events; one event is one press.
    pub keypress_count: u64,
    /// Mouse moves, mouse interactions and touch moves; one per event, not per point.
    pub mouse_activity_count: u64,
    /// Active time of each batch, summed. Activity across a border between batches is cut there.
    pub active_ms: u64,
    /// Console lines that are neither warnings nor errors.
    pub console_log_count: u64,
    /// Console warnings.
    pub console_warn_count: u64,
    /// Console errors and failed assertions.
    pub console_error_count: u64,
    /// rrweb full snapshots.
    pub full_snapshot_count: u64,
    /// Uploads.
    pub message_count: u64,
    /// Bytes of the lines of rrweb events, uncompressed, newlines included.
    pub plain_bytes: u64,
    /// Analytics events kept with the recording.
    pub analytics_event_count: u64,
    /// The first URL seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_url: Option<String>,
    /// Different URLs in the order seen, at most [`SUMMARY_URLS_MAX`].
    pub urls: Vec<String>,
    /// The windows in the order seen, at most [`SUMMARY_WINDOWS_MAX`].
    pub windows: Vec<WindowSummary>,
    /// The first `$snapshot_source`: `web` or `mobile`. `None` before the first upload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The first client library seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,
    /// The version of that library.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library_version: Option<String>,
    /// Different distinct ids in the order seen, at most [`SUMMARY_DISTINCT_IDS_MAX`].
    pub distinct_ids: Vec<String>,
    /// How a mobile recording shows its screens. `None` for web and where no wireframe was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_mode: Option<SnapshotMode>,
    /// Keys of newer writers, kept as they are.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// What is known of one window (browser tab) of a recording.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSummary {
    /// The client's window id.
    pub id: String,
    /// Smallest event timestamp of the window.
    pub start_ms: i64,
    /// Largest event timestamp of the window.
    pub end_ms: i64,
    /// rrweb events of the window.
    pub event_count: u64,
    /// Full snapshots of the window. A window without any cannot be shown.
    pub full_snapshot_count: u64,
}

/// How a mobile client sends its screens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotMode {
    /// As pictures.
    Screenshot,
    /// As boxes and texts.
    Wireframe,
}

/// One rrweb event, as far as counting and blocks need to know it.
#[derive(Debug, Clone, Copy)]
pub struct Counted<'a> {
    /// The window it came from.
    pub window: &'a str,
    /// rrweb's `type`.
    pub kind: u8,
    /// rrweb's `timestamp`, whole ms.
    pub timestamp_ms: i64,
    /// `data.source`, of incremental events.
    pub source: Option<u8>,
    /// `data.type`, of mouse interactions.
    pub interaction: Option<u8>,
    /// The event's JSON, partial compression undone.
    pub event: &'a [u8],
}

/// What an upload says of itself, for the summary.
#[derive(Debug, Clone, Copy, Default)]
pub struct UploadFacts<'a> {
    /// `$snapshot_source`; `None` means `web`.
    pub source: Option<&'a str>,
    /// `$lib` of the client.
    pub library: Option<&'a str>,
    /// `$lib_version` of the client.
    pub library_version: Option<&'a str>,
    /// Who was recorded.
    pub distinct_id: Option<&'a str>,
}

impl<'a> Counted<'a> {
    /// One event of `window`, as its head was read.
    pub fn new(window: &'a str, head: &EventHead<'_>, event: &'a [u8]) -> Self {
        let (kind, source, interaction) = (head.kind, head.source, head.interaction);
        Self { window, kind, timestamp_ms: head.timestamp_ms(), source, interaction, event }
    }
}

impl Summary {
    /// Adds `other`: counts are summed (`active_ms` too), ranges widened, lists joined up to their limits. What is
    /// "first seen" is that of the summary that starts earlier, so late batches merge as if they had come in time.
    pub fn merge(&mut self, other: &Summary) {
        let is_other_first = other.event_count > 0 && (self.event_count == 0 || other.start_ms < self.start_ms);
        let earlier_texts = if is_other_first { other } else { &*self }.first_seen();
        let later_texts = if is_other_first { &*self } else { other }.first_seen();
        self.take_first_seen(&earlier_texts, &later_texts);
        self.merge_range(other);
        self.merge_counts(other);
        for window in &other.windows {
            self.merge_window(window);
        }
        for (key, value) in &other.other {
            self.other.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }

    fn first_seen(&self) -> FirstSeen {
        FirstSeen {
            start_url: self.start_url.clone(),
            urls: self.urls.clone(),
            source: self.source.clone(),
            library: self.library.clone(),
            library_version: self.library_version.clone(),
            distinct_ids: self.distinct_ids.clone(),
            snapshot_mode: self.snapshot_mode,
        }
    }

    fn take_first_seen(&mut self, earlier: &FirstSeen, later: &FirstSeen) {
        self.start_url = earlier.start_url.clone().or_else(|| later.start_url.clone());
        self.source = earlier.source.clone().or_else(|| later.source.clone());
        // A version belongs to its library: the two are taken from the same side.
        let named = if earlier.library.is_some() || later.library.is_none() { earlier } else { later };
        self.library.clone_from(&named.library);
        self.library_version.clone_from(&named.library_version);
        self.snapshot_mode = earlier.snapshot_mode.or(later.snapshot_mode);
        self.urls = join(&earlier.urls, &later.urls, SUMMARY_URLS_MAX);
        self.distinct_ids = join(&earlier.distinct_ids, &later.distinct_ids, SUMMARY_DISTINCT_IDS_MAX);
    }

    fn merge_range(&mut self, other: &Summary) {
        if other.event_count == 0 {
            return;
        }
        if self.event_count == 0 {
            (self.start_ms, self.end_ms) = (other.start_ms, other.end_ms);
        } else {
            self.start_ms = self.start_ms.min(other.start_ms);
            self.end_ms = self.end_ms.max(other.end_ms);
        }
    }

    fn merge_counts(&mut self, other: &Summary) {
        for (count, more) in [
            (&mut self.event_count, other.event_count),
            (&mut self.click_count, other.click_count),
            (&mut self.keypress_count, other.keypress_count),
            (&mut self.mouse_activity_count, other.mouse_activity_count),
            (&mut self.active_ms, other.active_ms),
            (&mut self.console_log_count, other.console_log_count),
            (&mut self.console_warn_count, other.console_warn_count),
            (&mut self.console_error_count, other.console_error_count),
            (&mut self.full_snapshot_count, other.full_snapshot_count),
            (&mut self.message_count, other.message_count),
            (&mut self.plain_bytes, other.plain_bytes),
            (&mut self.analytics_event_count, other.analytics_event_count),
        ] {
            *count = count.saturating_add(more);
        }
    }

    fn merge_window(&mut self, other: &WindowSummary) {
        if let Some(window) = self.windows.iter_mut().find(|window| window.id == other.id) {
            window.start_ms = window.start_ms.min(other.start_ms);
            window.end_ms = window.end_ms.max(other.end_ms);
            window.event_count = window.event_count.saturating_add(other.event_count);
            window.full_snapshot_count = window.full_snapshot_count.saturating_add(other.full_snapshot_count);
        } else if self.windows.len() < SUMMARY_WINDOWS_MAX {
            self.windows.push(other.clone());
        }
    }

    fn add_to_window(&mut self, counted: &Counted<'_>) {
        let at_ms = counted.timestamp_ms;
        let full_snapshot_count = u64::from(counted.kind == kind::FULL_SNAPSHOT);
        if let Some(window) = self.windows.iter_mut().find(|window| window.id == counted.window) {
            window.start_ms = window.start_ms.min(at_ms);
            window.end_ms = window.end_ms.max(at_ms);
            window.event_count += 1;
            window.full_snapshot_count += full_snapshot_count;
        } else if self.windows.len() < SUMMARY_WINDOWS_MAX {
            let id = counted.window.to_owned();
            self.windows.push(WindowSummary {
                id,
                start_ms: at_ms,
                end_ms: at_ms,
                event_count: 1,
                full_snapshot_count,
            });
        }
    }
}

/// The parts of a summary where the earlier one wins.
struct FirstSeen {
    start_url: Option<String>,
    urls: Vec<String>,
    source: Option<String>,
    library: Option<String>,
    library_version: Option<String>,
    distinct_ids: Vec<String>,
    snapshot_mode: Option<SnapshotMode>,
}

/// Counts one batch of one recording: feed it the uploads and their events in order, then take the summary.
///
/// Costs 16 bytes of memory per event, because active time needs the events in the order of their timestamps.
#[derive(Debug, Default)]
pub struct Summarizer {
    summary: Summary,
    moments: Vec<Moment>,
}

#[derive(Debug, Clone, Copy)]
struct Moment {
    timestamp_ms: i64,
    is_active: bool,
}

impl Summarizer {
    /// Starts an empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one upload. Call it before the upload's events, which may be read differently by its source.
    pub fn add_upload(&mut self, facts: &UploadFacts<'_>) {
        let summary = &mut self.summary;
        summary.message_count += 1;
        if summary.source.is_none() {
            summary.source = Some(clip(facts.source.unwrap_or("web"), SUMMARY_TEXT_CHARS_MAX));
        }
        if summary.library.is_none() && facts.library.is_some() {
            summary.library = facts.library.map(|text| clip(text, SUMMARY_TEXT_CHARS_MAX));
            summary.library_version = facts.library_version.map(|text| clip(text, SUMMARY_TEXT_CHARS_MAX));
        }
        if let Some(id) = facts.distinct_id {
            add_unique(&mut summary.distinct_ids, clip(id, SUMMARY_TEXT_CHARS_MAX), SUMMARY_DISTINCT_IDS_MAX);
        }
    }

    /// Counts one event whose line, newline included, takes `line_bytes`.
    pub fn add(&mut self, counted: &Counted<'_>, line_bytes: usize) {
        self.add_figures(counted, line_bytes);
        self.add_texts(counted);
        self.moments.push(Moment { timestamp_ms: counted.timestamp_ms, is_active: is_active(counted) });
    }

    /// Counts one analytics event that is kept with the recording.
    pub fn add_analytics_event(&mut self) {
        self.summary.analytics_event_count += 1;
    }

    /// The summary of all that was fed.
    pub fn finish(mut self) -> Summary {
        self.summary.active_ms = active_ms(&mut self.moments);
        self.summary
    }

    fn add_figures(&mut self, counted: &Counted<'_>, line_bytes: usize) {
        let one = |is_so: bool| u64::from(is_so);
        let is_incremental = counted.kind == kind::INCREMENTAL;
        let is_click = counted.source == Some(2) && matches!(counted.interaction, Some(2 | 3 | 4 | 9));
        let at_ms = counted.timestamp_ms;
        let summary = &mut self.summary;
        if summary.event_count == 0 {
            (summary.start_ms, summary.end_ms) = (at_ms, at_ms);
        }
        summary.start_ms = summary.start_ms.min(at_ms);
        summary.end_ms = summary.end_ms.max(at_ms);
        summary.event_count += 1;
        summary.plain_bytes += line_bytes as u64;
        summary.full_snapshot_count += one(counted.kind == kind::FULL_SNAPSHOT);
        summary.click_count += one(is_incremental && is_click);
        summary.keypress_count += one(is_incremental && counted.source == Some(5));
        summary.mouse_activity_count += one(is_incremental && matches!(counted.source, Some(1 | 2 | 6)));
        summary.add_to_window(counted);
    }

    fn add_texts(&mut self, counted: &Counted<'_>) {
        let summary = &mut self.summary;
        match counted.kind {
            kind::META | kind::CUSTOM | kind::PLUGIN => {
                if let Some(url) = probe::url(counted.event) {
                    let url = clip(&url, SUMMARY_URL_CHARS_MAX);
                    summary.start_url.get_or_insert_with(|| url.clone());
                    add_unique(&mut summary.urls, url, SUMMARY_URLS_MAX);
                }
            }
            kind::FULL_SNAPSHOT if summary.source.as_deref() == Some("mobile") && summary.snapshot_mode.is_none() => {
                summary.snapshot_mode = probe::snapshot_mode(counted.event);
            }
            _ => {}
        }
        if counted.kind == kind::PLUGIN {
            match probe::console_level(counted.event) {
                Some(probe::ConsoleLevel::Log) => summary.console_log_count += 1,
                Some(probe::ConsoleLevel::Warn) => summary.console_warn_count += 1,
                Some(probe::ConsoleLevel::Error) => summary.console_error_count += 1,
                None => {}
            }
        }
    }
}

fn is_active(counted: &Counted<'_>) -> bool {
    counted.kind == kind::INCREMENTAL && matches!(counted.source, Some(1..=7 | 12))
}

/// Active time of one batch, by the walk in `docs/format.md` section 5. Sorts `moments`.
fn active_ms(moments: &mut [Moment]) -> u64 {
    struct Segment {
        start_ms: i64,
        end_ms: i64,
        /// `None` where the segment is inactive.
        last_active_ms: Option<i64>,
    }
    let length_ms = |segment: &Segment| match segment.last_active_ms {
        Some(_) => segment.end_ms.saturating_sub(segment.start_ms).max(1).unsigned_abs(),
        None => 0,
    };
    moments.sort_by_key(|moment| moment.timestamp_ms);
    let mut total_ms: u64 = 0;
    let mut current: Option<Segment> = None;
    for moment in moments.iter() {
        let at_ms = moment.timestamp_ms;
        let opens_new = current.as_ref().is_none_or(|segment| match segment.last_active_ms {
            None => moment.is_active,
            Some(last_ms) => at_ms.saturating_sub(last_ms) > ACTIVE_GAP_MS,
        });
        if opens_new {
            total_ms = total_ms.saturating_add(current.as_ref().map_or(0, length_ms));
            current = Some(Segment { start_ms: at_ms, end_ms: at_ms, last_active_ms: None });
        }
        if let Some(segment) = &mut current {
            segment.end_ms = at_ms;
            if moment.is_active {
                segment.last_active_ms = Some(at_ms);
            }
        }
    }
    total_ms.saturating_add(current.as_ref().map_or(0, length_ms))
}

fn clip(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).collect()
}

fn add_unique(list: &mut Vec<String>, text: String, max: usize) {
    if list.len() < max && !list.contains(&text) {
        list.push(text);
    }
}

fn join(first: &[String], second: &[String], max: usize) -> Vec<String> {
    let mut joined = first.to_vec();
    for text in second {
        add_unique(&mut joined, text.clone(), max);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(summarizer: &mut Summarizer, window: &str, event: &str) {
        let head = EventHead::read(event.as_bytes()).unwrap();
        summarizer.add(&Counted::new(window, &head, event.as_bytes()), event.len() + 8);
    }

    fn summary_of(source: Option<&str>, events: &[&str]) -> Summary {
        let mut summarizer = Summarizer::new();
        summarizer.add_upload(&UploadFacts { source, ..Default::default() });
        events.iter().for_each(|event| add(&mut summarizer, "w", event));
        summarizer.finish()
    }

    fn active_ms_of(moments: &[(i64, bool)]) -> u64 {
        let moment = |&(timestamp_ms, is_active): &(i64, bool)| Moment { timestamp_ms, is_active };
        active_ms(&mut moments.iter().map(moment).collect::<Vec<_>>())
    }

    #[test]
    fn activity_is_counted_by_posthogs_table() {
        let interaction = |kind: u8| format!(r#"{{"type":3,"timestamp":1,"data":{{"source":2,"type":{kind}}}}}"#);
        let events: Vec<String> = (0..=10).map(interaction).collect();
        let summary = summary_of(None, &events.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!((summary.click_count, summary.mouse_activity_count, summary.keypress_count), (4, 11, 0));
        let input = r#"{"type":3,"timestamp":1,"data":{"source":5}}"#;
        let media = r#"{"type":3,"timestamp":1,"data":{"source":7,"type":2}}"#;
        let custom = r#"{"type":5,"timestamp":1,"data":{"source":2,"type":2}}"#;
        let summary = summary_of(None, &[input, media, custom]);
        assert_eq!((summary.click_count, summary.mouse_activity_count, summary.keypress_count), (0, 0, 1));
    }

    #[test]
    fn active_time_is_that_of_active_segments() {
        assert_eq!(active_ms_of(&[]), 0);
        assert_eq!(active_ms_of(&[(0, false), (9_000, false)]), 0);
        assert_eq!(active_ms_of(&[(7, true)]), 1);
        assert_eq!(active_ms_of(&[(1_000, false), (2_000, true), (2_500, false)]), 500);
        assert_eq!(active_ms_of(&[(0, true), (5_000, true)]), 5_000);
        assert_eq!(active_ms_of(&[(0, true), (5_001, true)]), 2);
        assert_eq!(active_ms_of(&[(0, true), (5_001, false), (5_002, true), (5_010, true)]), 9);
        assert_eq!(active_ms_of(&[(300, true), (100, true)]), 200);
    }

    #[test]
    fn urls_are_trimmed_different_and_bounded() {
        let page = |url: &str| format!(r#"{{"type":4,"timestamp":1,"data":{{"href":"{url}"}}}}"#);
        let pages: Vec<String> = (0..30).map(|at| page(&format!(" https://a/{at} "))).collect();
        let summary = summary_of(None, &pages.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(summary.start_url.as_deref(), Some("https://a/0"));
        assert_eq!(summary.urls.len(), SUMMARY_URLS_MAX);
        let long = [page(&"é".repeat(SUMMARY_URL_CHARS_MAX)), page(&"é".repeat(SUMMARY_URL_CHARS_MAX + 1))];
        let summary = summary_of(None, &[&long[0], &long[1], &page("  ")]);
        assert_eq!(summary.urls, ["é".repeat(SUMMARY_URL_CHARS_MAX)]);
    }

    #[test]
    fn urls_come_from_payloads_but_not_from_json_ld() {
        let changed = r#"{"type":5,"timestamp":1,"data":{"tag":"$url_changed","payload":{"href":"https://a/\u0062"}}}"#;
        let json_ld = r#"{"type":5,"timestamp":1,"data":{"tag":"$json_ld","payload":{"href":"https://c"}}}"#;
        assert_eq!(summary_of(None, &[json_ld, changed]).urls, ["https://a/b"]);
    }

    #[test]
    fn console_lines_are_counted_by_level() {
        let line = |plugin: &str, level: &str| {
            format!(r#"{{"type":6,"timestamp":1,"data":{{"plugin":"{plugin}","payload":{{"level":"{level}"}}}}}}"#)
        };
        let levels = ["log", "info", "odd", "warn", "countReset", "error", "assert", "error"];
        let mut lines: Vec<String> = levels.iter().map(|level| line("rrweb/console@1", level)).collect();
        lines.push(line("rrweb/network@1", "error rrweb/console@1"));
        let summary = summary_of(None, &lines.iter().map(String::as_str).collect::<Vec<_>>());
        let counts = (summary.console_log_count, summary.console_warn_count, summary.console_error_count);
        assert_eq!(counts, (3, 2, 3));
    }

    #[test]
    fn only_mobile_recordings_have_a_snapshot_mode() {
        let screen = r#"{"type":2,"timestamp":1,"data":{"wireframes":[{"id":"x"},{"id":5,"type":"screenshot"}]}}"#;
        assert_eq!(summary_of(Some("mobile"), &[screen]).snapshot_mode, Some(SnapshotMode::Screenshot));
        assert_eq!(summary_of(None, &[screen]).snapshot_mode, None);
    }

    #[test]
    fn merging_adds_counts_and_puts_the_earlier_first() {
        let page = |at_ms: i64, url: &str| format!(r#"{{"type":4,"timestamp":{at_ms},"data":{{"href":"{url}"}}}}"#);
        let (early, late) = (summary_of(None, &[&page(10, "https://a")]), summary_of(None, &[&page(20, "https://b")]));
        let mut in_order = early.clone();
        in_order.merge(&late);
        let mut out_of_order = late.clone();
        out_of_order.merge(&early);
        assert_eq!(in_order, out_of_order);
        assert_eq!((in_order.start_ms, in_order.end_ms, in_order.event_count), (10, 20, 2));
        assert_eq!((in_order.start_url.as_deref(), in_order.message_count), (Some("https://a"), 2));
        let mut merged = Summary::default();
        merged.merge(&early);
        assert_eq!(merged, early);
        merged.merge(&Summary::default());
        assert_eq!(merged, early);
    }

    #[test]
    fn windows_beyond_the_limit_count_in_the_totals() {
        let mut summarizer = Summarizer::new();
        for at in 0..=SUMMARY_WINDOWS_MAX {
            add(&mut summarizer, &format!("w{at}"), r#"{"type":2,"timestamp":5,"data":{}}"#);
        }
        let summary = summarizer.finish();
        assert_eq!(summary.windows.len(), SUMMARY_WINDOWS_MAX);
        assert_eq!(summary.full_snapshot_count, SUMMARY_WINDOWS_MAX as u64 + 1);
    }
}
