//! An ordinary capture server, as one writes it in an afternoon: axum, flate2, every event parsed, made into the
//! message that a queue would get, and forgotten. It keeps nothing, so it owes nobody an `fdatasync`.
//!
//! It stands in for the capture service of PostHog and must never be made slower than it would naturally be.

use std::hint::black_box;
use std::io::Read;

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::parties::OK;

/// Bytes that a body may inflate to.
const INFLATED_BYTES_MAX: u64 = 64 << 20;

/// One event of the client protocol.
#[derive(Deserialize)]
struct Event {
    uuid: Option<String>,
    event: String,
    #[serde(default)]
    properties: serde_json::Map<String, Value>,
    #[serde(flatten)]
    other: serde_json::Map<String, Value>,
}

/// What the consumer of a queue gets, as PostHog's does: the event as text within.
#[derive(Serialize)]
pub(crate) struct Message {
    uuid: String,
    distinct_id: String,
    ip: &'static str,
    token: String,
    now: &'static str,
    data: String,
}

/// The event as the consumer finds it in [`Message::data`].
#[derive(Serialize)]
struct Data {
    event: &'static str,
    properties: Properties,
}

#[derive(Serialize)]
struct Properties {
    distinct_id: String,
    #[serde(rename = "$session_id")]
    session_id: Value,
    #[serde(rename = "$window_id")]
    window_id: Value,
    #[serde(rename = "$snapshot_source")]
    source: Value,
    #[serde(rename = "$snapshot_items")]
    items: Vec<Value>,
    #[serde(rename = "$lib")]
    library: Value,
}

pub(crate) fn router() -> Router {
    Router::new().route("/s/", post(capture)).layer(axum::extract::DefaultBodyLimit::max(INFLATED_BYTES_MAX as usize))
}

async fn capture(body: Bytes) -> Response {
    match message_of(&body) {
        Ok(message) => {
            black_box(message);
            ([("content-type", "application/json")], OK).into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

/// Makes one message of an upload: its `$snapshot` events share a session, and are put together.
pub(crate) fn message_of(body: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut json = String::new();
    if body.starts_with(b"\x1f\x8b") {
        GzDecoder::new(body).take(INFLATED_BYTES_MAX).read_to_string(&mut json)?;
    } else {
        json = String::from_utf8(body.to_vec())?;
    }
    let mut events: Vec<Event> = serde_json::from_str(&json)?;
    let mut items = Vec::new();
    for event in &mut events {
        anyhow::ensure!(event.event == "$snapshot", "not a snapshot");
        match event.properties.remove("$snapshot_data") {
            Some(Value::Array(data)) => items.extend(data),
            Some(data @ Value::Object(_)) => items.push(data),
            _ => anyhow::bail!("no snapshot data"),
        }
    }
    let first = events.first_mut().ok_or_else(|| anyhow::anyhow!("no event"))?;
    let mut property = |name: &str| first.properties.remove(name).unwrap_or_default();
    let distinct_id = property("distinct_id").as_str().unwrap_or_default().to_owned();
    let token = property("token").as_str().unwrap_or_default().to_owned();
    let properties = Properties {
        distinct_id: distinct_id.clone(),
        session_id: property("$session_id"),
        window_id: property("$window_id"),
        source: property("$snapshot_source"),
        library: property("$lib"),
        items,
    };
    let data = serde_json::to_string(&Data { event: "$snapshot_items", properties })?;
    black_box(&first.other);
    let uuid = first.uuid.take().unwrap_or_default();
    Ok(serde_json::to_vec(&Message { uuid, distinct_id, ip: "127.0.0.1", token, now: "2026-11-21T00:00:00Z", data })?)
}
