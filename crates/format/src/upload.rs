//! Uploads as clients send them: undoing the outer coding, then finding the items within.
//!
//! Clients disagree about everything: some send gzip and call it plain text, some send forms of base64, proxies strip
//! content types and turn `+` into blanks. So the bytes decide, and headers are asked only where bytes cannot tell.
//!
//! [`inflate`] turns a body into JSON text; [`scan`] checks that text and lists its items as slices of it, and [`rescan`]
//! lists them again with their events. None builds values, and all are bounded by [`Limits`].

use std::borrow::Cow;

use crate::event::EventHead;
use crate::id::UploadId;
use crate::json::{JsonError, skip_blanks, without_mark};
use crate::limits::Limits;

mod form;
pub(crate) mod gzip;
mod lz;
mod scan;
mod time;

use gzip::{GunzipError, gunzip_at, inflates_past, is_gzip};
use lz::LzError;
pub use scan::{rescan, scan};
pub use time::parse_time_ms;

/// gzip within gzip happens where a proxy compresses what was compressed. More than that is an attack.
const GZIP_LAYERS_MAX: usize = 2;

/// LZ-string is decoded to UTF-16 first, so on the way it takes this many times the memory of what comes out.
const LZ_MEMORY_FACTOR: usize = 3;

/// What there is too much of when [`Limits::inflated_bytes_max`] or the ratio is passed, in [`DecodeError::TooLarge`].
pub const INFLATED_BYTES: &str = "bytes inflated";

/// The event name of a piece of a recording.
pub const SNAPSHOT: &str = "$snapshot";

/// Why an upload cannot be taken. None of these gets better by sending it again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// There is no body, or no item in it.
    #[error("the upload holds nothing")]
    Empty,
    /// A limit was passed; [`Limits`] says which there are.
    #[error("the upload is too large: more than {limit} {what}")]
    TooLarge {
        /// What there is too much of, with its unit.
        what: &'static str,
        /// The most that would have been taken.
        limit: usize,
    },
    /// The bytes are not what any client sends.
    #[error("the upload is malformed at byte {at}: expected {what}")]
    Malformed {
        /// What was expected.
        what: &'static str,
        /// Offset in bytes, in the innermost text that could be decoded.
        at: usize,
    },
}

impl From<JsonError> for DecodeError {
    fn from(error: JsonError) -> Self {
        Self::Malformed { what: error.expected, at: error.at }
    }
}

/// A body as it came, with all that may tell how it is coded.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wire<'a> {
    /// The bytes. For a GET request: `data=` and the value of that query parameter.
    pub body: &'a [u8],
    /// The `Content-Type` header.
    pub content_type: Option<&'a str>,
    /// The `compression` query parameter.
    pub compression: Option<&'a str>,
}

/// What one upload holds.
#[derive(Debug, Clone, Default)]
pub struct Upload<'a> {
    /// The project key of the envelope. Items may have their own.
    pub token: Option<String>,
    /// When the client sent the envelope, by its clock, in ms since 1970.
    pub sent_at_ms: Option<i64>,
    /// The items in the order sent, those that cannot be kept included.
    pub items: Vec<Item<'a>>,
}

/// One event of the client protocol: a piece of a recording (`$snapshot`) or an analytics event.
///
/// A field is `None` when it is missing, or has a type that no client would give it.
#[derive(Debug, Clone, Default)]
pub struct Item<'a> {
    /// Position in the upload.
    pub index: usize,
    /// The whole item as sent.
    pub raw: &'a [u8],
    /// What happened: `$snapshot`, `$pageview`, …; empty when the item does not say.
    pub name: String,
    /// The client's id of this item, the same over all retries.
    pub uuid: Option<UploadId>,
    /// The project key, of the item or else of its properties. Not checked.
    pub token: Option<String>,
    /// Who: at most 200 characters, without NUL. Numbers and the like are their JSON text.
    pub distinct_id: Option<String>,
    /// `$session_id`, which names the recording. Not checked; see [`Item::refusal`].
    pub session_id: Option<String>,
    /// `$window_id`: the tab or frame.
    pub window_id: Option<String>,
    /// When it happened by the client's clock, in ms since 1970.
    pub timestamp_ms: Option<i64>,
    /// How long before sending it happened, in ms. Stale on retries.
    pub offset_ms: Option<i64>,
    /// When the client sent it, by its clock, in ms since 1970.
    pub sent_at_ms: Option<i64>,
    /// `$lib`.
    pub library: Option<String>,
    /// `$lib_version`.
    pub library_version: Option<String>,
    /// `$snapshot_source`: `web` or `mobile`.
    pub source: Option<String>,
    /// The raw `$snapshot_data`: an array of rrweb events, or a single one. See [`crate::event::events`].
    pub data: Option<&'a [u8]>,
    /// How many rrweb events `data` holds.
    pub event_count: usize,
    /// These events, as sent and with their heads where they have one. [`scan`] leaves them out.
    pub events: Vec<(&'a [u8], Option<EventHead<'a>>)>,
    /// The raw `properties`.
    pub properties: Option<&'a [u8]>,
    /// Why this item can never be kept. `None` when it can.
    pub refusal: Option<&'static str>,
}

