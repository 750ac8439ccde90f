//! Entering one object: everything it changes, in one transaction.

use std::collections::{BTreeSet, HashMap};

use reelcase_format::id::{ProjectKey, RecordingId};
use reelcase_format::summary::Summary;
use rusqlite::{Connection, OptionalExtension, named_params, params};

use super::rows::{count, id_of_project, kind_name};
use super::sqlite::Failure;
use super::{BlockRow, CatalogCommit, Committed, ObjectKind, RecordingDelta, persons};

/// Enters `commit`, unless an object of its key was entered before.
pub(super) fn enter(db: &Connection, commit: &CatalogCommit) -> Result<Committed, Failure> {
    if !enter_object(db, commit)? {
        return Ok(Committed::AlreadyEntered);
    }
    let uploads = uploads_by_recording(commit);
    let mut grown = Vec::with_capacity(commit.recordings.len());
    for delta in &commit.recordings {
        let uploads = uploads.get(&(&delta.project, &delta.id)).map_or(&[][..], Vec::as_slice);
        grown.push((enter_part(db, commit, delta, uploads)?, delta));
    }
    for block in &commit.blocks {
        enter_block(db, commit, block)?;
    }
    let mut outdated = BTreeSet::new();
    for replaced in commit.recordings.iter().flat_map(|delta| &delta.replaces) {
        outdated.extend(remove_block(db, &replaced.object, replaced.block)?);
    }
    for carried in &commit.carried {
        db.prepare_cached("UPDATE objects SET project_blocks = 0 WHERE key = ?1")?.execute([carried])?;
    }
    for (recording_id, delta) in grown {
        if !outdated.contains(&recording_id) {
            grow(db, commit.object.seq, recording_id, &delta.summary)?;
        }
    }
    for recording_id in outdated {
        summarise(db, recording_id)?;
    }
    enter_uploads(db, commit)?;
    db.prepare_cached(
        "UPDATE objects SET dead_at_ms = ?1 WHERE live_blocks = 0 AND project_blocks = 0 AND dead_at_ms IS NULL",
    )?
    .execute([commit.now_ms])?;
    for change in &commit.persons {
        persons::apply(db, change, commit.now_ms)?;
    }
    Ok(Committed::Entered)
}

/// False when the object is there already.
fn enter_object(db: &Connection, commit: &CatalogCommit) -> Result<bool, Failure> {
    let object = &commit.object;
    let blocks = signed(count(commit.blocks.len()));
    let mut insert = db.prepare_cached(
        "INSERT INTO objects (seq, key, kind, stored_bytes, recording_count, block_count, live_blocks, project_blocks)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7) ON CONFLICT (key) DO NOTHING",
    )?;
    let row = params![
        signed(object.seq),
        object.key,
        kind_name(object.kind),
        signed(object.stored_bytes),
        signed(object.recording_count),
        blocks,
        signed(commit.project_block_count),
    ];
    if insert.execute(row)? == 0 {
        return Ok(false);
    }
    db.prepare_cached("UPDATE progress SET next_object_seq = max(next_object_seq, ?1 + 1)")?
        .execute([signed(object.seq)])?;
    Ok(true)
}

/// Keeps what the object says of the recording, and returns the recording's row id.
fn enter_part(db: &Connection, commit: &CatalogCommit, delta: &RecordingDelta, uploads: &[u8]) -> Result<i64, Failure> {
    let project_id = ensure_project(db, &delta.project, commit.now_ms)?;
    let recording_id = ensure_recording(db, project_id, &delta.id)?;
    db.prepare_cached("UPDATE recordings SET updated_at_ms = max(updated_at_ms, ?2) WHERE id = ?1")?
        .execute(params![recording_id, delta.updated_at_ms])?;
    let (summary, replaces) = (serde_json::to_string(&delta.summary)?, serde_json::to_string(&delta.replaces)?);
    db.prepare_cached(
        "INSERT INTO parts (recording_id, object_seq, live_blocks, summary, uploads, replaces)
         VALUES (?1, ?2, 0, ?3, ?4, ?5)",
    )?
    .execute(params![recording_id, signed(commit.object.seq), summary, uploads, replaces])?;
    enter_urls(db, recording_id, &delta.summary)?;
    for distinct_id in &delta.summary.distinct_ids {
        let distinct = persons::ensure(db, project_id, distinct_id)?;
        db.prepare_cached("INSERT OR IGNORE INTO recording_distinct_ids (distinct_id, recording_id) VALUES (?1, ?2)")?
            .execute([distinct.id, recording_id])?;
    }
    Ok(recording_id)
}

/// The ids of the uploads one after the other, as `parts` keeps them.
fn uploads_by_recording(commit: &CatalogCommit) -> HashMap<(&ProjectKey, &RecordingId), Vec<u8>> {
    let mut found: HashMap<_, Vec<u8>> = HashMap::new();
    for sealed in &commit.uploads {
        if let Some(recording) = &sealed.recording {
            found.entry((&sealed.project, recording)).or_default().extend_from_slice(&sealed.upload);
        }
    }
    found
}

