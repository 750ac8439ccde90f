//! Statements about one table at a time: objects, blocks, uploads, projects, drops and settings.

use reelcase_format::block::{BlockHash, BlockKind};
use reelcase_format::id::{ProjectKey, RecordingId, UploadId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::commit::signed;
use super::sqlite::Failure;
use super::{BlockRow, DropCount, ObjectKind, ObjectRow, Project};

pub(super) fn next_object_seq(db: &Connection) -> Result<u64, Failure> {
    Ok(db.query_row("SELECT next_object_seq FROM progress", [], |row| unsigned(row, 0))?)
}

pub(super) fn objects(db: &Connection) -> Result<Vec<ObjectRow>, Failure> {
    select_objects(db, "SELECT seq, key, kind, stored_bytes, recording_count FROM objects ORDER BY seq", [])
}

pub(super) fn dead_objects(db: &Connection, dead_since_ms: i64) -> Result<Vec<ObjectRow>, Failure> {
    select_objects(
        db,
        "SELECT seq, key, kind, stored_bytes, recording_count FROM objects
         WHERE live_blocks = 0 AND project_blocks = 0 AND dead_at_ms <= ?1 ORDER BY seq",
        [dead_since_ms],
    )
}

pub(super) fn objects_to_carry(db: &Connection, limit: usize) -> Result<Vec<ObjectRow>, Failure> {
    select_objects(
        db,
        "SELECT seq, key, kind, stored_bytes, recording_count FROM objects
         WHERE live_blocks = 0 AND project_blocks > 0 AND (kind = 'batch' OR block_count > 0) ORDER BY seq LIMIT ?1",
        [signed(count(limit))],
    )
}

pub(super) fn forget_object(db: &Connection, key: &str) -> Result<(), Failure> {
    db.execute("DELETE FROM objects WHERE key = ?1 AND live_blocks = 0 AND project_blocks = 0", [key])?;
    Ok(())
}

pub(super) fn sealed_uploads(
    db: &Connection,
    project: &ProjectKey,
    uploads: &[UploadId],
) -> Result<Vec<bool>, Failure> {
    let Some(project_id) = id_of_project(db, project)? else { return Ok(vec![false; uploads.len()]) };
    let mut select = db.prepare_cached("SELECT 1 FROM uploads WHERE project_id = ?1 AND upload = ?2")?;
    let mut sealed = Vec::with_capacity(uploads.len());
    for upload in uploads {
        sealed.push(select.exists(params![project_id, upload])?);
    }
    Ok(sealed)
}

pub(super) fn forget_uploads(db: &Connection, sealed_before_ms: i64) -> Result<u64, Failure> {
    let forgotten = db.execute("DELETE FROM uploads WHERE sealed_at_ms < ?1", [sealed_before_ms])?;
    Ok(count(forgotten))
}

pub(super) fn blocks(db: &Connection, project: &ProjectKey, id: &RecordingId) -> Result<Vec<BlockRow>, Failure> {
    let mut select = db.prepare_cached(
        "SELECT o.key, b.block, b.byte_offset, b.stored_bytes, b.plain_bytes, b.start_ms, b.end_ms, b.event_count,
           b.windows, b.keyframes, b.kind, b.hash
         FROM projects p
         JOIN recordings r ON r.recording = ?2 AND r.project_id = p.id
         JOIN blocks b ON b.recording_id = r.id
         JOIN objects o ON o.seq = b.object_seq
         WHERE p.key = ?1 ORDER BY b.start_ms, b.object_seq, b.block",
    )?;
    let mut found = select.query([project.as_str(), id.as_str()])?;
    let mut blocks = Vec::new();
    while let Some(row) = found.next()? {
        blocks.push(block_row(row, project, id)?);
    }
    Ok(blocks)
}

fn block_row(row: &Row<'_>, project: &ProjectKey, recording: &RecordingId) -> Result<BlockRow, Failure> {
    let (windows, keyframes, kind): (String, String, String) = (row.get(8)?, row.get(9)?, row.get(10)?);
    Ok(BlockRow {
        project: project.clone(),
        recording: recording.clone(),
        object: row.get(0)?,
        block: row.get(1)?,
        offset: unsigned(row, 2)?,
        stored_bytes: unsigned(row, 3)?,
        plain_bytes: unsigned(row, 4)?,
        start_ms: row.get(5)?,
        end_ms: row.get(6)?,
        event_count: unsigned(row, 7)?,
        windows: serde_json::from_str(&windows)?,
        keyframes: serde_json::from_str(&keyframes)?,
        kind: block_kind(&kind)?,
        hash: BlockHash::from_bytes(row.get(11)?),
    })
}

pub(super) fn projects(db: &Connection) -> Result<Vec<Project>, Failure> {
    let mut select = db.prepare_cached("SELECT key, name, created_at_ms FROM projects ORDER BY key")?;
    let mut found = select.query([])?;
    let mut projects = Vec::new();
    while let Some(row) = found.next()? {
        projects.push(project_row(row)?);
    }
    Ok(projects)
}

pub(super) fn project(db: &Connection, key: &ProjectKey) -> Result<Option<Project>, Failure> {
    let mut select = db.prepare_cached("SELECT key, name, created_at_ms FROM projects WHERE key = ?1")?;
    let mut found = select.query([key.as_str()])?;
    found.next()?.map(project_row).transpose()
}

pub(super) fn create_project(db: &Connection, project: Project) -> Result<Project, Failure> {
    db.execute(
        "INSERT INTO projects (key, name, created_at_ms) VALUES (?1, ?2, ?3) ON CONFLICT (key) DO NOTHING",
        params![project.key.as_str(), project.name, project.created_at_ms],
    )?;
    Ok(self::project(db, &project.key)?.unwrap_or(project))
}

pub(super) fn rename_project(db: &Connection, key: &ProjectKey, name: &str) -> Result<(), Failure> {
    db.execute("UPDATE projects SET name = ?2 WHERE key = ?1", [key.as_str(), name])?;
    Ok(())
}

pub(super) fn id_of_project(db: &Connection, key: &ProjectKey) -> Result<Option<i64>, Failure> {
    let mut select = db.prepare_cached("SELECT id FROM projects WHERE key = ?1")?;
    Ok(select.query_row([key.as_str()], |row| row.get(0)).optional()?)
}

pub(super) fn add_drops(db: &Connection, drops: &[DropCount]) -> Result<(), Failure> {
    let mut upsert = db.prepare_cached(
        "INSERT INTO drops (reason, count) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET count = count + excluded.count",
    )?;
    for drop in drops {
        upsert.execute(params![drop.reason, signed(drop.count)])?;
    }
    Ok(())
}

pub(super) fn drops(db: &Connection) -> Result<Vec<DropCount>, Failure> {
    let mut select = db.prepare_cached("SELECT reason, count FROM drops ORDER BY reason")?;
    let found = select.query_map([], |row| Ok(DropCount { reason: row.get(0)?, count: unsigned(row, 1)? }))?;
    Ok(found.collect::<Result<_, _>>()?)
}

pub(super) fn setting(db: &Connection, name: &str) -> Result<Option<String>, Failure> {
    let mut select = db.prepare_cached("SELECT value FROM settings WHERE name = ?1")?;
    Ok(select.query_row([name], |row| row.get(0)).optional()?)
}

pub(super) fn settings(db: &Connection) -> Result<Vec<(String, String)>, Failure> {
    let mut select = db.prepare_cached("SELECT name, value FROM settings ORDER BY name")?;
    let found = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(found.collect::<Result<_, _>>()?)
}

pub(super) fn set_setting(db: &Connection, name: &str, value: &str) -> Result<(), Failure> {
    db.execute(
        "INSERT INTO settings (name, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value",
        [name, value],
    )?;
    Ok(())
}

pub(super) fn kind_name(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Batch => "batch",
        ObjectKind::Compacted => "compacted",
    }
}

