//! Looks into the few events whose content is counted. A byte search decides first, so that all others are never parsed.

use std::borrow::Cow;
use std::collections::HashMap;

use memchr::memmem;
use serde_json::value::RawValue;

use super::SnapshotMode;

/// Which counter a console line goes to.
pub(super) enum ConsoleLevel {
    Log,
    Warn,
    Error,
}

/// The trimmed URL that an event names: `data.href`, else `data.payload.href` outside `$json_ld`.
pub(super) fn url(event: &[u8]) -> Option<String> {
    memmem::find(event, b"\"href\"")?;
    let data = member(event, "data")?;
    let own = member(data, "href").and_then(trimmed);
    own.or_else(|| {
        let is_json_ld = member(data, "tag").and_then(text).is_some_and(|tag| tag == "$json_ld");
        let payload = member(data, "payload").filter(|_| !is_json_ld)?;
        member(payload, "href").and_then(trimmed)
    })
}

/// The level of a console line, by PostHog's table. `None` for events of other plugins.
pub(super) fn console_level(event: &[u8]) -> Option<ConsoleLevel> {
    memmem::find(event, b"rrweb/console@1").or_else(|| memmem::find(event, b"rrweb\\/console@1"))?;
    let data = member(event, "data")?;
    text(member(data, "plugin")?).filter(|plugin| plugin == "rrweb/console@1")?;
    let level = member(data, "payload").and_then(|payload| member(payload, "level")).and_then(text);
    Some(match level.as_deref() {
        Some("warn" | "countReset") => ConsoleLevel::Warn,
        Some("error" | "assert") => ConsoleLevel::Error,
        _ => ConsoleLevel::Log,
    })
}

/// How a mobile full snapshot shows the screen, by its first wireframe with a numeric id.
pub(super) fn snapshot_mode(event: &[u8]) -> Option<SnapshotMode> {
    memmem::find(event, b"\"wireframes\"")?;
    let wireframes = member(member(event, "data")?, "wireframes")?;
    let wireframe = elements(wireframes)?.into_iter().find(|wireframe| {
        member(wireframe, "id").and_then(|id| id.first()).is_some_and(|byte| byte.is_ascii_digit() || *byte == b'-')
    })?;
    let kind = member(wireframe, "type").and_then(text);
    Some(if kind.as_deref() == Some("screenshot") { SnapshotMode::Screenshot } else { SnapshotMode::Wireframe })
}

fn trimmed(value: &[u8]) -> Option<String> {
    text(value).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The raw value of `key`, where `value` is an object that has it.
fn member<'a>(value: &'a [u8], key: &str) -> Option<&'a [u8]> {
    let members: HashMap<Cow<'a, str>, &'a RawValue> = serde_json::from_slice(value).ok()?;
    members.get(key).map(|raw| raw.get().as_bytes())
}

fn elements(value: &[u8]) -> Option<Vec<&[u8]>> {
    let elements: Vec<&RawValue> = serde_json::from_slice(value).ok()?;
    Some(elements.into_iter().map(|raw| raw.get().as_bytes()).collect())
}

fn text(value: &[u8]) -> Option<String> {
    serde_json::from_slice(value).ok()
}
