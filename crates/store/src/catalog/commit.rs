//! Entering one object: everything it changes, in one transaction.
//!
//! A recording's row is written once, whatever the object holds of it and replaces: each write to a table of a million
//! rows may be a page somewhere else, and so is each of its indexes.

use std::collections::{BTreeMap, HashMap};

use reelcase_format::id::{ProjectKey, RecordingId};
use reelcase_format::summary::Summary;
use rusqlite::{Connection, OptionalExtension, named_params, params};

use super::rows::{count, id_of_project, kind_name};
use super::sqlite::Failure;
use super::{BlockRow, CatalogCommit, Committed, ObjectKind, RecordingDelta, notes, persons};

/// Names a recording within one commit.
type Name<'a> = (&'a ProjectKey, &'a RecordingId);

/// What one object holds of one recording.
struct Addition<'a> {
    seq: i64,
    project_id: i64,
    delta: &'a RecordingDelta,
    blocks: Vec<&'a BlockRow>,
    uploads: Vec<u8>,
    counts: Counts,
}

/// What changes in the row of a recording that was known before.
#[derive(Default)]
struct Growth<'a> {
    counts: Counts,
    updated_at_ms: Option<i64>,
    merge: Merge<'a>,
}

/// How the summary of a recording comes about.
#[derive(Default)]
enum Merge<'a> {
    /// From what was there, and the newest part.
    Onto(Box<Summary>, &'a Summary),
    /// From all parts that are left.
    #[default]
    Anew,
}

/// Live blocks, as a recording's row counts them.
#[derive(Default)]
struct Counts {
    blocks: i64,
    hot_blocks: i64,
    stored_bytes: i64,
}

impl Counts {
    fn of(blocks: &[&BlockRow], kind: ObjectKind) -> Self {
        let block_count = signed(count(blocks.len()));
        Self {
            blocks: block_count,
            hot_blocks: if kind == ObjectKind::Batch { block_count } else { 0 },
            stored_bytes: signed(blocks.iter().map(|block| block.stored_bytes).sum()),
        }
    }
}

/// Enters `commit`, unless an object of its key was entered before.
pub(super) fn enter(db: &Connection, mut commit: CatalogCommit) -> Result<Committed, Failure> {
    let erased_blocks = notes::without_deleted(db, &mut commit)?;
    let commit = &commit;
    if !enter_object(db, commit, erased_blocks)? {
        return Ok(Committed::AlreadyEntered);
    }
    let projects = ensure_projects(db, commit)?;
    let mut grown = BTreeMap::new();
    for addition in additions(commit, &projects)? {
        if let Some((recording_id, growth)) = enter_part(db, addition)? {
            grown.insert(recording_id, growth);
        }
    }
    for replaced in commit.recordings.iter().flat_map(|delta| &delta.replaces) {
        if let Some(removed) = remove_block(db, &replaced.object, replaced.block)? {
            let growth: &mut Growth<'_> = grown.entry(removed.recording_id).or_default();
            growth.counts.blocks -= 1;
            growth.counts.hot_blocks -= i64::from(removed.is_hot);
            growth.counts.stored_bytes -= removed.stored_bytes;
            growth.merge = Merge::Anew;
        }
    }
    for carried in &commit.carried {
        db.prepare_cached("UPDATE objects SET project_blocks = 0 WHERE key = ?1")?.execute([carried])?;
    }
    for (recording_id, growth) in grown {
        grow(db, recording_id, growth)?;
    }
    enter_uploads(db, commit, &projects)?;
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
fn enter_object(db: &Connection, commit: &CatalogCommit, erased_blocks: usize) -> Result<bool, Failure> {
    let object = &commit.object;
    let blocks = signed(count(commit.blocks.len()));
    let mut insert = db.prepare_cached(
        "INSERT INTO objects (seq, key, kind, stored_bytes, recording_count, block_count, live_blocks, project_blocks,
           is_to_erase)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6 + ?8, ?6, ?7, ?8 > 0) ON CONFLICT (key) DO NOTHING",
    )?;
    let row = params![
        signed(object.seq),
        object.key,
        kind_name(object.kind),
        signed(object.stored_bytes),
        signed(object.recording_count),
        blocks,
        signed(commit.project_block_count),
        signed(count(erased_blocks)),
    ];
    if insert.execute(row)? == 0 {
        return Ok(false);
    }
    db.prepare_cached("UPDATE progress SET next_object_seq = max(next_object_seq, ?1 + 1)")?
        .execute([signed(object.seq)])?;
    Ok(true)
}

