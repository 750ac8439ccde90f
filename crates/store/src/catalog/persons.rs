//! Who is who: distinct ids that belong together, and what is known of the person behind them.

use reelcase_format::id::ProjectKey;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Map, Value};

use super::rows::id_of_project;
use super::sqlite::Failure;
use super::{Person, PersonChange};

/// Ids, in lower case, that many people share where a page's code goes wrong; PostHog refuses to merge them as well.
const SHARED_IDS: &[&str] = &[
    "0",
    "[object object]",
    "anonymous",
    "distinct_id",
    "distinctid",
    "email",
    "false",
    "guest",
    "id",
    "nan",
    "none",
    "not_authenticated",
    "null",
    "true",
    "undefined",
];

/// A row of `distinct_ids`.
#[derive(Debug, Clone, Copy)]
pub(super) struct DistinctId {
    pub(super) id: i64,
    person_id: i64,
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Set,
    SetOnce,
}

/// Finds the distinct id, or makes a person of it.
pub(super) fn ensure(db: &Connection, project_id: i64, distinct_id: &str) -> Result<DistinctId, Failure> {
    if let Some(known) = look_up(db, project_id, distinct_id)? {
        return Ok(known);
    }
    db.prepare_cached("INSERT INTO distinct_ids (project_id, distinct_id, person_id) VALUES (?1, ?2, 0)")?
        .execute(params![project_id, distinct_id])?;
    let id = db.last_insert_rowid();
    db.prepare_cached("UPDATE distinct_ids SET person_id = id WHERE id = ?1")?.execute([id])?;
    Ok(DistinctId { id, person_id: id })
}

/// Applies one change. The project is created when it is unknown.
pub(super) fn apply(db: &Connection, change: &PersonChange, now_ms: i64) -> Result<(), Failure> {
    let project_id = super::commit::ensure_project(db, &change.project, now_ms)?;
    let mut person_id = ensure(db, project_id, &change.distinct_id)?.person_id;
    if let Some(other) = change.merge_with.as_deref().filter(|other| may_merge(&change.distinct_id, other)) {
        let other_id = ensure(db, project_id, other)?.person_id;
        person_id = merge(db, person_id, other_id)?;
    }
    for (name, value) in &change.set {
        put(db, person_id, name, Way::Set, change.at_ms, &value.to_string())?;
    }
    for (name, value) in &change.set_once {
        put(db, person_id, name, Way::SetOnce, change.at_ms, &value.to_string())?;
    }
    if change.merge_with.is_some() || !change.set.is_empty() || !change.set_once.is_empty() {
        make_searchable(db, person_id)?;
    }
    Ok(())
}

/// The person behind a distinct id.
pub(super) fn by_distinct_id(
    db: &Connection,
    project: &ProjectKey,
    distinct_id: &str,
) -> Result<Option<Person>, Failure> {
    let Some(project_id) = id_of_project(db, project)? else { return Ok(None) };
    match look_up(db, project_id, distinct_id)? {
        Some(known) => load(db, known.person_id).map(Some),
        None => Ok(None),
    }
}

/// The person in a recording. A client that changed persons midway has more than one: the first by distinct id that
/// something is known of, or else the first.
pub(super) fn of_recording(db: &Connection, recording_id: i64) -> Result<Option<Person>, Failure> {
    let person_id = db
        .prepare_cached(
            "SELECT d.person_id FROM recording_distinct_ids rd JOIN distinct_ids d ON d.id = rd.distinct_id
             WHERE rd.recording_id = ?1
             ORDER BY NOT EXISTS (SELECT 1 FROM person_properties p WHERE p.person_id = d.person_id), d.distinct_id
             LIMIT 1",
        )?
        .query_row([recording_id], |row| row.get(0))
        .optional()?;
    person_id.map(|person_id| load(db, person_id)).transpose()
}

