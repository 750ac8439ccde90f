//! Finding recordings.
//!
//! A page is the next rows of one order, (start descending, id, project) or its reverse, after a cursor that names the last row before
//! it: a deep page costs what the first one does, and rows that arrive meanwhile neither repeat nor hide any.
//!
//! Which index a listing walks is decided by looking, not by guessing. Each filter has an index of its own; it is asked
//! for its matches, up to [`RARE_MAX`]. Filters of which all matches came are rare, and what they have in common are the
//! candidates, to which the other filters are applied. If no filter is rare, the recordings are walked newest first, and
//! a page fills soon because matches are common. SQLite's planner cannot choose so, since it does not know how often the
//! value at hand occurs.

use reelcase_format::id::{ProjectKey, RecordingId};
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, Row, params, params_from_iter};

use super::commit::signed;
use super::rows::{count, id_of_project, unsigned};
use super::sqlite::Failure;
use super::{EndedAt, ListOrder, ListQuery, PAGE_RECORDINGS_MAX, Page, RecordingRow, persons};

/// Filters with at most this many matches drive the listing. Looking up so many of a million recordings takes about as
/// long as walking them until a page of fifty is full.
const RARE_MAX: usize = 10_000;

/// Shortest text that a trigram index can look for, in characters.
const TRIGRAM_CHARS: usize = 3;

const SELECT: &str = "SELECT r.id, p.key, r.recording, r.stored_bytes, r.block_count, r.updated_at_ms, r.summary, \
     r.start_ms, r.project_id FROM recordings r JOIN projects p ON p.id = r.project_id";

/// A condition on `recordings r`, and how to find what fulfils it from its own index.
struct Filter {
    condition: &'static str,
    values: Vec<SqlValue>,
    /// Selects the ids of the recordings that fulfil it, and the values for that. None where no index would help.
    probe: Option<(&'static str, Vec<SqlValue>)>,
}

/// Where a page ended.
struct Cursor {
    start_ms: i64,
    project_id: i64,
    recording: String,
}

/// A statement in the making: conditions joined by AND, and the values of their parameters.
#[derive(Default)]
struct Conditions {
    sql: Vec<String>,
    values: Vec<SqlValue>,
}

impl Conditions {
    fn add(&mut self, condition: impl Into<String>, values: impl IntoIterator<Item = SqlValue>) {
        self.sql.push(condition.into());
        self.values.extend(values);
    }

