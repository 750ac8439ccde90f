//! What of a recording becomes which row.

use bytes::Bytes;
use reelcase_format::event::{EventHead, kind};
use serde_json::{Map, Value};

use super::{Cell, EVENTS, RECORDINGS};

/// rrweb's mouse interactions, by number.
const INTERACTIONS: [&str; 11] = [
    "mouse_up",
    "mouse_down",
    "click",
    "context_menu",
    "double_click",
    "focus",
    "blur",
    "touch_start",
    "touch_move",
    "touch_end",
    "touch_cancel",
];

/// rrweb's sources of incremental events that are rows.
const MOUSE_INTERACTION: u8 = 2;
const INPUT: u8 = 5;

/// What a request is told without: it may be long, and stands in `snapshots`.
const LONG: [&str; 4] = ["requestHeaders", "responseHeaders", "requestBody", "responseBody"];

/// A row of `events`, but for whose it is.
#[derive(Debug, Default, PartialEq)]
pub(super) struct EventRow {
    time_ms: i64,
    kind: &'static str,
    name: String,
    url: Option<String>,
    method: Option<String>,
    status: Option<i64>,
    duration_ms: Option<i64>,
    level: Option<String>,
    message: Option<String>,
    node: Option<i64>,
    x: Option<i64>,
    y: Option<i64>,
    properties: Option<String>,
}

impl EventRow {
    pub(super) fn cells(self, project: Cell, recording: Cell, window: Cell) -> [Cell; EVENTS.len()] {
        let text = |text: Option<String>| text.map_or(Cell::Null, |text| Cell::Text(text.into()));
        let whole = |number: Option<i64>| number.map_or(Cell::Null, Cell::Whole);
        [
            project,
            recording,
            window,
            Cell::Whole(self.time_ms),
            Cell::Text(Bytes::from_static(self.kind.as_bytes())),
            Cell::Text(self.name.into()),
            text(self.url),
            text(self.method),
            whole(self.status),
            whole(self.duration_ms),
            text(self.level),
            text(self.message),
            whole(self.node),
            whole(self.x),
            whole(self.y),
            text(self.properties),
        ]
    }
}

/// The row of a recording, which the API describes so.
pub(super) fn recording(row: &Value, project: &Bytes, recording: &Bytes) -> [Cell; RECORDINGS.len()] {
    let whole = |name: &str| Cell::Whole(row[name].as_i64().unwrap_or_default());
    let text = |name: &str| row[name].as_str().map_or(Cell::Null, |text| Cell::Text(text.to_owned().into()));
    let json = |value: &Value, absent: &str| {
        Cell::Text(if value.is_null() { absent.to_owned().into() } else { value.to_string().into() })
    };
    [
        Cell::Text(project.clone()),
        Cell::Text(recording.clone()),
        whole("start_ms"),
        whole("end_ms"),
        whole("duration_ms"),
        whole("active_ms"),
        whole("event_count"),
        whole("click_count"),
        whole("keypress_count"),
        whole("mouse_activity_count"),
        whole("console_log_count"),
        whole("console_warn_count"),
        whole("console_error_count"),
        whole("full_snapshot_count"),
        whole("analytics_event_count"),
        whole("plain_bytes"),
        whole("updated_at_ms"),
        text("source"),
        text("library"),
        text("library_version"),
        text("start_url"),
        json(&row["urls"], "[]"),
        json(&row["person"]["distinct_ids"], "[]"),
        json(&row["person"]["properties"], "{}"),
    ]
}

/// The rows of an rrweb event: none of most, several of a list of requests.
pub(super) fn events(head: &EventHead<'_>, event: &[u8]) -> Vec<EventRow> {
    let is_row = match head.kind {
        kind::META | kind::CUSTOM | kind::PLUGIN => true,
        kind::INCREMENTAL => matches!(head.source, Some(MOUSE_INTERACTION | INPUT)),
        _ => false,
    };
    if !is_row {
        return Vec::new();
    }
    let data = match serde_json::from_slice::<Value>(event) {
        Ok(mut event) => event["data"].take(),
        // Deeper than any of these are.
        Err(_) => return Vec::new(),
    };
    let time_ms = head.timestamp_ms();
    match head.kind {
        kind::META => vec![navigation(time_ms, "page", &data["href"])],
        kind::CUSTOM => vec![custom(time_ms, &data)],
        kind::PLUGIN => plugin(time_ms, data),
        _ if head.source == Some(INPUT) => vec![EventRow {
            time_ms,
            kind: "input",
            name: "input".to_owned(),
            node: data["id"].as_i64(),
            message: data["text"].as_str().map(str::to_owned),
            ..EventRow::default()
        }],
        _ => vec![interaction(time_ms, &data)],
    }
}

