//! One walk over the JSON of an upload, from which nothing is copied but a few short fields.

use std::borrow::Cow;

use super::{DecodeError, Item, Upload, parse_time_ms};
use crate::event::read_next;
use crate::id::{RecordingId, upload_id_from_hex};
use crate::json::{Cursor, JsonError, number, text, without_mark};
use crate::limits::Limits;

/// Longest distinct id, in characters (PostHog's capture service). Longer ones are cut.
const DISTINCT_ID_CHARACTERS_MAX: usize = 200;

/// Lists the items of an upload: an array of them, `{"api_key", "batch", "sent_at"}`, or a single one.
///
/// The whole text is checked, so slices handed out are JSON. An item with fields of wrong types loses these fields, and
/// one that can never be kept says so in [`Item::refusal`]; neither fails the items beside it.
///
/// # Errors
///
/// [`DecodeError::Malformed`] when the text is not JSON or has another shape, [`DecodeError::TooLarge`] past
/// `items_max` or `events_max`, and [`DecodeError::Empty`] when the list of items is empty.
pub fn scan<'a>(json: &'a [u8], limits: &Limits) -> Result<Upload<'a>, DecodeError> {
    walk(Cursor::new(without_mark(json), limits.nesting_max), limits, false)
}

/// Lists the items of an upload that [`scan`] took before, each with its events, [`Item::events`]. Nothing is checked
/// again but the shape, so this takes a fraction of the time.
///
/// # Errors
///
/// As [`scan`], where the text is another one after all.
pub fn rescan<'a>(json: &'a [u8], limits: &Limits) -> Result<Upload<'a>, DecodeError> {
    walk(Cursor::known(without_mark(json)), limits, true)
}

fn walk<'a>(mut cursor: Cursor<'a>, limits: &Limits, lists_events: bool) -> Result<Upload<'a>, DecodeError> {
    let mut scanner = Scanner { limits, lists_events, upload: Upload::default(), event_count: 0 };
    match cursor.peek() {
        None => return Err(DecodeError::Empty),
        Some(b'[') => scanner.items(&mut cursor)?,
        Some(b'{') => scanner.envelope_or_item(&mut cursor)?,
        Some(_) => return Err(DecodeError::Malformed { what: "an array or an object", at: cursor.at() }),
    }
    cursor.end()?;
    if scanner.upload.items.is_empty() { Err(DecodeError::Empty) } else { Ok(scanner.upload) }
}

struct Scanner<'a, 'l> {
    limits: &'l Limits,
    lists_events: bool,
    upload: Upload<'a>,
    /// rrweb events of all items so far.
    event_count: usize,
}

/// An item of which not all is known yet. What the item says outranks what its properties say.
#[derive(Default)]
struct Draft<'a> {
    item: Item<'a>,
    token_in_properties: Option<String>,
    distinct_id_in_properties: Option<String>,
}