    fn joined(&self) -> String {
        if self.sql.is_empty() { "true".to_owned() } else { self.sql.join(" AND ") }
    }
}

pub(super) fn list(db: &Connection, query: &ListQuery) -> Result<Page, Failure> {
    let limit = query.limit.unwrap_or(PAGE_RECORDINGS_MAX).clamp(1, PAGE_RECORDINGS_MAX);
    let cursor = query.cursor.as_deref().map(Cursor::parse).transpose()?;
    let Some(project_id) = project_of(db, query)? else { return Ok(Page { recordings: Vec::new(), next: None }) };
    let (sql, values) = statement(db, query, project_id, cursor.as_ref(), limit)?;
    let mut found_rows = db.prepare_cached(&sql)?;
    let mut found = found_rows.query(params_from_iter(values))?;
    let (mut recordings, mut next, mut last) = (Vec::with_capacity(limit), None, None);
    while let Some(row) = found.next()? {
        if recordings.len() == limit {
            next = last.map(|cursor: Cursor| cursor.to_text());
            break;
        }
        last = Some(Cursor { start_ms: row.get(7)?, project_id: row.get(8)?, recording: row.get(2)? });
        recordings.push(recording_row(db, row)?);
    }
    Ok(Page { recordings, next })
}

pub(super) fn count_of(db: &Connection, query: &ListQuery) -> Result<u64, Failure> {
    let Some(project_id) = project_of(db, query)? else { return Ok(0) };
    let (source, conditions) = source_and_conditions(db, query, project_id, None)?;
    let sql = format!(
        "SELECT count(*) FROM recordings r{source} CROSS JOIN projects p ON p.id = r.project_id WHERE {}",
        conditions.joined()
    );
    Ok(db.prepare_cached(&sql)?.query_one(params_from_iter(conditions.values), |row| unsigned(row, 0))?)
}

/// See [`super::Catalog::ended`].
pub(super) fn ended(db: &Connection, after: &EndedAt, until_ms: i64, limit: usize) -> Result<Vec<EndedAt>, Failure> {
    let mut select = db.prepare_cached(ENDED)?;
    let EndedAt { updated_at_ms, recording, project } = after;
    let mut found = select.query(params![updated_at_ms, until_ms, recording, project, signed(count(limit))])?;
    let mut ended = Vec::new();
    while let Some(row) = found.next()? {
        ended.push(EndedAt { updated_at_ms: row.get(0)?, recording: row.get(1)?, project: row.get(2)? });
    }
    Ok(ended)
}

/// The project that is asked for, if any; nothing where there is none of that key, and so nothing to be found.
fn project_of(db: &Connection, query: &ListQuery) -> Result<Option<Option<i64>>, Failure> {
    match &query.project {
        None => Ok(Some(None)),
        Some(key) => Ok(id_of_project(db, key)?.map(Some)),
    }
}

pub(super) fn get(db: &Connection, project: &ProjectKey, id: &RecordingId) -> Result<Option<RecordingRow>, Failure> {
    let mut select = db.prepare_cached(&format!("{SELECT} WHERE r.recording = ?1 AND p.key = ?2"))?;
    let mut found = select.query([id.as_str(), project.as_str()])?;
    found.next()?.map(|row| recording_row(db, row)).transpose()
}

pub(super) fn find(db: &Connection, id: &RecordingId) -> Result<Vec<RecordingRow>, Failure> {
    let mut select = db.prepare_cached(&format!("{SELECT} WHERE r.recording = ?1 ORDER BY p.key"))?;
    let mut found = select.query([id.as_str()])?;
    let mut recordings = Vec::new();
    while let Some(row) = found.next()? {
        recordings.push(recording_row(db, row)?);
    }
    Ok(recordings)
}

/// The page's statement. It asks for one row more than the page holds, which tells whether there is another page.
fn statement(
    db: &Connection,
    query: &ListQuery,
    project_id: Option<i64>,
    cursor: Option<&Cursor>,
    limit: usize,
) -> Result<(String, Vec<SqlValue>), Failure> {
    let (source, mut conditions) = source_and_conditions(db, query, project_id, cursor)?;
    // CROSS JOIN keeps the order of the tables: the recordings are walked, and each one's project is looked up.
    let select = SELECT.replace("recordings r JOIN", &format!("recordings r{source} CROSS JOIN"));
    let order = match (query.order, project_id) {
        (ListOrder::NewestFirst, Some(_)) => "r.start_ms DESC, r.recording",
        (ListOrder::NewestFirst, None) => "r.start_ms DESC, r.recording, r.project_id",
        (ListOrder::OldestFirst, Some(_)) => "r.start_ms, r.recording DESC",
        (ListOrder::OldestFirst, None) => "r.start_ms, r.recording DESC, r.project_id DESC",
    };
    let condition = conditions.joined();
    conditions.values.push(signed(count(limit) + 1).into());
    Ok((format!("{select} WHERE {condition} ORDER BY {order} LIMIT ?"), conditions.values))
}

/// Which index is walked, and what of it is taken.
fn source_and_conditions(
    db: &Connection,
    query: &ListQuery,
    project_id: Option<i64>,
    cursor: Option<&Cursor>,
) -> Result<(&'static str, Conditions), Failure> {
    let filters = filters(query);
    let mut conditions = Conditions::default();
    let among = match &query.recording {
        Some(_) => None,
        None => candidates(db, &filters)?,
    };
    let source = match among {
        Some(candidates) => {
            let candidates = serde_json::to_string(&candidates)?;
            conditions.add("r.id IN (SELECT value FROM json_each(?))", [candidates.into()]);
            // Row ids are still looked up; what is ruled out is walking the project's index instead.
            " NOT INDEXED"
        }
        None if query.recording.is_some() => " INDEXED BY recordings_by_id",
        None if project_id.is_some() => " INDEXED BY recordings_newest_of_project",
        None => " INDEXED BY recordings_newest",
    };
    if let Some(project_id) = project_id {
        conditions.add("r.project_id = ?", [project_id.into()]);
    }
    if let Some(recording) = &query.recording {
        conditions.add("r.recording = ?", [recording.as_str().to_owned().into()]);
    }
    add_range(&mut conditions, query, cursor, project_id.is_some());
    for filter in filters {
        conditions.add(filter.condition, filter.values);
    }
    Ok((source, conditions))
}

fn add_range(conditions: &mut Conditions, query: &ListQuery, cursor: Option<&Cursor>, has_project: bool) {
    if let Some(from_ms) = query.from_ms {
        conditions.add("r.start_ms >= ?", [from_ms.into()]);
    }
    if let Some(to_ms) = query.to_ms {
        conditions.add("r.start_ms < ?", [to_ms.into()]);
    }
    let Some(cursor) = cursor else { return };
    let (start_ms, recording) = (SqlValue::from(cursor.start_ms), SqlValue::from(cursor.recording.clone()));
    let (seek, within_project, across_projects) = match query.order {
        ListOrder::NewestFirst => (
            "r.start_ms <= ?",
            "(r.start_ms < ? OR r.recording > ?)",
            "(r.start_ms < ? OR (r.recording, r.project_id) > (?, ?))",
        ),
        ListOrder::OldestFirst => (
            "r.start_ms >= ?",
            "(r.start_ms > ? OR r.recording < ?)",
            "(r.start_ms > ? OR (r.recording, r.project_id) < (?, ?))",
        ),
    };
    // The first condition is implied by the second, and is the one that the index can seek to.
    conditions.add(seek, [start_ms.clone()]);
    if has_project {
        conditions.add(within_project, [start_ms, recording]);
    } else {
        conditions.add(across_projects, [start_ms, recording, cursor.project_id.into()]);
    }
}

fn filters(query: &ListQuery) -> Vec<Filter> {
    let mut filters = Vec::new();
    if let Some(person) = &query.person {
        let exact = SqlValue::from(person.clone());
        let probe = is_searchable(person).then(|| (PERSON_PROBE, vec![exact.clone(), phrase(person)]));
        filters.push(Filter { condition: PERSON_IS, values: vec![exact, lower(person)], probe });
    }
    if let Some(url) = &query.url_contains {
        let probe = is_searchable(url).then(|| (URL_PROBE, vec![phrase(url)]));
        filters.push(Filter { condition: URL_CONTAINS, values: vec![lower(url)], probe });
    }
    let errors_min = query.errors_min.max(query.has_errors.map(u64::from));
    let minimums = [
        ("r.console_error_count >= ?", ERRORS_PROBE, errors_min.filter(|min| *min > 0).map(signed)),
        ("r.click_count >= ?", CLICKS_PROBE, query.clicks_min.map(signed)),
        ("r.keypress_count >= ?", KEYPRESSES_PROBE, query.keypresses_min.map(signed)),
        ("r.duration_ms >= ?", DURATION_MIN_PROBE, query.duration_min_ms),
        ("r.duration_ms <= ?", DURATION_MAX_PROBE, query.duration_max_ms),
        ("r.updated_at_ms >= ?", UPDATE_PROBE, query.live_since_ms),
    ];
    for (condition, probe, bound) in minimums {
        if let Some(bound) = bound {
            let values = vec![SqlValue::from(bound)];
            filters.push(Filter { condition, values: values.clone(), probe: Some((probe, values)) });
        }
    }
    filters.extend(notes_filters(query));
    if query.has_errors == Some(false) {
        filters.push(Filter { condition: "r.console_error_count = 0", values: vec![], probe: None });
    }
    filters
}

/// What people said is looked up from the recording, or, where it is rare, the recordings from it.
fn notes_filters(query: &ListQuery) -> Vec<Filter> {
    let mut filters = Vec::new();
    if let Some(tag) = &query.tag {
        let values = vec![SqlValue::from(tag.clone())];
        filters.push(Filter { condition: HAS_TAG, values: values.clone(), probe: Some((TAG_PROBE, values)) });
    }
    for (asked, yes, no, probe) in [
        (query.is_pinned, IS_PINNED, IS_NOT_PINNED, Some((PINNED_PROBE, vec![]))),
        (query.has_comments, HAS_COMMENTS, HAS_NO_COMMENTS, Some((COMMENTED_PROBE, vec![]))),
        (query.is_seen, IS_SEEN, IS_NOT_SEEN, None),
    ] {
        match asked {
            Some(true) => filters.push(Filter { condition: yes, values: vec![], probe }),
            Some(false) => filters.push(Filter { condition: no, values: vec![], probe: None }),
            None => {}
        }
    }
    filters
}

const HAS_TAG: &str =
    "EXISTS (SELECT 1 FROM tags t WHERE t.tag = ? AND t.recording = r.recording AND t.project = p.key)";
const TAG_PROBE: &str = "SELECT r.id FROM tags t CROSS JOIN recordings r ON r.recording = t.recording
    WHERE t.tag = ? LIMIT ?";
const IS_PINNED: &str = "EXISTS (SELECT 1 FROM notes n
    WHERE n.recording = r.recording AND n.project = p.key AND n.is_pinned = 1)";