/// The row ids of all projects that the commit names. Those that are unknown are created.
fn ensure_projects<'a>(db: &Connection, commit: &'a CatalogCommit) -> Result<HashMap<&'a ProjectKey, i64>, Failure> {
    let named = commit.recordings.iter().map(|delta| &delta.project);
    let mut projects = HashMap::new();
    for key in named.chain(commit.uploads.iter().map(|sealed| &sealed.project)) {
        if !projects.contains_key(key) {
            projects.insert(key, ensure_project(db, key, commit.now_ms)?);
        }
    }
    Ok(projects)
}

/// Puts together what belongs to each recording, in the order of the commit.
fn additions<'a>(
    commit: &'a CatalogCommit,
    projects: &HashMap<&ProjectKey, i64>,
) -> Result<Vec<Addition<'a>>, Failure> {
    let mut blocks: HashMap<Name<'_>, Vec<&BlockRow>> = HashMap::new();
    for block in &commit.blocks {
        blocks.entry((&block.project, &block.recording)).or_default().push(block);
    }
    let mut uploads = uploads_by_recording(commit);
    let mut additions = Vec::with_capacity(commit.recordings.len());
    for delta in &commit.recordings {
        let name = (&delta.project, &delta.id);
        let project_id = projects.get(&delta.project).copied().unwrap_or_default();
        let blocks = blocks.remove(&name).unwrap_or_default();
        let uploads = uploads.remove(&name).unwrap_or_default();
        let counts = Counts::of(&blocks, commit.object.kind);
        additions.push(Addition { seq: signed(commit.object.seq), project_id, delta, blocks, uploads, counts });
    }
    match blocks.into_values().flatten().map(|block| block.block).min() {
        Some(block) => Err(Failure::Unreadable(format!("block {block} is of no recording of its object"))),
        None => Ok(additions),
    }
}