impl<'a> Scanner<'a, '_> {
    fn items(&mut self, cursor: &mut Cursor<'a>) -> Result<(), DecodeError> {
        cursor.array(|cursor| {
            if self.upload.items.len() == self.limits.items_max {
                return Err(DecodeError::TooLarge { what: "items", limit: self.limits.items_max });
            }
            let mut draft = Draft::default();
            let start = start_of_next(cursor);
            if cursor.peek() == Some(b'{') {
                cursor.object(|cursor, key| self.item_member(cursor, key, &mut draft))?;
            } else {
                cursor.value()?;
                draft.item.refusal = Some("item_not_an_object");
            }
            draft.item.raw = cursor.slice(start, cursor.at());
            self.keep(draft);
            Ok(())
        })
    }

    /// Reads a root object as an item, until a `batch` shows that it is an envelope.
    fn envelope_or_item(&mut self, cursor: &mut Cursor<'a>) -> Result<(), DecodeError> {
        let mut draft = Draft::default();
        let mut is_envelope = false;
        let start = start_of_next(cursor);
        cursor.object(|cursor, key| {
            if key == b"batch" && cursor.peek() == Some(b'[') {
                is_envelope = true;
                return self.items(cursor);
            }
            self.item_member(cursor, key, &mut draft)
        })?;
        self.upload.token = draft.item.token.clone();
        self.upload.sent_at_ms = draft.item.sent_at_ms;
        if !is_envelope {
            draft.item.raw = cursor.slice(start, cursor.at());
            self.keep(draft);
        }
        Ok(())
    }

    fn item_member(&mut self, cursor: &mut Cursor<'a>, key: &[u8], draft: &mut Draft<'a>) -> Result<(), DecodeError> {
        let item = &mut draft.item;
        match key {
            b"properties" => {
                let start = start_of_next(cursor);
                if cursor.peek() == Some(b'{') {
                    cursor.object(|cursor, key| self.property(cursor, key, draft))?;
                    draft.item.properties = Some(cursor.slice(start, cursor.at()));
                }
            }
            b"event" => item.name = text_value(cursor)?.unwrap_or_default(),
            b"uuid" => item.uuid = text_value(cursor)?.and_then(|text| upload_id_from_hex(text.trim())),
            b"token" | b"$token" | b"api_key" => item.token = text_value(cursor)?.or(item.token.take()),
            b"distinct_id" | b"$distinct_id" => item.distinct_id = distinct_id(cursor)?.or(item.distinct_id.take()),
            b"timestamp" => item.timestamp_ms = time_value(cursor)?,
            b"sent_at" => item.sent_at_ms = time_value(cursor)?,
            // Some clients measure fractions of a millisecond.
            b"offset" => item.offset_ms = number(cursor.value()?).map(|offset| offset as i64),
            _ => {}
        }
        Ok(())
    }

    fn property(&mut self, cursor: &mut Cursor<'a>, key: &[u8], draft: &mut Draft<'a>) -> Result<(), DecodeError> {
        let item = &mut draft.item;
        match key {
            b"$session_id" => item.session_id = text_value(cursor)?,
            b"$window_id" => item.window_id = text_value(cursor)?,
            b"$lib" => item.library = text_value(cursor)?,
            b"$lib_version" => item.library_version = text_value(cursor)?,
            b"$snapshot_source" => item.source = text_value(cursor)?,
            b"$snapshot_data" => self.snapshot_data(cursor, item)?,
            b"token" => draft.token_in_properties = text_value(cursor)?,
            b"distinct_id" => draft.distinct_id_in_properties = distinct_id(cursor)?,
            _ => {}
        }
        Ok(())
    }

    fn snapshot_data(&mut self, cursor: &mut Cursor<'a>, item: &mut Item<'a>) -> Result<(), DecodeError> {
        let start = start_of_next(cursor);
        let before = self.event_count;
        match cursor.peek() {
            Some(b'[') => cursor.array(|cursor| self.event(cursor, item))?,
            Some(b'{') => self.event(cursor, item)?,
            _ => return Ok(()),
        }
        item.event_count = self.event_count - before;
        item.data = Some(cursor.slice(start, cursor.at()));
        Ok(())
    }

    fn event(&mut self, cursor: &mut Cursor<'a>, item: &mut Item<'a>) -> Result<(), DecodeError> {
        if self.lists_events {
            item.events.push(read_next(cursor)?);
        } else {
            cursor.value()?;
        }
        if self.event_count == self.limits.events_max {
            return Err(DecodeError::TooLarge { what: "rrweb events", limit: self.limits.events_max });
        }
        self.event_count += 1;
        Ok(())
    }

    fn keep(&mut self, draft: Draft<'a>) {
        let Draft { mut item, token_in_properties, distinct_id_in_properties } = draft;
        item.index = self.upload.items.len();
        item.token = item.token.or(token_in_properties);
        item.distinct_id = item.distinct_id.or(distinct_id_in_properties);
        item.refusal = item.refusal.or_else(|| refusal(&item, self.limits));
        self.upload.items.push(item);
    }
}