const IS_NOT_PINNED: &str = "NOT EXISTS (SELECT 1 FROM notes n
    WHERE n.recording = r.recording AND n.project = p.key AND n.is_pinned = 1)";
const PINNED_PROBE: &str = "SELECT r.id FROM notes n CROSS JOIN recordings r ON r.recording = n.recording
    WHERE n.is_pinned = 1 LIMIT ?";
const HAS_COMMENTS: &str = "EXISTS (SELECT 1 FROM notes n
    WHERE n.recording = r.recording AND n.project = p.key AND n.comment_count > 0)";
const HAS_NO_COMMENTS: &str = "NOT EXISTS (SELECT 1 FROM notes n
    WHERE n.recording = r.recording AND n.project = p.key AND n.comment_count > 0)";
const COMMENTED_PROBE: &str = "SELECT r.id FROM notes n CROSS JOIN recordings r ON r.recording = n.recording
    WHERE n.comment_count > 0 LIMIT ?";
const IS_SEEN: &str = "EXISTS (SELECT 1 FROM notes n
    WHERE n.recording = r.recording AND n.project = p.key AND n.is_seen = 1)";
const IS_NOT_SEEN: &str = "NOT EXISTS (SELECT 1 FROM notes n
    WHERE n.recording = r.recording AND n.project = p.key AND n.is_seen = 1)";