/// Keeps what the object holds of the recording. The row of a new recording is complete then; for one that was known,
/// returns what is to change.
fn enter_part<'a>(db: &Connection, addition: Addition<'a>) -> Result<Option<(i64, Growth<'a>)>, Failure> {
    let delta = addition.delta;
    let known = known_recording(db, &addition)?;
    let recording_id = match &known {
        Some((recording_id, _)) => *recording_id,
        None => insert_recording(db, &addition)?,
    };
    let (summary, replaces) = (serde_json::to_string(&delta.summary)?, serde_json::to_string(&delta.replaces)?);
    db.prepare_cached(
        "INSERT INTO parts (recording_id, object_seq, live_blocks, summary, uploads, replaces)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![recording_id, addition.seq, addition.counts.blocks, summary, addition.uploads, replaces])?;
    for block in &addition.blocks {
        enter_block(db, addition.seq, recording_id, block)?;
    }
    enter_urls(db, recording_id, &delta.summary)?;
    for distinct_id in &delta.summary.distinct_ids {
        let distinct = persons::ensure(db, addition.project_id, distinct_id)?;
        db.prepare_cached("INSERT OR IGNORE INTO recording_distinct_ids (distinct_id, recording_id) VALUES (?1, ?2)")?
            .execute([distinct.id, recording_id])?;
    }
    let counts = addition.counts;
    Ok(known.map(|(recording_id, merge)| {
        (recording_id, Growth { counts, updated_at_ms: Some(delta.updated_at_ms), merge })
    }))
}

/// Finds the recording's row, and says how the part is to be merged into it. Asked before the part is there.
fn known_recording<'a>(db: &Connection, addition: &Addition<'a>) -> Result<Option<(i64, Merge<'a>)>, Failure> {
    let found: Option<(i64, String, bool)> = db
        .prepare_cached(
            "SELECT r.id, r.summary, EXISTS (SELECT 1 FROM parts WHERE recording_id = r.id AND object_seq > ?3)
             FROM recordings r WHERE r.recording = ?1 AND r.project_id = ?2",
        )?
        .query_row(params![addition.delta.id.as_str(), addition.project_id, addition.seq], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    Ok(match found {
        None => None,
        Some((recording_id, _, true)) => Some((recording_id, Merge::Anew)),
        Some((recording_id, before, false)) => {
            Some((recording_id, Merge::Onto(Box::new(serde_json::from_str(&before)?), &addition.delta.summary)))
        }
    })
}

/// The ids of the uploads one after the other, as `parts` keeps them.
fn uploads_by_recording(commit: &CatalogCommit) -> HashMap<Name<'_>, Vec<u8>> {
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

fn insert_recording(db: &Connection, addition: &Addition<'_>) -> Result<i64, Failure> {
    let (delta, whole) = (addition.delta, &addition.delta.summary);
    db.prepare_cached(
        "INSERT INTO recordings (project_id, recording, start_ms, end_ms, duration_ms, active_ms, event_count,
           click_count, keypress_count, console_error_count, start_url, stored_bytes, block_count, hot_block_count,
           updated_at_ms, summary)
         VALUES (:project_id, :recording, :start_ms, :end_ms, :duration_ms, :active_ms, :event_count,
           :click_count, :keypress_count, :console_error_count, :start_url, :stored_bytes, :blocks, :hot_blocks,
           :updated_at_ms, :summary)",
    )?
    .execute(named_params! {
        ":project_id": addition.project_id, ":recording": delta.id.as_str(),
        ":start_ms": whole.start_ms, ":end_ms": whole.end_ms, ":duration_ms": duration_ms(whole),
        ":active_ms": signed(whole.active_ms), ":event_count": signed(whole.event_count),
        ":click_count": signed(whole.click_count), ":keypress_count": signed(whole.keypress_count),
        ":console_error_count": signed(whole.console_error_count), ":start_url": whole.start_url,
        ":stored_bytes": addition.counts.stored_bytes, ":blocks": addition.counts.blocks,
        ":hot_blocks": addition.counts.hot_blocks, ":updated_at_ms": delta.updated_at_ms,
        ":summary": serde_json::to_string(whole)?,
    })?;
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

fn enter_block(db: &Connection, seq: i64, recording_id: i64, block: &BlockRow) -> Result<(), Failure> {
    db.prepare_cached(
        "INSERT INTO blocks (object_seq, block, recording_id, kind, start_ms, end_ms, event_count, byte_offset,
           stored_bytes, plain_bytes, hash, windows, keyframes)
         VALUES (:seq, :block, :recording_id, :kind, :start_ms, :end_ms, :event_count, :byte_offset,
           :stored_bytes, :plain_bytes, :hash, :windows, :keyframes)",
    )?
    .execute(named_params! {
        ":seq": seq, ":block": block.block, ":recording_id": recording_id,
        ":kind": block.kind.as_str(), ":start_ms": block.start_ms, ":end_ms": block.end_ms,
        ":event_count": signed(block.event_count), ":byte_offset": signed(block.offset),
        ":stored_bytes": signed(block.stored_bytes), ":plain_bytes": signed(block.plain_bytes),
        ":hash": block.hash.as_bytes(), ":windows": serde_json::to_string(&block.windows)?,
        ":keyframes": serde_json::to_string(&block.keyframes)?,
    })?;
    Ok(())
}

/// A block that was live until now.
struct Removed {
    recording_id: i64,
    seq: i64,
    is_hot: bool,
    stored_bytes: i64,
}

