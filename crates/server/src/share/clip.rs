//! What of a recording a link gives out. Everything that is not known to be wanted stays here.

use std::collections::BTreeMap;

use reelcase_format::block::{BlockKind, Keyframe};
use reelcase_format::event::{EventHead, kind, source};
use reelcase_format::json::{member, text};
use reelcase_format::line::{lines, split_line};
use reelcase_store::catalog::BlockRow;
use serde_json::{Map, Value, json};

use super::Terms;

/// The Meta event of a full snapshot, which says how large the page was, comes shortly before it.
const META_BEFORE_MS: i64 = 5_000;

/// Sources of incremental events that change the page and say nothing of who changed it: nodes, scrolling, window,
/// fields, media, style sheets, canvases, fonts, declarations, adopted sheets, custom elements.
const STATE_SOURCES: [u8; 11] =
    [source::MUTATION, source::SCROLL, source::VIEWPORT_RESIZE, source::INPUT, 7, 8, 9, 10, 13, 15, 16];

/// Sources that show what a person did: pointer, touch, drag, selection.
const HAND_SOURCES: [u8; 5] = [source::MOUSE_MOVE, source::MOUSE_INTERACTION, source::TOUCH_MOVE, source::DRAG, 14];

/// Source of what old recorders wrote of the console.
const LOG_SOURCE: u8 = 11;

/// Properties of analytics events that go out. Whatever else a page sends with them may name somebody.
const PROPERTIES: [&str; 21] = [
    "$current_url",
    "$pathname",
    "$host",
    "$el_text",
    "$event_type",
    "$exception_list",
    "$exception_type",
    "$exception_message",
    "$exception_level",
    "$browser",
    "$browser_version",
    "$os",
    "$os_version",
    "$device_type",
    "$screen_width",
    "$screen_height",
    "$viewport_width",
    "$viewport_height",
    "$web_vitals_LCP_value",
    "$web_vitals_CLS_value",
    "$web_vitals_INP_value",
];

/// The part of a recording that a link shows.
#[derive(Debug)]
pub(crate) struct Clip {
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
    /// From when on the state of each window is needed, so that it can be drawn at `from_ms`.
    state_from_ms: BTreeMap<String, i64>,
    has_inspector: bool,
    has_console: bool,
    has_network: bool,
}

impl Clip {
    /// `blocks` are all blocks of the recording.
    pub(crate) fn new(terms: &Terms, blocks: &[BlockRow]) -> Self {
        let of_lines = || blocks.iter().filter(|block| block.kind == BlockKind::Lines);
        let start_ms = of_lines().map(|block| block.start_ms).min().unwrap_or(0);
        let end_ms = of_lines().map(|block| block.end_ms).max().unwrap_or(0);
        let from_ms = terms.from_ms.unwrap_or(start_ms).max(start_ms);
        let to_ms = terms.to_ms.unwrap_or(end_ms).min(end_ms);
        let mut state_from_ms = BTreeMap::<String, i64>::new();
        for keyframe in of_lines().flat_map(|block| &block.keyframes).filter(|frame| frame.timestamp_ms <= from_ms) {
            let latest_ms = state_from_ms.entry(keyframe.window.clone()).or_insert(i64::MIN);
            *latest_ms = (*latest_ms).max(keyframe.timestamp_ms);
        }
        let Terms { has_inspector, has_console, has_network, .. } = *terms;
        Self { from_ms, to_ms, state_from_ms, has_inspector, has_console, has_network }
    }

    /// Whether anything of a block may go out.
    pub(crate) fn has(&self, block: &BlockRow) -> bool {
        let from_ms = match block.kind {
            BlockKind::Events if !self.has_inspector => return false,
            BlockKind::Events => self.from_ms,
            BlockKind::Lines => {
                let of_window = |window: &String| {
                    self.state_from_ms.get(window).map(|from_ms| from_ms.saturating_sub(META_BEFORE_MS))
                };
                block.windows.iter().filter_map(of_window).chain([self.from_ms]).min().unwrap_or(self.from_ms)
            }
        };
        block.end_ms >= from_ms && block.start_ms <= self.to_ms
    }

