//! Analytics events and persons of PostHog, as the lines that are kept beside a recording.

use reelcase_format::id::{upload_id_from_hex, upload_id_to_hex};
use serde_json::{Map, Value, json};

use crate::reel::BesideLine;

/// An analytics event, in the columns in which PostHog keeps it.
#[derive(Debug, Clone, Copy)]
pub struct AnalyticsEvent<'a> {
    /// Its id, a UUID.
    pub uuid: &'a Value,
    /// Its name.
    pub event: &'a Value,
    /// When it happened.
    pub timestamp: &'a Value,
    /// Whose it is.
    pub distinct_id: &'a Value,
    /// All else, as an object or as the JSON of one.
    pub properties: &'a Value,
}

impl AnalyticsEvent<'_> {
    /// The line of it. `None` where it says not when it was, or its properties are no JSON.
    pub fn line(&self) -> Option<BesideLine> {
        let timestamp_ms = moment_ms(self.timestamp)?;
        let properties: Value = match self.properties {
            Value::String(text) => serde_json::from_str(text).ok()?,
            other => other.clone(),
        };
        let upload = self.uuid.as_str().and_then(upload_id_from_hex);
        let mut line = json!({
            "kind": "event", "event": self.event, "timestamp": timestamp_ms, "distinct_id": self.distinct_id,
        });
        if let Some(upload) = &upload {
            line["uuid"] = upload_id_to_hex(upload).into();
        }
        if let Some(window) = properties["$window_id"].as_str() {
            line["window_id"] = window.into();
        }
        line["properties"] = properties;
        Some(BesideLine { timestamp_ms, upload, json: line.to_string().into_bytes() })
    }
}

/// What says who somebody is: the first of the ids, which others are theirs too, and what is known of them.
pub fn person_lines(distinct_ids: &[String], properties: &Map<String, Value>, timestamp_ms: i64) -> Vec<BesideLine> {
    let Some((first, others)) = distinct_ids.split_first() else { return Vec::new() };
    let line = |event: &str, properties: Value| {
        let line = json!({
            "kind": "event", "event": event, "timestamp": timestamp_ms, "distinct_id": first, "properties": properties,
        });
        BesideLine { timestamp_ms, upload: None, json: line.to_string().into_bytes() }
    };
    let mut lines: Vec<_> = others.iter().map(|other| line("$create_alias", json!({ "alias": other }))).collect();
    if !properties.is_empty() {
        lines.push(line("$set", json!({ "$set": properties })));
    }
    lines
}

/// A time as PostHog writes it: with a zone, or in UTC without one.
pub fn moment_ms(time: &Value) -> Option<i64> {
    let text = time.as_str()?;
    let moment = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let civil = text.parse::<jiff::civil::DateTime>().ok()?;
        Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    });
    Some(moment?.as_millisecond())
}