/// Removes a block that was replaced, and says what it was; nothing when it is not known.
fn remove_block(db: &Connection, object: &str, block: u32) -> Result<Option<Removed>, Failure> {
    let found = db
        .prepare_cached(
            "SELECT b.recording_id, b.object_seq, o.kind = 'batch', b.stored_bytes
             FROM objects o JOIN blocks b ON b.object_seq = o.seq WHERE o.key = ?1 AND b.block = ?2",
        )?
        .query_row(params![object, block], |row| {
            let (recording_id, seq, is_hot, stored_bytes) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            Ok(Removed { recording_id, seq, is_hot, stored_bytes })
        })
        .optional()?;
    let Some(removed) = found else { return Ok(None) };
    db.prepare_cached("DELETE FROM blocks WHERE object_seq = ?1 AND block = ?2")?
        .execute(params![removed.seq, block])?;
    db.prepare_cached("UPDATE objects SET live_blocks = live_blocks - 1 WHERE seq = ?1")?.execute([removed.seq])?;
    let part = [removed.recording_id, removed.seq];
    db.prepare_cached("UPDATE parts SET live_blocks = live_blocks - 1 WHERE recording_id = ?1 AND object_seq = ?2")?
        .execute(part)?;
    db.prepare_cached("DELETE FROM parts WHERE recording_id = ?1 AND object_seq = ?2 AND live_blocks = 0")?
        .execute(part)?;
    Ok(Some(removed))
}

/// Writes the row of a recording that was known before.
fn grow(db: &Connection, recording_id: i64, growth: Growth<'_>) -> Result<(), Failure> {
    let (start_and_errors, whole) = match growth.merge {
        Merge::Anew => (None, merge_parts(db, recording_id)?),
        Merge::Onto(mut before, part) => {
            let start_and_errors = (before.start_ms, before.console_error_count);
            before.merge(part);
            (Some(start_and_errors), *before)
        }
    };
    // Columns of indexes that hold every recording. SQLite would write the same into them again.
    if start_and_errors != Some((whole.start_ms, whole.console_error_count)) {
        db.prepare_cached("UPDATE recordings SET start_ms = ?1, console_error_count = ?2 WHERE id = ?3")?.execute([
            whole.start_ms,
            signed(whole.console_error_count),
            recording_id,
        ])?;
    }
    db.prepare_cached(
        "UPDATE recordings SET end_ms = :end_ms, duration_ms = :duration_ms, active_ms = :active_ms,
           event_count = :event_count, click_count = :click_count, keypress_count = :keypress_count,
           start_url = :start_url, summary = :summary, block_count = block_count + :blocks,
           hot_block_count = hot_block_count + :hot_blocks, stored_bytes = stored_bytes + :stored_bytes,
           updated_at_ms = max(updated_at_ms, ifnull(:updated_at_ms, updated_at_ms))
         WHERE id = :id",
    )?
    .execute(named_params! {
        ":end_ms": whole.end_ms, ":duration_ms": duration_ms(&whole), ":active_ms": signed(whole.active_ms),
        ":event_count": signed(whole.event_count), ":click_count": signed(whole.click_count),
        ":keypress_count": signed(whole.keypress_count), ":start_url": whole.start_url,
        ":summary": serde_json::to_string(&whole)?, ":blocks": growth.counts.blocks,
        ":hot_blocks": growth.counts.hot_blocks, ":stored_bytes": growth.counts.stored_bytes,
        ":updated_at_ms": growth.updated_at_ms, ":id": recording_id,
    })?;
    Ok(())
}

/// Merges all parts of a recording anew.
//
// In the order of the objects, because merging is not commutative where lists are cut at their limit: a rebuilt
// catalog would differ from this one if each merged what it happened to see, when it saw it.
fn merge_parts(db: &Connection, recording_id: i64) -> Result<Summary, Failure> {
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
    Ok(whole.unwrap_or_default())
}

fn duration_ms(whole: &Summary) -> i64 {
    whole.end_ms.saturating_sub(whole.start_ms)
}

fn enter_uploads(db: &Connection, commit: &CatalogCommit, projects: &HashMap<&ProjectKey, i64>) -> Result<(), Failure> {
    let mut insert = db.prepare_cached(
        "INSERT OR IGNORE INTO uploads (project_id, upload, recording, sealed_at_ms) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for sealed in &commit.uploads {
        let recording = sealed.recording.as_ref().map(RecordingId::as_str);
        insert.execute(params![projects.get(&sealed.project), sealed.upload, recording, commit.now_ms])?;
    }
    Ok(())
}

/// SQLite's integers are signed; a count beyond them is one that nobody counted.
pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
