//! Counts of what happens, shown at `/metrics` in the Prometheus text form.
//!
//! The sets of labels are closed: kinds, reasons and statuses are words of this program, so nothing a client sends can
//! make a new series.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::drops::Totals;

/// Everything counted, since the process started.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Uploads by the first digit that matters: 200, 400, 401, 413, 503.
    answers: [AtomicU64; ANSWERS.len()],
    pub(crate) body_bytes: AtomicU64,
    pub(crate) snapshots_kept: AtomicU64,
    pub(crate) events_kept: AtomicU64,
    pub(crate) persons_kept: AtomicU64,
    pub(crate) connections_open: AtomicU64,
    pub(crate) connections_refused: AtomicU64,
    pub(crate) scripts_substituted: AtomicU64,
    /// When the last upload was kept, milliseconds since the epoch; 0 for never.
    pub(crate) kept_at_ms: AtomicU64,
}

const ANSWERS: [u16; 6] = [200, 400, 401, 413, 503, 500];

impl Metrics {
    /// Counts the answer to one upload.
    pub(crate) fn count_answer(&self, status: u16) {
        let at = ANSWERS.iter().position(|known| *known == status).unwrap_or(ANSWERS.len() - 1);
        self.answers[at].fetch_add(1, Relaxed);
    }

    /// Uploads answered with `status`.
    pub(crate) fn answers(&self, status: u16) -> u64 {
        let at = ANSWERS.iter().position(|known| *known == status);
        at.map_or(0, |at| self.answers[at].load(Relaxed))
    }

    /// Every count as Prometheus text; `totals` and `gauges` are further values that others know.
    pub(crate) fn render(&self, totals: Totals, gauges: &[(&str, &str, u64)]) -> String {
        let mut text = String::with_capacity(2_048);
        let answers =
            ANSWERS.iter().zip(&self.answers).map(|(status, count)| (status.to_string(), count.load(Relaxed)));
        family(&mut text, "reelcase_uploads_total", "counter", "Uploads by answer.", "status", answers);
        let Totals { items, uploads, copies } = totals;
        let (refused, dropped) = ("Uploads refused for good, by reason.", "Events not kept, by reason.");
        family(&mut text, "reelcase_uploads_refused_total", "counter", refused, "reason", uploads.into_iter());
        family(&mut text, "reelcase_items_dropped_total", "counter", dropped, "reason", items.into_iter());
        let not_kept = "Uploads that PostHog got, and of which no copy was kept, by reason.";
        family(&mut text, "reelcase_copies_not_kept_total", "counter", not_kept, "reason", copies.into_iter());
        let kept = [("snapshot", &self.snapshots_kept), ("event", &self.events_kept), ("person", &self.persons_kept)];
        let kept = kept.into_iter().map(|(kind, count)| (kind.to_owned(), count.load(Relaxed)));
        family(&mut text, "reelcase_items_kept_total", "counter", "Events kept, by kind.", "kind", kept);
        for (name, help, count) in [
            ("reelcase_body_bytes_total", "Bytes of bodies received.", &self.body_bytes),
            ("reelcase_connections_refused_total", "Connections that failed to open.", &self.connections_refused),
            ("reelcase_scripts_substituted_total", "Scripts served from another release.", &self.scripts_substituted),
        ] {
            single(&mut text, name, "counter", help, count.load(Relaxed));
        }
        let open = self.connections_open.load(Relaxed);
        single(&mut text, "reelcase_connections_open", "gauge", "Connections open.", open);
        for (name, help, value) in gauges {
            single(&mut text, name, "gauge", help, *value);
        }
        text
    }
}

pub(crate) fn family(
    text: &mut String,
    name: &str,
    kind: &str,
    help: &str,
    label: &str,
    values: impl Iterator<Item = (String, u64)>,
) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (value, count) in values {
        let _ = writeln!(text, "{name}{{{label}=\"{value}\"}} {count}");
    }
}

/// Adds one count to the text that [`Metrics::render`] began.
pub(crate) fn single(text: &mut String, name: &str, kind: &str, help: &str, value: u64) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_series() {
        let items = [("session_id_invalid".to_owned(), 1), ("no_recording".to_owned(), 2)].into();
        let uploads = [("unknown_key".to_owned(), 3)].into();
        let totals = Totals { items, uploads, copies: [("busy".to_owned(), 4)].into() };
        let text = Metrics::default().render(totals, &[("reelcase_inbox_bytes", "Bytes waiting.", 7)]);
        assert!(text.contains("reelcase_items_dropped_total{reason=\"session_id_invalid\"} 1"), "{text}");
        assert!(text.contains("reelcase_uploads_refused_total{reason=\"unknown_key\"} 3"), "{text}");
        assert!(text.contains("reelcase_copies_not_kept_total{reason=\"busy\"} 4"), "{text}");
        assert!(text.ends_with("reelcase_inbox_bytes 7\n"));
    }

    #[test]
    fn a_status_nobody_expected_counts_as_500() {
        let metrics = Metrics::default();
        metrics.count_answer(418);
        assert_eq!(metrics.answers(500), 1);
    }
}
