//! One record of the inbox: what is known of an upload, then its body.
//!
//! A body that comes as JSON is packed, because what takes time in a durable answer is the bytes that the disk has to
//! write. Others are packed by those who send them.

use std::borrow::Cow;

use bytes::Bytes;
use reelcase_format::id::{ProjectKey, RecordingId, UploadId};
use serde::{Deserialize, Serialize};

use crate::spool::Onward;

/// JSON bodies of these sizes are packed. Shorter ones gain nothing; longer ones, which hardly anybody sends, would keep
/// other connections waiting.
const PACKED_BODY_BYTES: std::ops::RangeInclusive<usize> = 4 << 10..=512 << 10;

/// Level of zstd for them, one of the fast ones: packing must take less than the writing it saves.
const PACKED_BODY_LEVEL: i32 = -3;

/// What becomes of one event of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemKind {
    /// A `$snapshot`: rrweb events of a recording.
    Snapshot,
    /// An analytics event that belongs to a recording.
    Event,
    /// An analytics event without a recording that tells who somebody is.
    Person,
}

/// One event of an upload that is to be kept. Those that are not named are dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemRef {
    /// Position in the upload, from 0.
    pub index: u32,
    /// What it is.
    pub kind: ItemKind,
    /// Its identity over retries.
    #[serde(with = "upload_hex")]
    pub upload: UploadId,
    /// The recording it belongs to; none for [`ItemKind::Person`].
    pub recording: Option<RecordingId>,
}

/// An upload that was found good and is to be made durable.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// Whose it is.
    pub project: ProjectKey,
    /// When it arrived, milliseconds since the epoch, server clock.
    pub received_at_ms: i64,
    /// The request's content type, which helps to undo the coding.
    pub content_type: Option<String>,
    /// The request's `compression` parameter, likewise.
    pub compression: Option<String>,
    /// The client's user agent: names the library where the events do not.
    pub user_agent: Option<String>,
    /// Bytes of the body once its coding is undone: what reading it takes.
    pub inflated_bytes: u64,
    /// The body as it came.
    pub body: Bytes,
    /// The events to keep.
    pub items: Vec<ItemRef>,
    /// What to tell PostHog, if it is to be sent on from here.
    pub onward: Option<Onward>,
}

/// What a record says before the body.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RecordHead {
    pub(crate) project: ProjectKey,
    pub(crate) received_at_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) compression: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user_agent: Option<String>,
    /// 0 where nobody counted.
    #[serde(default)]
    pub(crate) inflated_bytes: u64,
    /// Bytes of the body as it came, where it lies here packed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) packed_from_bytes: Option<usize>,
    pub(crate) items: Vec<ItemRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) onward: Option<Onward>,
}

/// A record that this program never wrote.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Its head is longer than the record, or is not JSON.
    #[error("an inbox record of {record_bytes} bytes has no readable head")]
    Head {
        /// Bytes of the record.
        record_bytes: usize,
    },
    /// Its body is not what was packed.
    #[error("the body of an inbox record cannot be unpacked to {body_bytes} bytes")]
    Body {
        /// Bytes of the body, as its head has them.
        body_bytes: usize,
    },
}

/// Lays an upload out as the parts of one record: length of the head, head, body.
pub(crate) fn encode(upload: Accepted) -> (RecordHead, Vec<Bytes>) {
    let packed = packed(&upload.body);
    let head = RecordHead {
        project: upload.project,
        received_at_ms: upload.received_at_ms,
        content_type: upload.content_type,
        compression: upload.compression,
        user_agent: upload.user_agent,
        inflated_bytes: upload.inflated_bytes,
        packed_from_bytes: packed.is_some().then_some(upload.body.len()),
        items: upload.items,
        onward: upload.onward,
    };
    let json = serde_json::to_vec(&head).unwrap_or_default();
    let len = u32::try_from(json.len()).unwrap_or(u32::MAX).to_le_bytes();
    (head, vec![Bytes::copy_from_slice(&len), Bytes::from(json), packed.unwrap_or(upload.body)])
}