pub(super) fn load(db: &Connection, person_id: i64) -> Result<Person, Failure> {
    let mut select =
        db.prepare_cached("SELECT distinct_id FROM distinct_ids WHERE person_id = ?1 ORDER BY distinct_id")?;
    let distinct_ids = select.query_map([person_id], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(Person { distinct_ids, properties: properties(db, person_id)? })
}

/// Whether these two are ids of one person each.
fn may_merge(id: &str, other: &str) -> bool {
    id != other && !is_shared(id) && !is_shared(other)
}

fn is_shared(id: &str) -> bool {
    let bare = id.trim().trim_matches(['"', '\'']).trim().to_lowercase();
    bare.is_empty() || SHARED_IDS.contains(&bare.as_str())
}

fn look_up(db: &Connection, project_id: i64, distinct_id: &str) -> Result<Option<DistinctId>, Failure> {
    let known = db
        .prepare_cached("SELECT id, person_id FROM distinct_ids WHERE project_id = ?1 AND distinct_id = ?2")?
        .query_row(params![project_id, distinct_id], |row| Ok(DistinctId { id: row.get(0)?, person_id: row.get(1)? }))
        .optional()?;
    Ok(known)
}

/// Moves all that belongs to `gone` to `kept`, and returns `kept`.
fn merge(db: &Connection, kept: i64, gone: i64) -> Result<i64, Failure> {
    if kept == gone {
        return Ok(kept);
    }
    let mut select =
        db.prepare_cached("SELECT name, way = 'set', at_ms, value FROM person_properties WHERE person_id = ?1")?;
    let moved: Vec<(String, bool, i64, String)> = select
        .query_map([gone], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
        .collect::<Result<_, _>>()?;
    for (name, is_set, at_ms, value) in moved {
        put(db, kept, &name, if is_set { Way::Set } else { Way::SetOnce }, at_ms, &value)?;
    }
    db.prepare_cached("DELETE FROM person_properties WHERE person_id = ?1")?.execute([gone])?;
    db.prepare_cached("DELETE FROM person_search WHERE rowid = ?1")?.execute([gone])?;
    db.prepare_cached("UPDATE distinct_ids SET person_id = ?1 WHERE person_id = ?2")?.execute([kept, gone])?;
    Ok(kept)
}

/// Writes one property, unless what is there wins: the later of two `set`, the earlier of two `set_once`.
fn put(db: &Connection, person_id: i64, name: &str, way: Way, at_ms: i64, value: &str) -> Result<(), Failure> {
    let (way, upsert) = match way {
        Way::Set => (
            "set",
            "INSERT INTO person_properties (person_id, name, way, at_ms, value) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET at_ms = excluded.at_ms, value = excluded.value
             WHERE (excluded.at_ms, excluded.value) > (at_ms, value)",
        ),
        Way::SetOnce => (
            "set_once",
            "INSERT INTO person_properties (person_id, name, way, at_ms, value) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET at_ms = excluded.at_ms, value = excluded.value
             WHERE (excluded.at_ms, excluded.value) < (at_ms, value)",
        ),
    };
    db.prepare_cached(upsert)?.execute(params![person_id, name, way, at_ms, value])?;
    Ok(())
}

fn properties(db: &Connection, person_id: i64) -> Result<Map<String, Value>, Failure> {
    // 'set' sorts before 'set_once', so the descending order lets it write over the other.
    let mut select =
        db.prepare_cached("SELECT name, value FROM person_properties WHERE person_id = ?1 ORDER BY name, way DESC")?;
    let mut found = select.query([person_id])?;
    let mut properties = Map::new();
    while let Some(row) = found.next()? {
        let value: String = row.get(1)?;
        properties.insert(row.get(0)?, serde_json::from_str(&value)?);
    }
    Ok(properties)
}

/// Renews the text that [`super::ListQuery::person`] is looked for in: the values, a line each.
fn make_searchable(db: &Connection, person_id: i64) -> Result<(), Failure> {
    let mut text = String::new();
    for value in properties(db, person_id)?.values() {
        match value {
            Value::String(value) => text.push_str(value),
            other => text.push_str(&other.to_string()),
        }
        text.push('\n');
    }
    db.prepare_cached("INSERT OR REPLACE INTO person_search (rowid, properties) VALUES (?1, ?2)")?
        .execute(params![person_id, text])?;
    Ok(())
}