pub(super) fn ensure_project(db: &Connection, key: &ProjectKey, now_ms: i64) -> Result<i64, Failure> {
    db.prepare_cached(
        "INSERT INTO projects (key, name, created_at_ms) VALUES (?1, ?1, ?2) ON CONFLICT (key) DO NOTHING",
    )?
    .execute(params![key.as_str(), now_ms])?;
    id_of_project(db, key)?.ok_or_else(|| Failure::Unreadable(format!("project {key} cannot be created")))
}

fn ensure_recording(db: &Connection, project_id: i64, id: &RecordingId) -> Result<i64, Failure> {
    let known = db
        .prepare_cached("SELECT id FROM recordings WHERE recording = ?1 AND project_id = ?2")?
        .query_row(params![id.as_str(), project_id], |row| row.get(0))
        .optional()?;
    if let Some(recording_id) = known {
        return Ok(recording_id);
    }
    // The numbers follow when the parts are merged.
    db.prepare_cached(
        "INSERT INTO recordings (project_id, recording, start_ms, end_ms, duration_ms, active_ms, event_count,
           click_count, keypress_count, console_error_count, stored_bytes, block_count, hot_block_count,
           updated_at_ms, summary)
         VALUES (?1, ?2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '')",
    )?
    .execute(params![project_id, id.as_str()])?;
    Ok(db.last_insert_rowid())
}

fn enter_urls(db: &Connection, recording_id: i64, summary: &Summary) -> Result<(), Failure> {
    for url in summary.urls.iter().chain(&summary.start_url) {
        let known: Option<i64> =
            db.prepare_cached("SELECT id FROM urls WHERE url = ?1")?.query_row([url], |row| row.get(0)).optional()?;
        let url_id = match known {
            Some(url_id) => url_id,
            None => enter_url(db, url)?,
        };
        db.prepare_cached("INSERT OR IGNORE INTO recording_urls (url_id, recording_id) VALUES (?1, ?2)")?
            .execute([url_id, recording_id])?;
    }
    Ok(())
}

fn enter_url(db: &Connection, url: &str) -> Result<i64, Failure> {
    db.prepare_cached("INSERT INTO urls (url) VALUES (?1)")?.execute([url])?;
    let url_id = db.last_insert_rowid();
    db.prepare_cached("INSERT INTO url_search (rowid, url) VALUES (?1, ?2)")?.execute(params![url_id, url])?;
    Ok(url_id)
}

fn enter_block(db: &Connection, commit: &CatalogCommit, block: &BlockRow) -> Result<(), Failure> {
    let recording_id: Option<i64> = db
        .prepare_cached(
            "SELECT r.id FROM recordings r JOIN projects p ON p.id = r.project_id
             WHERE r.recording = ?1 AND p.key = ?2",
        )?
        .query_row([block.recording.as_str(), block.project.as_str()], |row| row.get(0))
        .optional()?;
    let recording_id = recording_id
        .ok_or_else(|| Failure::Unreadable(format!("block {} is of no recording of its object", block.block)))?;
    db.prepare_cached(
        "INSERT INTO blocks (object_seq, block, recording_id, kind, start_ms, end_ms, event_count, byte_offset,
           stored_bytes, plain_bytes, hash, windows, keyframes)
         VALUES (:seq, :block, :recording_id, :kind, :start_ms, :end_ms, :event_count, :byte_offset,
           :stored_bytes, :plain_bytes, :hash, :windows, :keyframes)",
    )?
    .execute(named_params! {
        ":seq": signed(commit.object.seq), ":block": block.block, ":recording_id": recording_id,
        ":kind": block.kind.as_str(), ":start_ms": block.start_ms, ":end_ms": block.end_ms,
        ":event_count": signed(block.event_count), ":byte_offset": signed(block.offset), ":stored_bytes": signed(block.stored_bytes),
        ":plain_bytes": signed(block.plain_bytes), ":hash": block.hash.as_bytes(),
        ":windows": serde_json::to_string(&block.windows)?, ":keyframes": serde_json::to_string(&block.keyframes)?,
    })?;
    let change =
        LiveBlock { recording_id, seq: signed(commit.object.seq), is_hot: commit.object.kind == ObjectKind::Batch };
    count_block(db, &change, 1, signed(block.stored_bytes))
}