fn packed(body: &Bytes) -> Option<Bytes> {
    if !PACKED_BODY_BYTES.contains(&body.len()) || !matches!(body.first(), Some(b'{' | b'[')) {
        return None;
    }
    // A body that cannot be packed is kept as it is.
    let packed = zstd::bulk::compress(body, PACKED_BODY_LEVEL).ok()?;
    (packed.len() < body.len()).then(|| packed.into())
}

/// Splits a record into its head and the body as it lies there. [`RecordHead::body`] has it as it came.
pub(crate) fn decode(record: &[u8]) -> Result<(RecordHead, &[u8]), RecordError> {
    let broken = || RecordError::Head { record_bytes: record.len() };
    let (len, rest) = record.split_first_chunk::<4>().ok_or_else(broken)?;
    let len = usize::try_from(u32::from_le_bytes(*len)).map_err(|_| broken())?;
    let (json, body) = rest.split_at_checked(len).ok_or_else(broken)?;
    Ok((serde_json::from_slice(json).map_err(|_| broken())?, body))
}

impl RecordHead {
    /// The body as it came.
    pub(crate) fn body<'a>(&self, stored: &'a [u8]) -> Result<Cow<'a, [u8]>, RecordError> {
        let Some(body_bytes) = self.packed_from_bytes else { return Ok(Cow::Borrowed(stored)) };
        let body = zstd::bulk::decompress(stored, body_bytes.min(*PACKED_BODY_BYTES.end())).ok();
        body.filter(|body| body.len() == body_bytes).map(Cow::Owned).ok_or(RecordError::Body { body_bytes })
    }
}

mod upload_hex {
    use reelcase_format::id::{UploadId, upload_id_from_hex, upload_id_to_hex};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(id: &UploadId, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&upload_id_to_hex(id))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<UploadId, D::Error> {
        let text = String::deserialize(input)?;
        upload_id_from_hex(&text).ok_or_else(|| D::Error::custom("an upload id is 32 hex digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(body: Bytes) -> Accepted {
        Accepted {
            project: "phc_test".parse().unwrap(),
            received_at_ms: 1,
            content_type: None,
            compression: None,
            user_agent: None,
            inflated_bytes: body.len() as u64,
            body,
            items: vec![],
            onward: None,
        }
    }

    /// Bytes of the record's body, and the body that is read from it.
    fn there_and_back(body: &Bytes) -> (usize, Vec<u8>) {
        let record = encode(upload(body.clone())).1.concat();
        let (head, stored) = decode(&record).unwrap();
        (stored.len(), head.body(stored).unwrap().into_owned())
    }

    #[test]
    fn bodies_of_json_are_packed_and_come_back_as_they_were() {
        let body = Bytes::from(format!("[{}]", [r#"{"event":"$snapshot"}"#; 400].join(",")));
        let (stored_bytes, back) = there_and_back(&body);
        assert!(stored_bytes < body.len() / 10, "{stored_bytes}");
        assert_eq!(back, body);
    }

    #[test]
    fn bodies_that_gain_nothing_lie_there_as_they_came() {
        let noise: Vec<u8> =
            (0..9_000_u32).flat_map(|n| blake3::hash(&n.to_le_bytes()).as_bytes()[..1].to_vec()).collect();
        let gzip = Bytes::from([&[0x1f, 0x8b][..], &noise].concat());
        let short = Bytes::from_static(b"[1,2,3]");
        let long = Bytes::from([b"[", &[b' '; 600 << 10][..], b"]"].concat());
        for body in [gzip, short, long, Bytes::from([b"{", noise.as_slice()].concat())] {
            assert_eq!(there_and_back(&body), (body.len(), body.to_vec()));
        }
    }

    #[test]
    fn a_body_that_is_not_what_was_packed_is_an_error() {
        let mut head = encode(upload(Bytes::from(vec![b'['; 5_000]))).0;
        let stored = zstd::bulk::compress(&[b'['; 5_000], 1).unwrap();
        assert!(head.body(&stored).is_ok());
        assert!(head.body(&stored[1..]).is_err());
        for other in [0, 4_999, 5_001, usize::MAX] {
            head.packed_from_bytes = Some(other);
            assert!(head.body(&stored).is_err(), "{other}");
        }
    }
}
