//! rrweb events as far as the server looks into them. All else passes through byte for byte.

use crate::json::{self, Cursor, Elements, JsonError, members, number};

/// rrweb's event types (`EventType` of rrweb).
pub mod kind {
    /// A whole page.
    pub const FULL_SNAPSHOT: u8 = 2;
    /// A change, or something the visitor did.
    pub const INCREMENTAL: u8 = 3;
    /// Address and size of the page.
    pub const META: u8 = 4;
    /// Something the recorder's host added, with a tag.
    pub const CUSTOM: u8 = 5;
    /// Something a recorder plugin added: console, network.
    pub const PLUGIN: u8 = 6;
}

/// Sources of incremental events (`IncrementalSource` of rrweb) that have a meaning here.
pub mod source {
    /// Nodes, attributes and texts changed.
    pub const MUTATION: u8 = 0;
    /// The mouse moved.
    pub const MOUSE_MOVE: u8 = 1;
    /// A button, focus or touch.
    pub const MOUSE_INTERACTION: u8 = 2;
    /// Something was scrolled.
    pub const SCROLL: u8 = 3;
    /// The window changed its size.
    pub const VIEWPORT_RESIZE: u8 = 4;
    /// A form field changed.
    pub const INPUT: u8 = 5;
    /// A finger moved.
    pub const TOUCH_MOVE: u8 = 6;
    /// Audio or video was started, stopped or moved.
    pub const MEDIA_INTERACTION: u8 = 7;
    /// Rules were added to or removed from a style sheet.
    pub const STYLE_SHEET_RULE: u8 = 8;
    /// Something was dragged.
    pub const DRAG: u8 = 12;
}

/// What the server reads of one rrweb event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EventHead<'a> {
    /// rrweb's `type`; see [`kind`].
    pub kind: u8,
    /// Milliseconds since 1970 by the client's clock. Some senders have fractions.
    pub timestamp: f64,
    /// `data.source` of an incremental event; see [`source`]. `None` where there is none, or it is no small number.
    pub source: Option<u8>,
    /// `data.type`: which mouse interaction (2 is a click) or media interaction.
    pub interaction: Option<u8>,
    /// The raw `cv`, which says how parts of the event are compressed; see [`crate::cv`]. `None` where none is.
    pub cv: Option<&'a [u8]>,
    /// The raw `data`, whatever its type. `None` where there is none.
    pub data: Option<&'a [u8]>,
}

impl<'a> EventHead<'a> {
    /// Reads the head of one checked event. `None` when it is no object, or has no numeric `type` below 256 or no
    /// numeric `timestamp`.
    pub fn read(raw: &'a [u8]) -> Option<Self> {
        read_next(&mut Cursor::known(raw)).ok()?.1
    }

    /// Checks an event, and reads its head on the way. `None` also where it is not JSON to its last byte.
    pub fn check(raw: &'a [u8], nesting_max: usize) -> Option<Self> {
        let mut cursor = Cursor::new(raw, nesting_max);
        let head = read_next(&mut cursor).ok()?.1;
        head.filter(|_| cursor.at() == raw.len())
    }

    /// The timestamp in whole milliseconds, rounded down.
    pub fn timestamp_ms(&self) -> i64 {
        // A cast of a float saturates, so an absurd timestamp stays absurd but harmless.
        self.timestamp.floor() as i64
    }
}

/// Iterates over the raw events of a checked `$snapshot_data`: an array of events or a single one.
pub fn events(snapshot_data: &[u8]) -> Events<'_> {
    match snapshot_data.first() {
        Some(b'{') => Events { single: Some(snapshot_data), elements: json::elements(b"") },
        _ => Events { single: None, elements: json::elements(snapshot_data) },
    }
}

/// See [`events`].
#[derive(Debug, Clone)]
pub struct Events<'a> {
    single: Option<&'a [u8]>,
    elements: Elements<'a>,
}

impl<'a> Iterator for Events<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.single.take().or_else(|| self.elements.next())
    }
}