/// Removes a block that was replaced, and returns the recording it was of; nothing when it is not known.
fn remove_block(db: &Connection, object: &str, block: u32) -> Result<Option<i64>, Failure> {
    let found = db
        .prepare_cached(
            "SELECT b.recording_id, b.object_seq, o.kind = 'batch', b.stored_bytes
             FROM objects o JOIN blocks b ON b.object_seq = o.seq WHERE o.key = ?1 AND b.block = ?2",
        )?
        .query_row(params![object, block], |row| {
            let removed = LiveBlock { recording_id: row.get(0)?, seq: row.get(1)?, is_hot: row.get(2)? };
            Ok((removed, row.get::<_, i64>(3)?))
        })
        .optional()?;
    let Some((removed, stored_bytes)) = found else { return Ok(None) };
    db.prepare_cached("DELETE FROM blocks WHERE object_seq = ?1 AND block = ?2")?
        .execute(params![removed.seq, block])?;
    db.prepare_cached("UPDATE objects SET live_blocks = live_blocks - 1 WHERE seq = ?1")?.execute([removed.seq])?;
    count_block(db, &removed, -1, -stored_bytes)?;
    db.prepare_cached("DELETE FROM parts WHERE recording_id = ?1 AND object_seq = ?2 AND live_blocks = 0")?
        .execute(params![removed.recording_id, removed.seq])?;
    Ok(Some(removed.recording_id))
}

struct LiveBlock {
    recording_id: i64,
    seq: i64,
    is_hot: bool,
}

fn count_block(db: &Connection, block: &LiveBlock, blocks: i64, stored_bytes: i64) -> Result<(), Failure> {
    let hot_blocks = if block.is_hot { blocks } else { 0 };
    db.prepare_cached(
        "UPDATE recordings SET block_count = block_count + ?2, hot_block_count = hot_block_count + ?3,
           stored_bytes = stored_bytes + ?4 WHERE id = ?1",
    )?
    .execute([block.recording_id, blocks, hot_blocks, stored_bytes])?;
    db.prepare_cached("UPDATE parts SET live_blocks = live_blocks + ?3 WHERE recording_id = ?1 AND object_seq = ?2")?
        .execute(params![block.recording_id, block.seq, blocks])?;
    Ok(())
}

/// Merges the newest part of a recording into its summary.
fn grow(db: &Connection, seq: u64, recording_id: i64, part: &Summary) -> Result<(), Failure> {
    let (before, is_newest): (String, bool) = db
        .prepare_cached(
            "SELECT summary, NOT EXISTS (SELECT 1 FROM parts WHERE recording_id = ?1 AND object_seq > ?2)
             FROM recordings WHERE id = ?1",
        )?
        .query_row(params![recording_id, signed(seq)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if before.is_empty() {
        return write_summary(db, recording_id, part);
    }
    if !is_newest {
        return summarise(db, recording_id);
    }
    let mut whole: Summary = serde_json::from_str(&before)?;
    whole.merge(part);
    write_summary(db, recording_id, &whole)
}

/// Merges all parts of a recording anew.
//
// In the order of the objects, because merging is not commutative where lists are cut at their limit: a rebuilt
// catalog would differ from this one if each merged what it happened to see, when it saw it.
fn summarise(db: &Connection, recording_id: i64) -> Result<(), Failure> {
    let mut select = db.prepare_cached("SELECT summary FROM parts WHERE recording_id = ?1 ORDER BY object_seq")?;
    let mut parts = select.query([recording_id])?;
    let mut whole: Option<Summary> = None;
    while let Some(row) = parts.next()? {
        let text: String = row.get(0)?;
        let part: Summary = serde_json::from_str(&text)?;
        match &mut whole {
            Some(whole) => whole.merge(&part),
            None => whole = Some(part),
        }
    }
    write_summary(db, recording_id, &whole.unwrap_or_default())
}

fn write_summary(db: &Connection, recording_id: i64, whole: &Summary) -> Result<(), Failure> {
    db.prepare_cached(
        "UPDATE recordings SET start_ms = :start_ms, end_ms = :end_ms, duration_ms = :duration_ms,
           active_ms = :active_ms, event_count = :event_count, click_count = :click_count,
           keypress_count = :keypress_count, console_error_count = :console_error_count, start_url = :start_url,
           summary = :summary WHERE id = :id",
    )?
    .execute(named_params! {
        ":start_ms": whole.start_ms, ":end_ms": whole.end_ms,
        ":duration_ms": whole.end_ms.saturating_sub(whole.start_ms), ":active_ms": signed(whole.active_ms),
        ":event_count": signed(whole.event_count), ":click_count": signed(whole.click_count),
        ":keypress_count": signed(whole.keypress_count), ":console_error_count": signed(whole.console_error_count),
        ":start_url": whole.start_url, ":summary": serde_json::to_string(whole)?, ":id": recording_id,
    })?;
    Ok(())
}

fn enter_uploads(db: &Connection, commit: &CatalogCommit) -> Result<(), Failure> {
    let mut insert = db.prepare_cached(
        "INSERT OR IGNORE INTO uploads (project_id, upload, recording, sealed_at_ms) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for sealed in &commit.uploads {
        let project_id = ensure_project(db, &sealed.project, commit.now_ms)?;
        let recording = sealed.recording.as_ref().map(RecordingId::as_str);
        insert.execute(params![project_id, sealed.upload, recording, commit.now_ms])?;
    }
    Ok(())
}

/// SQLite's integers are signed; a count beyond them is one that nobody counted.
pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