impl Item<'_> {
    /// Whether this is a piece of a recording.
    pub fn is_snapshot(&self) -> bool {
        self.name == SNAPSHOT
    }

    /// What tells this item from others over all retries: the client's `uuid`, or else a hash of what it holds.
    pub fn upload_id(&self) -> UploadId {
        self.uuid.unwrap_or_else(|| self.content_id())
    }

    fn content_id(&self) -> UploadId {
        let mut hasher = blake3::Hasher::new();
        let session = self.session_id.as_deref().unwrap_or_default();
        let window = self.window_id.as_deref().unwrap_or_default();
        let content = self.data.unwrap_or(self.raw);
        for part in [session.as_bytes(), window.as_bytes(), content] {
            // The length goes first, because "a" + "bc" and "ab" + "c" are different items.
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let mut id = UploadId::default();
        hasher.finalize_xof().fill(&mut id);
        id
    }
}

/// Undoes the outer coding of a body: raw gzip, forms, base64, LZ-string, plain JSON, and gzip within these.
///
/// The result begins with `{` or `[` after blanks and an optional byte order mark; whether it is JSON is for [`scan`]
/// to find out. It is borrowed when there was nothing to undo.
///
/// # Errors
///
/// [`DecodeError::Empty`] without a body, [`DecodeError::TooLarge`] past a limit, and [`DecodeError::Malformed`] for
/// bytes that are none of these forms.
pub fn inflate<'a>(wire: &Wire<'a>, limits: &Limits) -> Result<Cow<'a, [u8]>, DecodeError> {
    inflate_into(wire, limits, Vec::new())
}

/// Does as [`inflate`], and puts what it inflates into memory that was used before, which an owned result gives back.
///
/// # Errors
///
/// Those of [`inflate`].
pub fn inflate_into<'a>(wire: &Wire<'a>, limits: &Limits, memory: Vec<u8>) -> Result<Cow<'a, [u8]>, DecodeError> {
    if wire.body.len() > limits.body_bytes_max {
        return Err(DecodeError::TooLarge { what: "bytes of body", limit: limits.body_bytes_max });
    }
    let mut peeler = Peeler::new(wire.body.len(), limits, memory);
    let mut bytes = peeler.gunzip_layers(Cow::Borrowed(wire.body))?;
    let mut hint = wire.compression.map(str::to_owned);
    if !is_json(&bytes)
        && form::is_form(&bytes, wire.content_type)
        && let Some(form) = form::read_form(&bytes)
    {
        hint = hint.or(form.compression);
        bytes = peeler.gunzip_layers(Cow::Owned(form.data))?;
    }
    if bytes.trim_ascii().is_empty() {
        return Err(DecodeError::Empty);
    }
    if !is_json(&bytes) {
        bytes = peeler.decode_text(&bytes, hint.as_deref())?;
    }
    if bytes.len() > limits.inflated_bytes_max {
        return Err(DecodeError::TooLarge { what: INFLATED_BYTES, limit: limits.inflated_bytes_max });
    }
    if is_json(&bytes) { Ok(bytes) } else { Err(DecodeError::Malformed { what: "JSON, gzip or base64", at: 0 }) }
}