    /// Whether a full snapshot goes out.
    pub(crate) fn has_keyframe(&self, keyframe: &Keyframe) -> bool {
        let from_ms = self.state_from_ms.get(&keyframe.window).copied().unwrap_or(self.from_ms);
        (from_ms..=self.to_ms).contains(&keyframe.timestamp_ms)
    }

    /// The lines of a block that go out.
    pub(crate) fn cut(&self, kind: BlockKind, plain: &[u8]) -> Vec<u8> {
        let mut kept = Vec::with_capacity(plain.len());
        for line in lines(plain) {
            match kind {
                BlockKind::Lines if self.keeps(line) => kept.extend_from_slice(line),
                BlockKind::Events => kept.extend_from_slice(&self.reduced(line).unwrap_or_default()),
                BlockKind::Lines => {}
            }
            if kept.last().is_some_and(|byte| *byte != b'\n') {
                kept.push(b'\n');
            }
        }
        kept
    }

    fn keeps(&self, line: &[u8]) -> bool {
        let Some((window, event)) = split_line(line) else { return false };
        let Some(head) = EventHead::read(event) else { return false };
        let moment_ms = head.timestamp_ms();
        if moment_ms > self.to_ms {
            return false;
        }
        if moment_ms < self.from_ms {
            return self.is_state(&window, &head, moment_ms);
        }
        match head.kind {
            // That a document was read and loaded, and the page itself.
            0 | 1 | kind::FULL_SNAPSHOT | kind::META => true,
            kind::INCREMENTAL => match head.source {
                Some(LOG_SOURCE) => self.has_inspector && self.has_console,
                Some(source) => STATE_SOURCES.contains(&source) || HAND_SOURCES.contains(&source),
                None => false,
            },
            kind::CUSTOM => self.has_inspector && is_of_page(&head),
            kind::PLUGIN => self.has_inspector && self.has_plugin(&head),
            _ => false,
        }
    }

    /// Whether an event before the clip is needed to draw the page at its first moment.
    fn is_state(&self, window: &str, head: &EventHead<'_>, moment_ms: i64) -> bool {
        let Some(from_ms) = self.state_from_ms.get(window) else { return false };
        match head.kind {
            kind::META => moment_ms >= from_ms.saturating_sub(META_BEFORE_MS),
            kind::FULL_SNAPSHOT => moment_ms >= *from_ms,
            kind::INCREMENTAL => moment_ms >= *from_ms && head.source.is_some_and(|of| STATE_SOURCES.contains(&of)),
            _ => false,
        }
    }

    fn has_plugin(&self, head: &EventHead<'_>) -> bool {
        let plugin = head.data.and_then(|data| member(data, "plugin")).and_then(text);
        match plugin.as_deref().and_then(|name| name.split_once('@')).map(|(name, _)| name) {
            Some("rrweb/console") => self.has_console,
            Some("rrweb/network" | "posthog/network") => self.has_network,
            _ => false,
        }
    }

    /// An analytics event without who it is of.
    fn reduced(&self, line: &[u8]) -> Option<Vec<u8>> {
        let event: Map<String, Value> = serde_json::from_slice(line).ok()?;
        let name = event.get("event")?.as_str()?;
        let moment_ms = event.get("timestamp")?.as_f64()? as i64;
        let is_exception = name == "$exception";
        let is_within = (self.from_ms..=self.to_ms).contains(&moment_ms);
        if !self.has_inspector || !is_within || event.get("kind")? != "event" || (is_exception && !self.has_console) {
            return None;
        }
        let given = event.get("properties").and_then(Value::as_object);
        let properties: Map<String, Value> =
            PROPERTIES.iter().filter_map(|name| Some(((*name).to_owned(), given?.get(*name)?.clone()))).collect();
        let kept = json!({
            "kind": "event", "event": name, "timestamp": event["timestamp"], "window_id": event.get("window_id"),
            "properties": properties,
        });
        serde_json::to_vec(&kept).ok()
    }
}

/// Whether a custom event is one of the page's author, and not of the recorder, whose events hold its settings.
fn is_of_page(head: &EventHead<'_>) -> bool {
    let tag = head.data.and_then(|data| member(data, "tag")).and_then(text);
    tag.is_some_and(|tag| !tag.starts_with('$') || tag == "$pageview")
}