fn interaction(time_ms: i64, data: &Value) -> EventRow {
    let name = data["type"].as_u64().and_then(|number| INTERACTIONS.get(usize::try_from(number).ok()?));
    let place = |name: &str| data[name].as_f64().map(|place| place.round() as i64);
    EventRow {
        time_ms,
        kind: "interaction",
        name: name.copied().unwrap_or("other").to_owned(),
        node: data["id"].as_i64(),
        x: place("x"),
        y: place("y"),
        ..EventRow::default()
    }
}

fn navigation(time_ms: i64, name: &str, url: &Value) -> EventRow {
    let url = url.as_str().map(str::to_owned);
    EventRow { time_ms, kind: "navigation", name: name.to_owned(), url, ..EventRow::default() }
}

fn custom(time_ms: i64, data: &Value) -> EventRow {
    let name = data["tag"].as_str().unwrap_or_default();
    if matches!(name, "$pageview" | "$url_changed") {
        return navigation(time_ms, name, &data["payload"]["href"]);
    }
    let properties = data.get("payload").map(Value::to_string);
    EventRow { time_ms, kind: "custom", name: name.to_owned(), properties, ..EventRow::default() }
}

fn plugin(time_ms: i64, mut data: Value) -> Vec<EventRow> {
    let (name, mut payload) = (data["plugin"].as_str().unwrap_or_default().to_owned(), data["payload"].take());
    match name.as_str() {
        "rrweb/console@1" => vec![console(time_ms, &payload)],
        "rrweb/network@1" => match payload["requests"].take() {
            Value::Array(requests) => requests.into_iter().map(|one| request(time_ms, one)).collect(),
            _ => Vec::new(),
        },
        _ => {
            let properties = Some(payload.to_string());
            vec![EventRow { time_ms, kind: "plugin", name, properties, ..EventRow::default() }]
        }
    }
}

fn console(time_ms: i64, payload: &Value) -> EventRow {
    let level = payload["level"].as_str().unwrap_or("log");
    let parts = payload["payload"].as_array().into_iter().flatten().filter_map(Value::as_str);
    // Each part is itself JSON: a text is shown without its quotes, as the console does.
    let shown = |part: &str| match serde_json::from_str(part) {
        Ok(Value::String(shown)) => shown,
        _ => part.to_owned(),
    };
    EventRow {
        time_ms,
        kind: if matches!(level, "error" | "assert") { "error" } else { "log" },
        name: "console".to_owned(),
        level: Some(level.to_owned()),
        message: Some(parts.map(shown).collect::<Vec<_>>().join(" ")),
        properties: payload.get("trace").map(Value::to_string),
        ..EventRow::default()
    }
}

fn request(time_ms: i64, request: Value) -> EventRow {
    let Value::Object(mut request) = request else {
        return EventRow { time_ms, kind: "request", ..EventRow::default() };
    };
    LONG.iter().for_each(|name| drop(request.remove(*name)));
    let text = |request: &Map<String, Value>, name: &str| request.get(name)?.as_str().map(str::to_owned);
    let whole = |name: &str| request.get(name).and_then(Value::as_f64).map(|number| number.round() as i64);
    EventRow {
        time_ms: whole("timestamp").unwrap_or(time_ms),
        kind: "request",
        name: text(&request, "initiatorType").unwrap_or_else(|| "other".to_owned()),
        url: text(&request, "name"),
        method: text(&request, "method"),
        status: whole("responseStatus").filter(|status| *status > 0).or_else(|| whole("status")),
        duration_ms: whole("duration"),
        properties: Some(Value::Object(request.clone()).to_string()),
        ..EventRow::default()
    }
}

/// The row of an analytics event, and its window.
pub(super) fn analytics(line: &[u8]) -> Option<(Option<Bytes>, EventRow)> {
    let event: Value = serde_json::from_slice(line).ok()?;
    let name = event["event"].as_str()?.to_owned();
    let properties = &event["properties"];
    let window = event["window_id"].as_str().map(|window| window.to_owned().into());
    let is_error = name == "$exception";
    let message = [&properties["$exception_message"], &properties["$exception_list"][0]["value"]];
    let row = EventRow {
        time_ms: event["timestamp"].as_i64()?,
        kind: if is_error { "error" } else { "event" },
        url: properties["$current_url"].as_str().map(str::to_owned),
        message: message.into_iter().find_map(Value::as_str).filter(|_| is_error).map(str::to_owned),
        properties: Some(properties.to_string()),
        name,
        ..EventRow::default()
    };
    Some((window, row))
}
