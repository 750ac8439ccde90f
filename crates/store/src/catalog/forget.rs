//! Forgetting one recording: its blocks are dead from then on, and objects of nothing else are swept.

use std::collections::BTreeSet;

use reelcase_format::id::{ProjectKey, RecordingId};
use reelcase_format::reel::BlockRef;
use rusqlite::{Connection, OptionalExtension, params};

use super::sqlite::Failure;

/// Forgets a recording, and says whether there was one.
pub(super) fn recording(db: &Connection, project: &ProjectKey, id: &RecordingId, now_ms: i64) -> Result<bool, Failure> {
    let found: Option<i64> = db
        .query_row(
            "SELECT r.id FROM recordings r JOIN projects p ON p.id = r.project_id
             WHERE r.recording = ?1 AND p.key = ?2",
            params![id.as_str(), project.as_str()],
            |row| row.get(0),
        )
        .optional()?;
    let Some(recording_id) = found else { return Ok(false) };
    mark_to_erase(db, recording_id)?;
    db.execute(
        "UPDATE objects SET live_blocks = live_blocks
           - (SELECT count(*) FROM blocks WHERE object_seq = objects.seq AND recording_id = ?1)
         WHERE seq IN (SELECT object_seq FROM blocks WHERE recording_id = ?1)",
        [recording_id],
    )?;
    for table in ["blocks", "parts", "recording_urls", "recording_distinct_ids"] {
        db.execute(&format!("DELETE FROM {table} WHERE recording_id = ?1"), [recording_id])?;
    }
    db.execute("DELETE FROM recordings WHERE id = ?1", [recording_id])?;
    db.execute(
        "UPDATE objects SET dead_at_ms = ?1 WHERE live_blocks = 0 AND project_blocks = 0 AND dead_at_ms IS NULL",
        [now_ms],
    )?;
    Ok(true)
}

/// Marks the objects that hold blocks of a recording: those that count, and those that others replaced.
fn mark_to_erase(db: &Connection, recording_id: i64) -> Result<(), Failure> {
    db.execute(
        "UPDATE objects SET is_to_erase = 1 WHERE seq IN (SELECT object_seq FROM blocks WHERE recording_id = ?1)",
        [recording_id],
    )?;
    let mut select = db.prepare("SELECT replaces FROM parts WHERE recording_id = ?1")?;
    let mut found = select.query([recording_id])?;
    let mut mark = db.prepare_cached("UPDATE objects SET is_to_erase = 1 WHERE key = ?1")?;
    while let Some(row) = found.next()? {
        let replaced: Vec<BlockRef> = serde_json::from_str(&row.get::<_, String>(0)?)?;
        let objects: BTreeSet<_> = replaced.into_iter().map(|block| block.object).collect();
        for object in objects {
            mark.execute([object])?;
        }
    }
    Ok(())
}
