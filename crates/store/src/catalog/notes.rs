//! What people said of recordings, as the list asks for it; and which recordings were deleted.

use std::collections::BTreeSet;

use reelcase_format::id::{ProjectKey, RecordingId};
use rusqlite::{Connection, OptionalExtension, params};

use super::rows::{count, unsigned};
use super::sqlite::Failure;
use super::{CatalogCommit, DeletedRecording, NotedRow, TagCount, forget};
use crate::notes::Kept;

pub(super) fn of(db: &Connection, project: &ProjectKey, id: &RecordingId) -> Result<Option<Kept>, Failure> {
    let mut select = db.prepare_cached("SELECT document FROM notes WHERE recording = ?1 AND project = ?2")?;
    let found: Option<String> = select.query_row([id.as_str(), project.as_str()], |row| row.get(0)).optional()?;
    Ok(found.map(|text| serde_json::from_str(&text)).transpose()?)
}

/// What a list shows of it.
pub(super) fn noted(db: &Connection, project: &str, recording: &str) -> Result<NotedRow, Failure> {
    let mut select =
        db.prepare_cached("SELECT is_pinned, is_seen, comment_count FROM notes WHERE recording = ?1 AND project = ?2")?;
    let mut found = select.query([recording, project])?;
    let Some(row) = found.next()? else { return Ok(NotedRow::default()) };
    let (is_pinned, is_seen, comment_count) = (row.get(0)?, row.get(1)?, unsigned(row, 2)?);
    let mut select = db.prepare_cached("SELECT tag FROM tags WHERE recording = ?1 AND project = ?2 ORDER BY tag")?;
    let tags = select.query_map([recording, project], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(NotedRow { tags, is_pinned, is_seen, comment_count })
}

pub(super) fn of_shard(db: &Connection, shard: u8) -> Result<Vec<Kept>, Failure> {
    let mut select = db.prepare_cached("SELECT document FROM notes WHERE shard = ?1 ORDER BY recording, project")?;
    let mut found = select.query([shard])?;
    let mut all = Vec::new();
    while let Some(row) = found.next()? {
        all.push(serde_json::from_str(&row.get::<_, String>(0)?)?);
    }
    Ok(all)
}

/// Shards that something is known of.
pub(super) fn shards(db: &Connection) -> Result<Vec<u8>, Failure> {
    let mut select = db.prepare_cached("SELECT DISTINCT shard FROM notes ORDER BY shard")?;
    Ok(select.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// Makes `kept` all that is known of a shard.
pub(super) fn put_shard(db: &Connection, shard: u8, kept: &[Kept], now_ms: i64) -> Result<(), Failure> {
    let names: BTreeSet<_> = kept.iter().map(|kept| (kept.recording.as_str(), kept.project.as_str())).collect();
    for known in of_shard(db, shard)? {
        if !names.contains(&(known.recording.as_str(), known.project.as_str())) {
            remove(db, &known.project, &known.recording)?;
        }
    }
    kept.iter().try_for_each(|kept| put(db, kept, now_ms))
}

/// Writes what is known of one recording. One that was deleted is forgotten with it.
pub(super) fn put(db: &Connection, kept: &Kept, now_ms: i64) -> Result<(), Failure> {
    let (project, recording) = (&kept.project, &kept.recording);
    remove(db, project, recording)?;
    if kept.deleted_at_ms.is_some() {
        forget::recording(db, project, recording, now_ms)?;
    }
    if kept.is_empty() {
        return Ok(());
    }
    db.prepare_cached(
        "INSERT INTO notes (project, recording, shard, deleted_at_ms, is_pinned, is_seen, comment_count, document)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        project.as_str(),
        recording.as_str(),
        kept.shard(),
        kept.deleted_at_ms,
        kept.notes.pinned_at_ms.is_some(),
        kept.notes.seen_at_ms.is_some(),
        super::commit::signed(count(kept.notes.comments.len())),
        serde_json::to_string(kept)?,
    ])?;
    for tag in kept.notes.all_tags() {
        db.prepare_cached("INSERT OR IGNORE INTO tags (tag, project, recording) VALUES (?1, ?2, ?3)")?.execute([
            tag,
            project.as_str(),
            recording.as_str(),
        ])?;
    }
    Ok(())
}

fn remove(db: &Connection, project: &ProjectKey, id: &RecordingId) -> Result<(), Failure> {
    for table in ["notes", "tags"] {
        db.prepare_cached(&format!("DELETE FROM {table} WHERE recording = ?1 AND project = ?2"))?
            .execute([id.as_str(), project.as_str()])?;
    }
    Ok(())
}

pub(super) fn deleted(db: &Connection) -> Result<Vec<DeletedRecording>, Failure> {
    let mut select = db.prepare_cached(
        "SELECT project, recording, deleted_at_ms FROM notes WHERE deleted_at_ms IS NOT NULL
         ORDER BY deleted_at_ms, recording, project",
    )?;
    let mut found = select.query([])?;
    let mut deleted = Vec::new();
    while let Some(row) = found.next()? {
        let (project, recording): (String, String) = (row.get(0)?, row.get(1)?);
        let (project, recording) = (project.parse()?, recording.parse()?);
        deleted.push(DeletedRecording { project, recording, deleted_at_ms: row.get(2)? });
    }
    Ok(deleted)
}

/// Takes out of a commit what it holds of deleted recordings, and says how many blocks that was.
pub(super) fn without_deleted(db: &Connection, commit: &mut CatalogCommit) -> Result<usize, Failure> {
    let mut select =
        db.prepare_cached("SELECT 1 FROM notes WHERE recording = ?1 AND project = ?2 AND deleted_at_ms IS NOT NULL")?;
    let mut deleted = BTreeSet::new();
    for delta in &commit.recordings {
        if select.exists([delta.id.as_str(), delta.project.as_str()])? {
            deleted.insert((delta.project.clone(), delta.id.clone()));
        }
    }
    if deleted.is_empty() {
        return Ok(0);
    }
    let is_deleted = |project: &ProjectKey, id: &RecordingId| deleted.contains(&(project.clone(), id.clone()));
    let block_count = commit.blocks.len();
    commit.recordings.retain(|delta| !is_deleted(&delta.project, &delta.id));
    commit.blocks.retain(|block| !is_deleted(&block.project, &block.recording));
    Ok(block_count - commit.blocks.len())
}

pub(super) fn tags(db: &Connection, project: Option<&ProjectKey>) -> Result<Vec<TagCount>, Failure> {
    let mut select =
        db.prepare_cached("SELECT tag, count(*) FROM tags WHERE ?1 IS NULL OR project = ?1 GROUP BY tag ORDER BY tag")?;
    let found = select.query_map([project.map(ProjectKey::as_str)], |row| {
        Ok(TagCount { tag: row.get(0)?, recording_count: unsigned(row, 1)? })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Whether an object can be rewritten, or could be deleted, that holds blocks of deleted recordings.
pub(super) fn is_erasing(db: &Connection) -> Result<bool, Failure> {
    let mut select = db.prepare_cached("SELECT 1 FROM objects WHERE is_to_erase = 1 LIMIT 1")?;
    Ok(select.exists([])?)
}