const PERSON_IS: &str = "EXISTS (SELECT 1 FROM recording_distinct_ids rd JOIN distinct_ids d ON d.id = rd.distinct_id
    WHERE rd.recording_id = r.id AND (
      d.person_id = (SELECT e.person_id FROM distinct_ids e WHERE e.project_id = r.project_id AND e.distinct_id = ?)
      OR EXISTS (SELECT 1 FROM person_search s WHERE s.rowid = d.person_id AND instr(lower(s.properties), ?) > 0)))";
const PERSON_PROBE: &str = "SELECT rd.recording_id FROM distinct_ids d
    JOIN recording_distinct_ids rd ON rd.distinct_id = d.id
    WHERE d.person_id IN (
      SELECT e.person_id FROM distinct_ids e WHERE e.project_id IN (SELECT id FROM projects) AND e.distinct_id = ?
      UNION SELECT s.rowid FROM person_search s WHERE s.properties MATCH ?) LIMIT ?";
const URL_CONTAINS: &str = "EXISTS (SELECT 1 FROM recording_urls ru JOIN urls u ON u.id = ru.url_id
    WHERE ru.recording_id = r.id AND instr(lower(u.url), ?) > 0)";
const URL_PROBE: &str = "SELECT ru.recording_id FROM url_search s CROSS JOIN recording_urls ru ON ru.url_id = s.rowid
    WHERE s.url MATCH ? LIMIT ?";
const ERRORS_PROBE: &str =
    "SELECT id FROM recordings WHERE console_error_count > 0 AND console_error_count >= ? LIMIT ?";
const CLICKS_PROBE: &str = "SELECT id FROM recordings WHERE hot_block_count = 0 AND click_count >= ?1
    UNION ALL SELECT id FROM recordings INDEXED BY recordings_hot WHERE hot_block_count > 0 AND click_count >= ?1
    LIMIT ?2";
const KEYPRESSES_PROBE: &str = "SELECT id FROM recordings WHERE hot_block_count = 0 AND keypress_count >= ?1
    UNION ALL SELECT id FROM recordings INDEXED BY recordings_hot WHERE hot_block_count > 0 AND keypress_count >= ?1
    LIMIT ?2";
