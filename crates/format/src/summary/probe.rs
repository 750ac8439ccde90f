//! Looks into the few events whose content is counted. A byte search decides first, so that all others are never parsed.

use memchr::memmem;

use super::SnapshotMode;
use crate::json::{elements, member, number, text};

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
    let has_number = |wireframe: &&[u8]| member(wireframe, "id").and_then(number).is_some();
    let wireframe = elements(wireframes).find(has_number)?;
    let kind = member(wireframe, "type").and_then(text);
    Some(if kind.as_deref() == Some("screenshot") { SnapshotMode::Screenshot } else { SnapshotMode::Wireframe })
}

fn trimmed(value: &[u8]) -> Option<String> {
    text(value).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}