/// Whether a body can be refused by its first bytes: it is gzip, and they alone inflate past the limits. For bodies of
/// which more is to come; [`inflate`] judges the whole.
pub fn is_bomb(first_bytes: &[u8], limits: &Limits) -> bool {
    is_gzip(first_bytes)
        && inflates_past(first_bytes, limits.inflated_bytes_max.min(limits.inflated_bytes_for(first_bytes.len())))
}

/// Takes codings off a body and remembers how many there were.
struct Peeler {
    gzip_layers: usize,
    inflated_bytes_max: usize,
    /// Memory for the first gzip.
    memory: Vec<u8>,
}

impl Peeler {
    fn new(body_bytes: usize, limits: &Limits, memory: Vec<u8>) -> Self {
        // The ratio is taken of what came over the wire, so nesting does not multiply it.
        let inflated_bytes_max = limits.inflated_bytes_max.min(limits.inflated_bytes_for(body_bytes));
        Self { gzip_layers: 0, inflated_bytes_max, memory }
    }

    fn gunzip_layers<'a>(&mut self, mut bytes: Cow<'a, [u8]>) -> Result<Cow<'a, [u8]>, DecodeError> {
        while is_gzip(&bytes) {
            if self.gzip_layers == GZIP_LAYERS_MAX {
                return Err(DecodeError::Malformed { what: "no more gzip within gzip", at: 0 });
            }
            self.gzip_layers += 1;
            let mut inflated = std::mem::take(&mut self.memory);
            gunzip_at(&bytes, self.inflated_bytes_max, 0, &mut inflated).map_err(|error| match error {
                GunzipError::TooLarge => self.too_large(),
                GunzipError::Corrupt => DecodeError::Malformed { what: "intact gzip", at: 0 },
            })?;
            bytes = Cow::Owned(inflated);
        }
        Ok(bytes)
    }

    /// Undoes LZ-string where the hint says so, else base64 and what it wraps.
    fn decode_text(&mut self, text: &[u8], hint: Option<&str>) -> Result<Cow<'static, [u8]>, DecodeError> {
        if matches!(hint, Some("lz64" | "lz-string")) {
            let decoded_bytes_max = self.inflated_bytes_max / LZ_MEMORY_FACTOR;
            return match lz::decode_lz(text.trim_ascii(), decoded_bytes_max) {
                Ok(decoded) => Ok(Cow::Owned(decoded)),
                Err(LzError::TooLarge) => Err(self.too_large()),
                Err(LzError::Corrupt) => Err(DecodeError::Malformed { what: "intact LZ-string", at: 0 }),
            };
        }
        let decoded =
            form::decode_base64(text).ok_or(DecodeError::Malformed { what: "JSON, gzip or base64", at: 0 })?;
        self.gunzip_layers(Cow::Owned(decoded))
    }

    fn too_large(&self) -> DecodeError {
        DecodeError::TooLarge { what: INFLATED_BYTES, limit: self.inflated_bytes_max }
    }
}

