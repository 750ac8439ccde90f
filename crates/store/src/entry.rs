//! What an object tells the catalog, from its index alone, so that sealing, compacting and rebuilding cannot disagree.

use reelcase_format::reel::{Index, RecordingEntry};
use serde_json::Value;

use crate::catalog::{BlockRow, CatalogCommit, ObjectKind, ObjectRow, PersonChange, RecordingDelta, SealedUpload};
use crate::objects::Listed;

/// Metadata of an object: `batch` or `compacted`. Absent means a batch, as in a file that somebody placed there.
pub(crate) const KIND: &str = "kind";
/// Metadata of an object: when it was made, ms since the epoch, server clock.
pub(crate) const SEALED_AT: &str = "sealed_at_ms";
/// Metadata of an object: ids of the objects whose blocks of no recording are in this one.
pub(crate) const CARRIES: &str = "carries";
/// Metadata of a recording: when its last upload was sealed. Absent means with the object.
pub(crate) const UPDATED_AT: &str = "updated_at_ms";

/// A kind as the metadata of an object names it.
pub(crate) fn kind_name(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Batch => "batch",
        ObjectKind::Compacted => "compacted",
    }
}

/// The ids that an object's metadata says it carries.
pub(crate) fn carries(index: &Index) -> Vec<String> {
    let ids = index.metadata.get(CARRIES).and_then(Value::as_array);
    ids.into_iter().flatten().filter_map(|id| id.as_str().map(str::to_owned)).collect()
}

/// What the catalog is to be told of an object: all that its index says, and `persons`, which its blocks say.
pub(crate) fn commit_of(index: &Index, object: &Listed, persons: Vec<PersonChange>) -> CatalogCommit {
    let is_compacted = index.metadata.get(KIND).and_then(Value::as_str) == Some(kind_name(ObjectKind::Compacted));
    let now_ms = index.metadata.get(SEALED_AT).and_then(Value::as_i64).unwrap_or_default();
    let recordings: Vec<_> = index.recordings.iter().map(|entry| delta_of(entry, now_ms)).collect();
    CatalogCommit {
        object: ObjectRow {
            seq: object.seq,
            key: object.id.clone(),
            kind: if is_compacted { ObjectKind::Compacted } else { ObjectKind::Batch },
            stored_bytes: object.stored_bytes,
            recording_count: recordings.len() as u64,
        },
        recordings,
        blocks: blocks_of(index, &object.id),
        project_block_count: index.blocks.iter().filter(|entry| entry.head.recording.is_none()).count() as u64,
        carried: carries(index),
        uploads: uploads_of(index),
        persons,
        now_ms,
    }
}

fn delta_of(entry: &RecordingEntry, now_ms: i64) -> RecordingDelta {
    RecordingDelta {
        project: entry.project.clone(),
        id: entry.id.clone(),
        summary: entry.summary.clone(),
        updated_at_ms: entry.metadata.get(UPDATED_AT).and_then(Value::as_i64).unwrap_or(now_ms),
        replaces: entry.replaces.clone(),
    }
}

fn blocks_of(index: &Index, object: &str) -> Vec<BlockRow> {
    (0u32..).zip(&index.blocks).filter_map(|(ordinal, _)| block_of(index, object, ordinal)).collect()
}

/// One block, unless it is of no recording.
pub(crate) fn block_of(index: &Index, object: &str, ordinal: u32) -> Option<BlockRow> {
    let entry = index.blocks.get(usize::try_from(ordinal).ok()?)?;
    let head = &entry.head;
    Some(BlockRow {
        project: head.project.clone(),
        recording: head.recording.clone()?,
        object: object.to_owned(),
        block: ordinal,
        offset: entry.offset,
        stored_bytes: head.stored_bytes,
        plain_bytes: head.plain_bytes,
        start_ms: head.start_ms,
        end_ms: head.end_ms,
        event_count: head.event_count,
        windows: head.windows.clone(),
        keyframes: head.keyframes.clone(),
        kind: head.kind,
        hash: head.hash,
    })
}

fn uploads_of(index: &Index) -> Vec<SealedUpload> {
    let of_blocks = index.blocks.iter().flat_map(|entry| {
        let head = &entry.head;
        head.uploads.iter().map(|upload| SealedUpload {
            project: head.project.clone(),
            recording: head.recording.clone(),
            upload: *upload,
        })
    });
    let of_recordings = index.recordings.iter().flat_map(|entry| {
        entry.uploads.iter().map(|upload| SealedUpload {
            project: entry.project.clone(),
            recording: Some(entry.id.clone()),
            upload: *upload,
        })
    });
    of_blocks.chain(of_recordings).collect()
}