/// Why an item can never be kept, as a word for counters.
fn refusal(item: &Item<'_>, limits: &Limits) -> Option<&'static str> {
    if item.name.is_empty() {
        return Some("event_name_missing");
    }
    if !item.is_snapshot() {
        return None;
    }
    let window_bytes = item.window_id.as_ref().map_or(0, String::len);
    match &item.session_id {
        None => Some("session_id_missing"),
        Some(id) if id.parse::<RecordingId>().is_err() => Some("session_id_invalid"),
        Some(_) if item.data.is_none() => Some("snapshot_data_missing"),
        Some(_) if window_bytes > limits.window_id_bytes_max => Some("window_id_too_long"),
        Some(_) => None,
    }
}

fn start_of_next(cursor: &mut Cursor<'_>) -> usize {
    cursor.peek();
    cursor.at()
}

fn text_value(cursor: &mut Cursor<'_>) -> Result<Option<String>, JsonError> {
    Ok(text(cursor.value()?).map(Cow::into_owned))
}

fn time_value(cursor: &mut Cursor<'_>) -> Result<Option<i64>, JsonError> {
    Ok(text(cursor.value()?).and_then(|text| parse_time_ms(&text)))
}

/// Reads a distinct id as PostHog does: other types as their JSON text, NUL as U+FFFD, cut to its longest.
fn distinct_id(cursor: &mut Cursor<'_>) -> Result<Option<String>, JsonError> {
    let raw = cursor.value()?;
    if raw == b"null" {
        return Ok(None);
    }
    let id = text(raw).unwrap_or_else(|| String::from_utf8_lossy(raw));
    let kept = id.chars().take(DISTINCT_ID_CHARACTERS_MAX);
    Ok(Some(kept.map(|character| if character == '\0' { char::REPLACEMENT_CHARACTER } else { character }).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "01a1fbdb-8270-7135-9b23-544ab178fe70";

    fn scanned(json: &str) -> Result<Upload<'_>, DecodeError> {
        scan(json.as_bytes(), &Limits::default())
    }

    fn snapshot(properties: &str) -> String {
        format!("[{{\"event\":\"$snapshot\",\"properties\":{{{properties}}}}}]")
    }

    #[test]
    fn a_snapshot_gives_its_fields() {
        let json = format!(
            r#"[ {{"uuid":"{UUID}","event":"$snapshot","properties":{{"$snapshot_data":[{{"type":4}}, {{"type":2}}],
            "$session_id":"s-1","$window_id":"w","$lib":"web","$lib_version":"1.2","$snapshot_source":"mobile",
            "token":"phc_a","distinct_id":"d"}},"timestamp":"1970-01-01T00:00:01Z","sent_at":"1970-01-01T00:00:02Z"}} ]"#
        );
        let upload = scanned(&json).unwrap();
        let item = &upload.items[0];
        assert!(item.is_snapshot() && item.refusal.is_none());
        assert_eq!((item.upload_id()[0], item.event_count), (1, 2));
        assert_eq!(item.data, Some(&br#"[{"type":4}, {"type":2}]"#[..]));
        assert_eq!((item.token.as_deref(), item.distinct_id.as_deref()), (Some("phc_a"), Some("d")));
        assert_eq!((item.session_id.as_deref(), item.window_id.as_deref()), (Some("s-1"), Some("w")));
        assert_eq!((item.library.as_deref(), item.library_version.as_deref()), (Some("web"), Some("1.2")));
        assert_eq!((item.source.as_deref(), item.offset_ms), (Some("mobile"), None));
        assert_eq!((item.timestamp_ms, item.sent_at_ms), (Some(1000), Some(2000)));
        assert_eq!(item.raw, &json.as_bytes()[2..json.len() - 2]);
        assert!(item.properties.unwrap().starts_with(b"{\"$snapshot_data\""));
    }

    #[test]
    fn an_envelope_may_name_its_batch_first() {
        let upload = scanned(
            r#"{"batch":[{"event":"a","offset":12.7},{"event":"b","api_key":"own"}],"api_key":"k","sent_at":"1970-01-01"}"#,
        )
        .unwrap();
        assert_eq!((upload.token.as_deref(), upload.sent_at_ms), (Some("k"), Some(0)));
        assert_eq!((upload.items[0].index, upload.items[0].offset_ms), (0, Some(12)));
        assert_eq!((upload.items[1].index, upload.items[1].token.as_deref()), (1, Some("own")));
    }

    #[test]
    fn one_event_is_an_upload() {
        let upload = scanned("\u{feff} {\"event\":\"$pageview\",\"$token\":\"k\",\"$distinct_id\":7} ").unwrap();
        assert_eq!((upload.token.as_deref(), upload.items.len()), (Some("k"), 1));
        assert_eq!(upload.items[0].distinct_id.as_deref(), Some("7"));
        assert_eq!(upload.items[0].raw.first(), Some(&b'{'));
    }

    #[test]
    fn the_item_outranks_its_properties() {
        let json = r#"[{"properties":{"token":"p","distinct_id":"p"},"token":"i","distinct_id":true,"event":"e"}]"#;
        let upload = scanned(json).unwrap();
        let item = &upload.items[0];
        assert_eq!((item.token.as_deref(), item.distinct_id.as_deref()), (Some("i"), Some("true")));
    }

    #[test]
    fn distinct_ids_are_cleaned_as_posthog_does() {
        let long = format!("[{{\"event\":\"e\",\"distinct_id\":\"a\\u0000{}\"}}]", "é".repeat(300));
        let upload = scanned(&long).unwrap();
        let id = upload.items[0].distinct_id.as_ref().unwrap();
        assert_eq!((id.chars().count(), id.chars().nth(1)), (200, Some('\u{fffd}')));
    }

    #[test]
    fn a_bad_item_leaves_its_neighbours_alone() {
        let json = r#"[7, null, {"event":9,"uuid":5,"timestamp":12,"properties":"x"},
            {"event":"e","uuid":"not one","properties":{"token":[],"$session_id":{}},"offset":"4"}, {"event":"good"}]"#;
        let items = scanned(json).unwrap().items;
        let refusals: Vec<_> = items.iter().map(|item| item.refusal).collect();
        let not_an_object = Some("item_not_an_object");
        assert_eq!(refusals, [not_an_object, not_an_object, Some("event_name_missing"), None, None]);
        assert_eq!((items[3].uuid, items[3].session_id.as_ref(), items[3].offset_ms), (None, None, None));
        assert_eq!((items[0].raw, items[4].name.as_str()), (&b"7"[..], "good"));
    }

    #[test]
    fn snapshots_that_cannot_be_kept_say_why() {
        let window =
            |bytes: usize| format!(r#""$session_id":"s","$snapshot_data":[],"$window_id":"{}""#, "w".repeat(bytes));
        for (properties, expected) in [
            (r#""$snapshot_data":[]"#, Some("session_id_missing")),
            (r#""$session_id":7,"$snapshot_data":[]"#, Some("session_id_missing")),
            (r#""$session_id":"a/b","$snapshot_data":[]"#, Some("session_id_invalid")),
            (r#""$session_id":"s""#, Some("snapshot_data_missing")),
            (r#""$session_id":"s","$snapshot_data":"text""#, Some("snapshot_data_missing")),
            (&window(129), Some("window_id_too_long")),
            (&window(128), None),
            (r#""$session_id":"s","$snapshot_data":{"type":4}"#, None),
        ] {
            let json = snapshot(properties);
            assert_eq!(scanned(&json).unwrap().items[0].refusal, expected, "{properties}");
        }
    }

    #[test]
    fn other_shapes_are_malformed_or_empty() {
        for json in ["[]", "", " ", "{\"batch\":[]}"] {
            assert_eq!(scanned(json).unwrap_err(), DecodeError::Empty, "{json}");
        }
        for (json, at) in [("7", 0), ("[{}", 3), ("[{}] x", 5), ("[{\"event\":\"e\",}]", 14)] {
            assert!(matches!(scanned(json), Err(DecodeError::Malformed { at: found, .. }) if found == at), "{json}");
        }
    }

    #[test]
    fn counts_stop_at_their_limits() {
        let limits = Limits { items_max: 2, events_max: 3, ..Limits::default() };
        let data = |events: usize| snapshot(&format!("\"$snapshot_data\":[{}]", vec!["1"; events].join(",")));
        assert!(scan(b"[1,2]", &limits).is_ok() && scan(data(3).as_bytes(), &limits).is_ok());
        let too_large = |what, limit| DecodeError::TooLarge { what, limit };
        assert_eq!(scan(b"[1,2,3]", &limits).unwrap_err(), too_large("items", 2));
        assert_eq!(scan(data(4).as_bytes(), &limits).unwrap_err(), too_large("rrweb events", 3));
    }

    #[test]
    fn escaped_names_are_names() {
        let upload = scanned(r#"[{"\u0065vent":"e"}]"#).unwrap();
        assert_eq!(upload.items[0].name, "e");
    }
}