/// Reads the value that comes next as an event: as it was sent, and what [`EventHead::read`] says of it.
pub(crate) fn read_next<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a [u8], Option<EventHead<'a>>), JsonError> {
    if cursor.peek() != Some(b'{') {
        return Ok((cursor.value()?, None));
    }
    let start = cursor.at();
    let (mut kind, mut timestamp, mut cv, mut data) = (None, None, None, None);
    cursor.object(|cursor, key| {
        match key {
            b"type" => kind = small_number(cursor.value()?),
            b"timestamp" => timestamp = number(cursor.value()?),
            b"cv" => cv = Some(cursor.value()?),
            b"data" => data = Some(cursor.value()?),
            _ => {}
        }
        Ok::<_, JsonError>(())
    })?;
    let raw = cursor.slice(start, cursor.at());
    let (Some(kind), Some(timestamp)) = (kind, timestamp) else { return Ok((raw, None)) };
    // Looking into a full snapshot would mean walking the page for nothing: only increments have a source.
    let (source, interaction) = match data {
        Some(data) if kind == kind::INCREMENTAL => source_and_interaction(data),
        _ => (None, None),
    };
    Ok((raw, Some(EventHead { kind, timestamp, source, interaction, cv, data })))
}

fn source_and_interaction(data: &[u8]) -> (Option<u8>, Option<u8>) {
    let (mut source, mut interaction) = (None, None);
    for (key, value) in members(data) {
        match key.as_ref() {
            b"source" => source = small_number(value),
            b"type" => interaction = small_number(value),
            _ => {}
        }
        // Only these have one, and of the others, what may follow is most of the recording.
        let has_interaction = matches!(source, None | Some(source::MOUSE_INTERACTION | source::MEDIA_INTERACTION));
        if !has_interaction {
            return (source, None);
        }
        if source.is_some() && interaction.is_some() {
            break;
        }
    }
    (source, interaction)
}

fn small_number(raw: &[u8]) -> Option<u8> {
    std::str::from_utf8(raw).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_may_come_in_any_order() {
        let one = br#"{"type":3,"data":{"source":2,"type":2,"id":7},"timestamp":1795226820022}"#;
        let two = br#"{"timestamp":1795226820022.75,"cv":"2024-10","data":{"id":7,"type":2,"source":2},"type":3}"#;
        let (one, two) = (EventHead::read(one).unwrap(), EventHead::read(two).unwrap());
        assert_eq!((one.kind, one.source, one.interaction, one.cv.is_some()), (3, Some(2), Some(2), false));
        assert_eq!((two.kind, two.source, two.interaction, two.cv.is_some()), (3, Some(2), Some(2), true));
        assert_eq!((one.timestamp_ms(), two.timestamp_ms()), (1795226820022, 1795226820022));
        assert_eq!(two.data, Some(&br#"{"id":7,"type":2,"source":2}"#[..]));
    }

    #[test]
    fn events_without_type_or_time_have_no_head() {
        for raw in [
            &b"null"[..],
            b"[]",
            b"{}",
            br#"{"type":3}"#,
            br#"{"type":"3","timestamp":1}"#,
            br#"{"type":300,"timestamp":1}"#,
        ] {
            assert_eq!(EventHead::read(raw), None);
        }
        assert_eq!(EventHead::read(br#"{"type":1,"timestamp":5}"#).unwrap().data, None);
    }

    #[test]
    fn an_event_is_checked_to_its_last_byte() {
        let event = br#"{"type":3,"data":{"source":2,"type":2,"id":7},"timestamp":1795226820022}"#;
        assert_eq!(EventHead::check(event, 8), EventHead::read(event));
        for raw in
            [&b"null"[..], br#"{"type":3,"timestamp":1} "#, br#"{"type":3,"timestamp":1,"a":tru}"#, br#"{"type":3}"#]
        {
            assert_eq!(EventHead::check(raw, 8), None, "{}", String::from_utf8_lossy(raw));
        }
        let deep = |levels| format!(r#"{{"type":3,"timestamp":1,"a":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
        assert!(EventHead::check(deep(7).as_bytes(), 8).is_some());
        assert!(EventHead::check(deep(8).as_bytes(), 8).is_none());
    }

    #[test]
    fn a_compressed_snapshot_has_a_head() {
        let head = EventHead::read(br#"{"type":2,"data":"\u001f","cv":"2024-10","timestamp":5}"#).unwrap();
        assert_eq!((head.kind, head.source, head.cv), (2, None, Some(&b"\"2024-10\""[..])));
    }

    #[test]
    fn snapshot_data_is_an_array_or_one_event() {
        assert_eq!(events(br#"[{"type":1}, {"type":2}]"#).count(), 2);
        assert_eq!(events(br#"{"type":1}"#).collect::<Vec<_>>(), [br#"{"type":1}"#]);
        assert_eq!(events(b"[]").count() + events(b"\"text\"").count() + events(b"").count(), 0);
    }
}
