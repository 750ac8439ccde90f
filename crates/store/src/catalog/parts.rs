//! What the compactor asks: which recordings are finished, and what they consist of.

use std::collections::HashMap;

use reelcase_format::id::{ProjectKey, RecordingId, UploadId};
use reelcase_format::reel::BlockRef;
use rusqlite::{Connection, params};

use super::commit::signed;
use super::rows::{self, count, unsigned};
use super::sqlite::Failure;
use super::{Candidate, Part};

pub(super) fn candidates(db: &Connection, idle_since_ms: i64, limit: usize) -> Result<Vec<Candidate>, Failure> {
    let mut select = db.prepare_cached(
        "SELECT p.key, r.recording, r.updated_at_ms, r.stored_bytes
         FROM recordings r JOIN projects p ON p.id = r.project_id
         WHERE r.hot_block_count > 0 AND r.updated_at_ms <= ?1 ORDER BY r.updated_at_ms, r.id LIMIT ?2",
    )?;
    read_candidates(select.query([idle_since_ms, signed(count(limit))])?)
}

/// Those in batches are rewritten anyway, once they are finished.
pub(super) fn erasure_candidates(db: &Connection, limit: usize) -> Result<Vec<Candidate>, Failure> {
    let mut select = db.prepare_cached(
        "SELECT p.key, r.recording, r.updated_at_ms, r.stored_bytes
         FROM objects o CROSS JOIN blocks b ON b.object_seq = o.seq CROSS JOIN recordings r ON r.id = b.recording_id
         CROSS JOIN projects p ON p.id = r.project_id
         WHERE o.is_to_erase = 1 AND o.kind = 'compacted' GROUP BY r.id ORDER BY min(o.seq), r.id LIMIT ?1",
    )?;
    read_candidates(select.query([signed(count(limit))])?)
}

fn read_candidates(mut found: rusqlite::Rows<'_>) -> Result<Vec<Candidate>, Failure> {
    let mut candidates = Vec::new();
    while let Some(row) = found.next()? {
        let (project, id): (String, String) = (row.get(0)?, row.get(1)?);
        let (updated_at_ms, stored_bytes) = (row.get(2)?, unsigned(row, 3)?);
        candidates.push(Candidate { project: project.parse()?, id: id.parse()?, updated_at_ms, stored_bytes });
    }
    Ok(candidates)
}

pub(super) fn parts(db: &Connection, project: &ProjectKey, id: &RecordingId) -> Result<Vec<Part>, Failure> {
    let mut blocks: HashMap<String, Vec<_>> = HashMap::new();
    for block in rows::blocks(db, project, id)? {
        blocks.entry(block.object.clone()).or_default().push(block);
    }
    let mut select = db.prepare_cached(
        "SELECT o.seq, o.key, o.kind, o.stored_bytes, o.recording_count, s.summary, s.uploads, s.replaces,
           o.is_to_erase
         FROM projects p
         JOIN recordings r ON r.recording = ?2 AND r.project_id = p.id
         JOIN parts s ON s.recording_id = r.id
         JOIN objects o ON o.seq = s.object_seq
         WHERE p.key = ?1 ORDER BY o.seq",
    )?;
    let mut found = select.query([project.as_str(), id.as_str()])?;
    let mut parts = Vec::new();
    while let Some(row) = found.next()? {
        let object = rows::object_row(row)?;
        let (summary, uploads, replaces): (String, Vec<u8>, String) = (row.get(5)?, row.get(6)?, row.get(7)?);
        let mut blocks = blocks.remove(&object.key).unwrap_or_default();
        blocks.sort_by_key(|block| block.block);
        parts.push(Part {
            object,
            summary: serde_json::from_str(&summary)?,
            is_to_erase: row.get(8)?,
            uploads: remembered(db, project, &uploads)?,
            replaces: existing(db, serde_json::from_str(&replaces)?)?,
            blocks,
        });
    }
    Ok(parts)
}

fn remembered(db: &Connection, project: &ProjectKey, uploads: &[u8]) -> Result<Vec<UploadId>, Failure> {
    let (uploads, _) = uploads.as_chunks::<16>();
    let is_remembered = rows::sealed_uploads(db, project, uploads)?;
    Ok(uploads.iter().zip(is_remembered).filter(|(_, is_remembered)| *is_remembered).map(|(id, _)| *id).collect())
}

fn existing(db: &Connection, refs: Vec<BlockRef>) -> Result<Vec<BlockRef>, Failure> {
    let mut select = db.prepare_cached("SELECT 1 FROM objects WHERE key = ?1")?;
    let mut found = Vec::new();
    for named in refs {
        if select.exists(params![named.object])? {
            found.push(named);
        }
    }
    Ok(found)
}
