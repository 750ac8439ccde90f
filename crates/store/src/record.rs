//! One record of the inbox: what is known of an upload, then its body exactly as it came.

use bytes::Bytes;
use reelcase_format::id::{ProjectKey, RecordingId, UploadId};
use serde::{Deserialize, Serialize};

use crate::spool::Onward;

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

/// An upload that is to be made durable before anybody has looked into it.
#[derive(Debug, Clone, Default)]
pub struct Unsorted {
    /// When it arrived, milliseconds since the epoch, server clock.
    pub received_at_ms: i64,
    /// The request's content type, which helps to undo the coding.
    pub content_type: Option<String>,
    /// The request's `compression` parameter, likewise.
    pub compression: Option<String>,
    /// The client's user agent: names the library where the events do not.
    pub user_agent: Option<String>,
    /// The body as it came, piece by piece.
    pub body: Vec<Bytes>,
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
    /// `None` where nobody has looked into the upload yet, and the project says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) items: Option<Vec<ItemRef>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) onward: Option<Onward>,
}

impl RecordHead {
    /// The events to keep, as far as is known.
    pub(crate) fn items(&self) -> &[ItemRef] {
        self.items.as_deref().unwrap_or_default()
    }
}

/// A record whose head is longer than the record, or is not JSON: nothing this program ever wrote.
#[derive(Debug, thiserror::Error)]
#[error("an inbox record of {record_bytes} bytes has no readable head")]
pub struct RecordError {
    record_bytes: usize,
}

/// Lays an upload out as the parts of one record: length of the head, head, body.
pub(crate) fn encode(upload: Accepted) -> (RecordHead, Vec<Bytes>) {
    let head = RecordHead {
        project: upload.project,
        received_at_ms: upload.received_at_ms,
        content_type: upload.content_type,
        compression: upload.compression,
        user_agent: upload.user_agent,
        inflated_bytes: upload.inflated_bytes,
        items: Some(upload.items),
        onward: upload.onward,
    };
    let parts = lay_out(&head, [upload.body]);
    (head, parts)
}

/// Does as [`encode`], for one that nobody has looked into.
pub(crate) fn encode_unsorted(upload: Unsorted) -> Vec<Bytes> {
    let head = RecordHead {
        project: ProjectKey::nobody(),
        received_at_ms: upload.received_at_ms,
        content_type: upload.content_type,
        compression: upload.compression,
        user_agent: upload.user_agent,
        inflated_bytes: 0,
        items: None,
        onward: None,
    };
    lay_out(&head, upload.body)
}

fn lay_out(head: &RecordHead, body: impl IntoIterator<Item = Bytes>) -> Vec<Bytes> {
    let json = serde_json::to_vec(head).unwrap_or_default();
    let len = u32::try_from(json.len()).unwrap_or(u32::MAX).to_le_bytes();
    [Bytes::copy_from_slice(&len), Bytes::from(json)].into_iter().chain(body).collect()
}

/// Splits a record into its head and the body.
pub(crate) fn decode(record: &[u8]) -> Result<(RecordHead, &[u8]), RecordError> {
    let broken = || RecordError { record_bytes: record.len() };
    let (len, rest) = record.split_first_chunk::<4>().ok_or_else(broken)?;
    let len = usize::try_from(u32::from_le_bytes(*len)).map_err(|_| broken())?;
    let (json, body) = rest.split_at_checked(len).ok_or_else(broken)?;
    Ok((serde_json::from_slice(json).map_err(|_| broken())?, body))
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
