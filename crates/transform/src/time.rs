//! Moments as text.

/// A moment in ms since 1970 as RFC 3339. One that no calendar has is 1970.
pub(crate) fn iso(timestamp_ms: f64) -> String {
    // A cast of a float saturates, and what then is out of range has no calendar.
    jiff::Timestamp::from_microsecond((timestamp_ms * 1_000.0) as i64).unwrap_or_default().to_string()
}
