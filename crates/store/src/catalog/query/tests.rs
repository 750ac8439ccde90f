//! That listings walk an index, shown by SQLite's plan over 100,000 recordings.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use rusqlite::{Connection, params_from_iter};

use super::{ListOrder, ListQuery, RARE_MAX, candidates, filters, list, statement};

const RECORDINGS: i64 = 100_000;

/// Every fifth recording has an error, the oldest ten have 99 clicks and a person, and ten from the sixth on have 9 key
/// presses. The newest hundred are in progress.
fn full() -> Connection {
    let db = Connection::open_in_memory().unwrap();
    db.execute_batch(include_str!("../schema.sql")).unwrap();
    db.execute_batch(include_str!("../schema-2.sql")).unwrap();
    db.execute("INSERT INTO projects VALUES (1, 'phc_one', 'One', 0)", []).unwrap();
    let summary = serde_json::to_string(&reelcase_format::summary::Summary::default()).unwrap();
    db.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
         INSERT INTO recordings SELECT i, 1, printf('r%d', i), i, i + 100, 100, 0, 1, iif(i <= 10, 99, 5),
           iif(i BETWEEN 6 AND 15, 9, 5), iif(i % 5 = 0, 1, 0), NULL, 100, 1, iif(i > ?1 - 100, 1, 0), i, ?2 FROM n",
        (RECORDINGS, summary),
    )
    .unwrap();
    db.execute_batch(
        "INSERT INTO distinct_ids VALUES (1, 1, 'ann', 1);
         INSERT INTO recording_distinct_ids SELECT 1, id FROM recordings WHERE id <= 10;
         INSERT INTO urls VALUES (1, 'https://shop.test/common'), (2, 'https://shop.test/rare');
         INSERT INTO url_search (rowid, url) SELECT id, url FROM urls;
         INSERT INTO recording_urls SELECT 1, id FROM recordings;
         INSERT INTO recording_urls SELECT 2, id FROM recordings WHERE id <= 10;",
    )
    .unwrap();
    db
}

fn plan(db: &Connection, query: &ListQuery, project_id: Option<i64>) -> String {
    let cursor = query.cursor.as_deref().map(|text| super::Cursor::parse(text).unwrap());
    let (sql, values) = statement(db, query, project_id, cursor.as_ref(), 50).unwrap();
    let mut explain = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let steps = explain.query_map(params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
    steps.collect::<Result<Vec<_>, _>>().unwrap().join("\n")
}

#[test]
fn common_listings_walk_an_index_without_sorting() {
    let db = full();
    let oldest_first = ListQuery { order: ListOrder::OldestFirst, ..ListQuery::default() };
    let queries = [
        oldest_first.clone(),
        ListQuery { cursor: Some("500_1_r500".to_owned()), ..oldest_first },
        ListQuery::default(),
        ListQuery { cursor: Some("500_1_r500".to_owned()), ..ListQuery::default() },
        ListQuery { from_ms: Some(5), to_ms: Some(90_000), ..ListQuery::default() },
        ListQuery { has_errors: Some(true), ..ListQuery::default() },
        ListQuery { url_contains: Some("common".to_owned()), clicks_min: Some(1), ..ListQuery::default() },
    ];
    for query in queries {
        for project_id in [None, Some(1)] {
            let plan = plan(&db, &query, project_id);
            assert!(plan.contains("USING INDEX recordings_newest"), "{query:?}: {plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{query:?}: {plan}");
        }
    }
    let with_cursor = ListQuery { cursor: Some("500_1_r500".to_owned()), ..ListQuery::default() };
    assert!(plan(&db, &with_cursor, None).contains("(start_ms<?)"), "a deep page seeks");
}

#[test]
fn a_rare_filter_drives_the_listing() {
    let db = full();
    let queries = [
        ListQuery { clicks_min: Some(99), has_errors: Some(false), ..ListQuery::default() },
        ListQuery { url_contains: Some("RARE".to_owned()), ..ListQuery::default() },
        ListQuery { person: Some("ann".to_owned()), clicks_min: Some(1), ..ListQuery::default() },
        ListQuery { duration_max_ms: Some(99), ..ListQuery::default() },
    ];
    for query in queries {
        let candidates = candidates(&db, &filters(&query)).unwrap().unwrap();
        assert!(candidates.len() <= 10, "{query:?}");
        for project_id in [None, Some(1)] {
            let plan = plan(&db, &query, project_id);
            assert!(plan.contains("SEARCH r USING INTEGER PRIMARY KEY"), "{query:?}: {plan}");
        }
    }
    let clicked = ListQuery { clicks_min: Some(99), has_errors: Some(false), ..ListQuery::default() };
    assert_eq!(list(&db, &clicked).unwrap().recordings.len(), 8);
}

#[test]
fn rare_filters_narrow_each_other() {
    let db = full();
    let query =
        ListQuery { clicks_min: Some(99), keypresses_min: Some(9), has_errors: Some(true), ..ListQuery::default() };
    let common_to_both = candidates(&db, &filters(&query)).unwrap().unwrap();
    assert_eq!(common_to_both, [6, 7, 8, 9, 10], "errors are common, and narrow nothing");
    assert_eq!(list(&db, &query).unwrap().recordings.len(), 1);
}

#[test]
fn no_probe_reads_or_scans_the_recordings() {
    let db = full();
    let every_filter = ListQuery {
        person: Some("ann".to_owned()),
        url_contains: Some("shop".to_owned()),
        duration_min_ms: Some(1),
        duration_max_ms: Some(1),
        clicks_min: Some(1),
        keypresses_min: Some(1),
        errors_min: Some(1),
        live_since_ms: Some(1),
        ..ListQuery::default()
    };
    for (probe, mut values) in filters(&every_filter).into_iter().filter_map(|filter| filter.probe) {
        values.push(i64::try_from(RARE_MAX).unwrap().into());
        let mut explain = db.prepare(&format!("EXPLAIN QUERY PLAN {probe}")).unwrap();
        let steps = explain.query_map(params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
        for step in steps.map(Result::unwrap) {
            let is_search = step.starts_with("SEARCH") || step.contains("VIRTUAL TABLE INDEX");
            // Those in progress are few, and looked through in an index of their own.
            let is_scan_of_few = step.contains("projects") || step.contains("USING COVERING INDEX recordings_hot");
            let is_scan = step.starts_with("SCAN") && !is_search && !is_scan_of_few;
            let reads_rows = step.contains(" recordings USING INDEX");
            assert!(!is_scan && !reads_rows, "{probe}: {step}");
        }
    }
}
