//! All that can be rebuilt from objects, as JSON. Left out are row ids, which depend on history, and what objects do not
//! tell: names of projects, settings, drops, and when the server did what.

use rusqlite::{Connection, types::ValueRef};
use serde_json::{Map, Value, json};

use super::persons;
use super::sqlite::Failure;

pub(super) fn dump(db: &Connection) -> Result<Value, Failure> {
    Ok(json!({
        "objects": table(
            db,
            "SELECT seq, key, kind, stored_bytes, recording_count, block_count, live_blocks, project_blocks
             FROM objects ORDER BY seq",
        )?,
        "recordings": table(
            db,
            "SELECT p.key AS project, r.recording, r.start_ms, r.end_ms, r.duration_ms, r.active_ms, r.event_count,
               r.click_count, r.keypress_count, r.console_error_count, r.start_url, r.stored_bytes, r.block_count,
               r.hot_block_count, r.summary
             FROM recordings r JOIN projects p ON p.id = r.project_id ORDER BY 1, 2",
        )?,
        "blocks": table(
            db,
            "SELECT o.key AS object, b.block, p.key AS project, r.recording, b.kind, b.start_ms, b.end_ms,
               b.event_count, b.byte_offset, b.stored_bytes, b.plain_bytes, hex(b.hash) AS hash, b.windows, b.keyframes
             FROM blocks b JOIN objects o ON o.seq = b.object_seq JOIN recordings r ON r.id = b.recording_id
             JOIN projects p ON p.id = r.project_id ORDER BY b.object_seq, b.block",
        )?,
        "uploads": table(
            db,
            "SELECT p.key AS project, hex(u.upload) AS upload, u.recording
             FROM uploads u JOIN projects p ON p.id = u.project_id ORDER BY 1, 2",
        )?,
        "persons": persons(db)?,
    }))
}

fn persons(db: &Connection) -> Result<Vec<Value>, Failure> {
    // The smallest of a person's ids names the person, because row ids tell of the order in which they came.
    let mut select = db.prepare(
        "SELECT p.key, d.person_id FROM distinct_ids d JOIN projects p ON p.id = d.project_id
         GROUP BY d.person_id ORDER BY p.key, min(d.distinct_id)",
    )?;
    let mut found = select.query([])?;
    let mut persons = Vec::new();
    while let Some(row) = found.next()? {
        let project: String = row.get(0)?;
        persons.push(json!({ "project": project, "person": persons::load(db, row.get(1)?)? }));
    }
    Ok(persons)
}

fn table(db: &Connection, sql: &str) -> Result<Vec<Value>, Failure> {
    let mut select = db.prepare(sql)?;
    let names: Vec<String> = select.column_names().map(str::to_owned).collect();
    let mut found = select.query([])?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        let mut fields = Map::new();
        for (column, name) in names.iter().enumerate() {
            let value = match row.get_ref(column)? {
                ValueRef::Integer(number) => json!(number),
                ValueRef::Real(number) => json!(number),
                ValueRef::Text(text) => json!(String::from_utf8_lossy(text)),
                ValueRef::Null | ValueRef::Blob(_) => Value::Null,
            };
            fields.insert(name.clone(), value);
        }
        rows.push(Value::Object(fields));
    }
    Ok(rows)
}