/// A number of things in memory, which 64 bits always hold.
pub(super) fn count(things: usize) -> u64 {
    u64::try_from(things).unwrap_or(u64::MAX)
}

/// Reads a count. SQLite's integers are signed; none that this catalog wrote is negative.
pub(super) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

fn select_objects<P: rusqlite::Params>(db: &Connection, sql: &str, parameters: P) -> Result<Vec<ObjectRow>, Failure> {
    let mut select = db.prepare_cached(sql)?;
    let mut found = select.query(parameters)?;
    let mut objects = Vec::new();
    while let Some(row) = found.next()? {
        objects.push(object_row(row)?);
    }
    Ok(objects)
}

/// Reads an object from the first columns: seq, key, kind, stored_bytes, recording_count.
pub(super) fn object_row(row: &Row<'_>) -> Result<ObjectRow, Failure> {
    let kind: String = row.get(2)?;
    Ok(ObjectRow {
        seq: unsigned(row, 0)?,
        key: row.get(1)?,
        kind: object_kind(&kind)?,
        stored_bytes: unsigned(row, 3)?,
        recording_count: unsigned(row, 4)?,
    })
}

fn project_row(row: &Row<'_>) -> Result<Project, Failure> {
    let key: String = row.get(0)?;
    Ok(Project { key: key.parse()?, name: row.get(1)?, created_at_ms: row.get(2)? })
}

fn object_kind(name: &str) -> Result<ObjectKind, Failure> {
    match name {
        "batch" => Ok(ObjectKind::Batch),
        "compacted" => Ok(ObjectKind::Compacted),
        other => Err(Failure::Unreadable(format!("object kind {other}"))),
    }
}

fn block_kind(name: &str) -> Result<BlockKind, Failure> {
    match name {
        "lines" => Ok(BlockKind::Lines),
        "events" => Ok(BlockKind::Events),
        other => Err(Failure::Unreadable(format!("block kind {other}"))),
    }
}
