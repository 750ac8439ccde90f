//! Writes the requests of a page as HAR 1.2, which browsers' tools and proxies open.

use std::io::Write;

use reelcase_format::event::{EventHead, kind};
use reelcase_format::json::{member, text};
use serde_json::{Map, Value, json};

use crate::stream::{Event, Header, LeftOut, WriteError, WriteEvents, Written};
use crate::time::iso;

/// The recorder plugin that records them.
const PLUGIN: &str = "rrweb/network@1";

/// What names this program in the files it writes.
const CREATOR_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Writes the requests and leaves out all else.
pub struct HarSink<W> {
    out: W,
    has_begun: bool,
    entry_count: u64,
    left_out_count: u64,
}

impl<W: Write> HarSink<W> {
    /// Writes to `out`, front to back.
    pub fn new(out: W) -> Self {
        Self { out, has_begun: false, entry_count: 0, left_out_count: 0 }
    }

    fn begin(&mut self, header: &Header) -> Result<(), WriteError> {
        if std::mem::replace(&mut self.has_begun, true) {
            return Ok(());
        }
        let comment = header.recording.as_ref().map_or_else(String::new, |id| format!("recording {id}"));
        let creator = json!({ "name": "reelcase", "version": CREATOR_VERSION });
        let comment = Value::from(comment);
        write!(self.out, "{{\"log\":{{\"version\":\"1.2\",\"creator\":{creator},\"comment\":{comment},\"entries\":[")?;
        Ok(())
    }
}

impl<W: Write> WriteEvents for HarSink<W> {
    type Written = Written;

    fn push(&mut self, header: &Header, event: &Event<'_>) -> Result<(), WriteError> {
        self.begin(header)?;
        let Some((timestamp, requests)) = requests(event.json) else {
            self.left_out_count += 1;
            return Ok(());
        };
        for request in &requests {
            let Some(entry) = entry(request, timestamp, event.window) else { continue };
            self.out.write_all(if self.entry_count == 0 { b"\n" } else { b",\n" })?;
            self.entry_count += 1;
            serde_json::to_writer(&mut self.out, &entry).map_err(std::io::Error::from)?;
        }
        Ok(())
    }

    fn finish(mut self, header: &Header) -> Result<Written, WriteError> {
        self.begin(header)?;
        self.out.write_all(b"\n]}}\n")?;
        self.out.flush()?;
        let (one, several) = ("event that is no request", "events that are no requests");
        let left_out = LeftOut::of(self.left_out_count, one, several).into_iter().collect();
        Ok(Written { left_out, ..Written::default() })
    }
}

/// The requests that an event tells of, and when it was.
fn requests(event: &[u8]) -> Option<(f64, Vec<Value>)> {
    let head = EventHead::read(event).filter(|head| head.kind == kind::PLUGIN)?;
    let data = head.data.filter(|data| member(data, "plugin").and_then(text).is_some_and(|name| name == PLUGIN))?;
    let list = member(member(data, "payload")?, "requests")?;
    Some((head.timestamp, serde_json::from_slice(list).ok()?))
}