const DURATION_MIN_PROBE: &str = "SELECT id FROM recordings WHERE hot_block_count = 0 AND duration_ms >= ?1
    UNION ALL SELECT id FROM recordings INDEXED BY recordings_hot WHERE hot_block_count > 0 AND duration_ms >= ?1
    LIMIT ?2";
const DURATION_MAX_PROBE: &str = "SELECT id FROM recordings WHERE hot_block_count = 0 AND duration_ms <= ?1
    UNION ALL SELECT id FROM recordings INDEXED BY recordings_hot WHERE hot_block_count > 0 AND duration_ms <= ?1
    LIMIT ?2";
const UPDATE_PROBE: &str = "SELECT id FROM recordings WHERE hot_block_count = 0 AND updated_at_ms >= ?1
    UNION ALL SELECT id FROM recordings INDEXED BY recordings_hot WHERE hot_block_count > 0 AND updated_at_ms >= ?1
    LIMIT ?2";

const ENDED: &str = "SELECT r.updated_at_ms, r.recording, p.key FROM (
      SELECT id FROM recordings WHERE hot_block_count = 0 AND updated_at_ms BETWEEN ?1 AND ?2
      UNION ALL SELECT id FROM recordings INDEXED BY recordings_hot
        WHERE hot_block_count > 0 AND updated_at_ms BETWEEN ?1 AND ?2) e
    JOIN recordings r ON r.id = e.id JOIN projects p ON p.id = r.project_id
    WHERE (r.updated_at_ms, r.recording, p.key) > (?1, ?3, ?4)
    ORDER BY r.updated_at_ms, r.recording, p.key LIMIT ?5";

/// What all rare filters match, sorted; nothing when every filter has more than [`RARE_MAX`] matches.
fn candidates(db: &Connection, filters: &[Filter]) -> Result<Option<Vec<i64>>, Failure> {
    let mut candidates: Option<Vec<i64>> = None;
    for filter in filters {
        let Some((probe, values)) = &filter.probe else { continue };
        // One match past the limit tells a rare filter from a common one.
        let most = SqlValue::from(signed(count(RARE_MAX) + 1));
        let mut select = db.prepare_cached(probe)?;
        let mut matches: Vec<i64> = select
            .query_map(params_from_iter(values.iter().chain([&most])), |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        if matches.len() > RARE_MAX {
            continue;
        }
        matches.sort_unstable();
        match &mut candidates {
            Some(candidates) => candidates.retain(|id| matches.binary_search(id).is_ok()),
            None => candidates = Some(matches),
        }
    }
    Ok(candidates)
}

fn recording_row(db: &Connection, row: &Row<'_>) -> Result<RecordingRow, Failure> {
    let (project, id, summary): (String, String, String) = (row.get(1)?, row.get(2)?, row.get(6)?);
    let noted = super::notes::noted(db, &project, &id)?;
    Ok(RecordingRow {
        project: project.parse()?,
        id: id.parse()?,
        summary: serde_json::from_str(&summary)?,
        stored_bytes: unsigned(row, 3)?,
        block_count: unsigned(row, 4)?,
        updated_at_ms: row.get(5)?,
        person: persons::of_recording(db, row.get(0)?)?,
        noted,
    })
}

impl Cursor {
    fn to_text(&self) -> String {
        format!("{}_{}_{}", self.start_ms, self.project_id, self.recording)
    }

    fn parse(text: &str) -> Result<Self, Failure> {
        let mut parts = text.splitn(3, '_');
        let mut part = || parts.next().ok_or(Failure::BadCursor);
        let start_ms = part()?.parse().map_err(|_| Failure::BadCursor)?;
        let project_id = part()?.parse().map_err(|_| Failure::BadCursor)?;
        let recording: RecordingId = part()?.parse().map_err(|_| Failure::BadCursor)?;
        Ok(Self { start_ms, project_id, recording: recording.into() })
    }
}

fn is_searchable(text: &str) -> bool {
    text.chars().count() >= TRIGRAM_CHARS && !text.contains('\0')
}

/// `text` as one phrase of a full-text query, with nothing in it that the query language knows.
fn phrase(text: &str) -> SqlValue {
    format!("\"{}\"", text.replace('"', "\"\"")).into()
}

/// As SQLite's `lower` does it, which leaves letters beyond ASCII alone.
fn lower(text: &str) -> SqlValue {
    text.to_ascii_lowercase().into()
}

#[cfg(test)]
mod tests;