fn is_json(bytes: &[u8]) -> bool {
    let text = without_mark(bytes);
    matches!(text.get(skip_blanks(text, 0)), Some(b'{' | b'['))
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::gzip::tests::gzip;
    use super::*;

    /// Text whose base64 has characters that forms and URLs treat specially.
    const JSON: &str = "[{\"event\":\">>>???\u{fb}\u{ff}~~~\"}]";

    fn inflated(body: &[u8], content_type: Option<&str>, compression: Option<&str>) -> Result<String, DecodeError> {
        let wire = Wire { body, content_type, compression };
        inflate(&wire, &Limits::default()).map(|json| String::from_utf8(json.into_owned()).unwrap())
    }

    #[test]
    fn every_form_of_a_body_gives_the_same_json() {
        let form_type = Some("application/x-www-form-urlencoded");
        let standard = STANDARD.encode(JSON);
        let escaped = standard.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        let packed = gzip(JSON.as_bytes());
        for (body, content_type, compression) in [
            (JSON.as_bytes().to_vec(), Some("application/json"), None),
            (JSON.as_bytes().to_vec(), form_type, None),
            (packed.clone(), Some("text/plain"), None),
            (packed.clone(), form_type, Some("base64")),
            (gzip(&packed), None, Some("gzip-js")),
            (format!("data={escaped}").into_bytes(), form_type, None),
            (format!("data={escaped}&compression=base64").into_bytes(), None, None),
            (format!("data={standard}").into_bytes(), None, Some("base64")),
            (format!("data={}", standard.replace('+', " ")).into_bytes(), None, None),
            (format!("ver=1&data={}", URL_SAFE_NO_PAD.encode(&packed)).into_bytes(), form_type, None),
            (standard.clone().into_bytes(), None, None),
            (STANDARD.encode(&packed).into_bytes(), Some("text/plain"), None),
            (gzip(format!("data={escaped}").as_bytes()), None, None),
        ] {
            let shown = String::from_utf8_lossy(&body).into_owned();
            assert_eq!(inflated(&body, content_type, compression).as_deref(), Ok(JSON), "{shown}");
        }
        assert_eq!(inflated(b"data=%5B%22a+b%22%5D", None, None).unwrap(), "[\"a b\"]");
    }

    #[test]
    fn plain_json_is_borrowed() {
        let wire = Wire { body: b"\xef\xbb\xbf [1]", ..Wire::default() };
        assert!(matches!(inflate(&wire, &Limits::default()), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn nothing_is_empty() {
        for body in [&b""[..], b" \n", b"data=", b"data=&compression=base64", &gzip(b"")] {
            assert_eq!(inflated(body, None, None), Err(DecodeError::Empty));
        }
    }

    #[test]
    fn other_bytes_are_malformed() {
        for body in [&b"hello, world"[..], b"\x1f\x8b", b"data=%", b"null", b"\xff\xff", &gzip(b"x y")] {
            let error = inflated(body, None, None).unwrap_err();
            assert!(matches!(error, DecodeError::Malformed { .. }), "{error}");
        }
    }

    #[test]
    fn one_gzip_within_gzip_is_taken_and_no_more() {
        let twice = gzip(&gzip(JSON.as_bytes()));
        assert_eq!(inflated(&twice, None, None).as_deref(), Ok(JSON));
        let error = inflated(&gzip(&twice), None, None).unwrap_err();
        assert!(matches!(error, DecodeError::Malformed { .. }));
    }

    #[test]
    fn limits_are_named_on_both_sides() {
        let limits = Limits { body_bytes_max: 100, inflated_bytes_max: 50, ..Limits::default() };
        let text = |bytes: usize| format!("[{}]", " ".repeat(bytes - 2)).into_bytes();
        let result = |body: &[u8]| inflate(&Wire { body, ..Wire::default() }, &limits).map(|json| json.len());
        let too_large = |what, limit| Err(DecodeError::TooLarge { what, limit });
        assert_eq!((result(&text(50)), result(&text(51))), (Ok(50), too_large("bytes inflated", 50)));
        assert_eq!((result(&gzip(&text(50))), result(&gzip(&text(51)))), (Ok(50), too_large("bytes inflated", 50)));
        assert_eq!(result(&text(101)), too_large("bytes of body", 100));
    }

    #[test]
    fn a_bomb_stops_at_the_ratio() {
        let bomb = gzip(&vec![b' '; 8 << 20]);
        let wire = Wire { body: &bomb, ..Wire::default() };
        let limit = Limits::default().inflated_bytes_for(bomb.len());
        assert!(limit < 8 << 20);
        assert_eq!(inflate(&wire, &Limits::default()), Err(DecodeError::TooLarge { what: INFLATED_BYTES, limit }));
    }

    #[test]
    fn items_without_uuid_are_told_apart_by_what_they_hold() {
        let item = |session: &str, window: &str, data| Item {
            session_id: Some(session.to_owned()),
            window_id: Some(window.to_owned()),
            data: Some(data),
            ..Item::default()
        };
        let id = item("a", "bc", b"[]").upload_id();
        assert_eq!(id, item("a", "bc", b"[]").upload_id());
        assert_ne!(id, item("ab", "c", b"[]").upload_id());
        assert_ne!(id, item("a", "bc", b"[1]").upload_id());
        assert_eq!(Item { uuid: Some([7; 16]), ..item("a", "b", b"[]") }.upload_id(), [7; 16]);
    }
}