/// One request. `None` for what only stands beside requests, such as paints and timings of the server.
fn entry(request: &Value, event_timestamp: f64, window: &str) -> Option<Value> {
    let number = |name: &str| request.get(name).and_then(Value::as_f64);
    let text = |name: &str| request.get(name).and_then(Value::as_str);
    let url = text("name").filter(|url| url.starts_with("http://") || url.starts_with("https://"))?;
    if !matches!(text("entryType"), None | Some("resource" | "navigation")) {
        return None;
    }
    let started = number("timestamp").or_else(|| Some(number("timeOrigin")? + number("startTime")?));
    let duration = number("duration").or_else(|| Some(number("endTime")? - number("startTime")?));
    let duration = duration.unwrap_or(0.0).max(0.0);
    let protocol = text("nextHopProtocol").unwrap_or("");
    let status = number("status").or(number("responseStatus")).unwrap_or(0.0) as u16;
    let (sent, received) = (headers(request.get("requestHeaders")), headers(request.get("responseHeaders")));
    let mut asked = json!({
        "method": text("method").unwrap_or("GET"), "url": url, "httpVersion": protocol, "cookies": [],
        "headers": sent, "queryString": query(url), "headersSize": -1, "bodySize": -1,
    });
    if let Some(body) = body(request.get("requestBody")) {
        asked["bodySize"] = body.len().into();
        asked["postData"] = json!({ "mimeType": header(&sent, "content-type"), "text": body });
    }
    let answer = body(request.get("responseBody"));
    let plain_bytes = number("decodedBodySize").or(answer.as_ref().map(|body| body.len() as f64)).unwrap_or(0.0);
    let mut content = json!({ "size": plain_bytes as u64, "mimeType": header(&received, "content-type") });
    if let Some(answer) = answer {
        content["text"] = answer.into();
    }
    Some(json!({
        "startedDateTime": iso(started.unwrap_or(event_timestamp)), "time": duration, "request": asked,
        "response": {
            "status": status, "statusText": "", "httpVersion": protocol, "cookies": [], "headers": received,
            "content": content, "redirectURL": header(&received, "location"), "headersSize": -1,
            "bodySize": number("encodedBodySize").map_or(-1, |bytes| bytes as i64),
        },
        "cache": {}, "timings": timings(request, duration),
        "_window": window, "_initiatorType": text("initiatorType"), "_transferSize": number("transferSize"),
    }))
}

/// What the time was spent on. Phases that are not known are -1, as HAR wants it; together they are the duration.
fn timings(request: &Value, duration: f64) -> Value {
    let moment = |name: &str| request.get(name).and_then(Value::as_f64).filter(|moment| *moment > 0.0);
    let phase = |from: &str, to: &str| Some((moment(to)? - moment(from)?).max(0.0));
    let (dns, connect) = (phase("domainLookupStart", "domainLookupEnd"), phase("connectStart", "connectEnd"));
    let receive = phase("responseStart", "responseEnd");
    let wait = phase("requestStart", "responseStart");
    let known = [dns, connect, wait, receive].into_iter().flatten().sum::<f64>();
    let rest = (duration - known).max(0.0);
    // Without phases all of it was waiting.
    let (blocked, wait) = if wait.is_some() { (rest, wait) } else { (-1.0, Some(rest)) };
    json!({
        "blocked": blocked, "dns": dns.unwrap_or(-1.0), "connect": connect.unwrap_or(-1.0),
        "ssl": phase("secureConnectionStart", "connectEnd").unwrap_or(-1.0),
        "send": 0, "wait": wait.unwrap_or(0.0), "receive": receive.unwrap_or(0.0),
    })
}

fn headers(headers: Option<&Value>) -> Vec<Value> {
    let of_object = |headers: &Map<String, Value>| {
        let pair = |(name, value): (&String, &Value)| json!({ "name": name, "value": plain(value) });
        headers.iter().map(pair).collect()
    };
    headers.and_then(Value::as_object).map(of_object).unwrap_or_default()
}

fn header(headers: &[Value], name: &str) -> String {
    let is_it = |header: &&Value| header["name"].as_str().is_some_and(|found| found.eq_ignore_ascii_case(name));
    headers.iter().find(is_it).and_then(|header| header["value"].as_str()).unwrap_or("").to_owned()
}

fn body(body: Option<&Value>) -> Option<String> {
    body.filter(|body| !body.is_null()).map(plain)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn query(url: &str) -> Vec<Value> {
    let query = url.split('#').next().and_then(|url| url.split_once('?')).map_or("", |(_, query)| query);
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        json!({ "name": name, "value": value })
    };
    query.split('&').filter(|text| !text.is_empty()).map(pair).collect()
}
