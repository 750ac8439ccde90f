//! How every catalog behaves, and what holds of the SQLite one besides.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::path::Path;

use reelcase_format::block::{BlockHash, BlockKind};
use reelcase_format::reel::BlockRef;
use reelcase_format::summary::Summary;
use reelcase_store::catalog::{
    BlockRow, Catalog, CatalogCommit, CatalogError, Committed, DropCount, ListOrder, ListQuery, ObjectKind, ObjectRow,
    PersonChange, Project, RecordingDelta, SealedUpload, SqliteCatalog,
};
use serde_json::{Map, Value, json};

const PROJECT: &str = "phc_one";

/// A catalog, and the directory that lives as long as it does.
fn sqlite() -> (tempfile::TempDir, Box<dyn Catalog>) {
    let dir = tempfile::tempdir().unwrap();
    let catalog = SqliteCatalog::open(dir.path().join("catalog.sqlite")).unwrap();
    (dir, Box::new(catalog))
}

fn summary(start_ms: i64, end_ms: i64) -> Summary {
    Summary { start_ms, end_ms, event_count: 1, ..Summary::default() }
}

fn object(seq: u64, kind: ObjectKind) -> CatalogCommit {
    let object = ObjectRow { seq, key: format!("object-{seq}"), kind, stored_bytes: 1_000, recording_count: 1 };
    CatalogCommit {
        object,
        recordings: vec![],
        blocks: vec![],
        project_block_count: 0,
        carried: vec![],
        uploads: vec![],
        persons: vec![],
        now_ms: 1_000 + i64::try_from(seq).unwrap(),
    }
}

/// One object with one block of one recording.
fn batch(seq: u64, id: &str, summary: Summary) -> CatalogCommit {
    with_recording(object(seq, ObjectKind::Batch), id, summary)
}

fn with_recording(mut commit: CatalogCommit, id: &str, summary: Summary) -> CatalogCommit {
    commit.blocks.push(BlockRow {
        project: PROJECT.parse().unwrap(),
        recording: id.parse().unwrap(),
        object: commit.object.key.clone(),
        block: u32::try_from(commit.blocks.len()).unwrap(),
        offset: 64,
        stored_bytes: 100,
        plain_bytes: 900,
        start_ms: summary.start_ms,
        end_ms: summary.end_ms,
        event_count: 1,
        windows: vec!["w1".to_owned()],
        keyframes: vec![],
        kind: BlockKind::Lines,
        hash: BlockHash::of(id.as_bytes()),
    });
    let updated_at_ms = if commit.object.kind == ObjectKind::Batch { commit.now_ms } else { 0 };
    let (project, id) = (PROJECT.parse().unwrap(), id.parse().unwrap());
    commit.recordings.push(RecordingDelta { project, id, summary, updated_at_ms, replaces: vec![] });
    commit
}

fn replaces(mut commit: CatalogCommit, objects: &[u64]) -> CatalogCommit {
    commit.recordings[0].replaces =
        objects.iter().map(|seq| BlockRef { object: format!("object-{seq}"), block: 0 }).collect();
    commit
}

fn change(distinct_id: &str, at_ms: i64) -> PersonChange {
    PersonChange {
        project: PROJECT.parse().unwrap(),
        at_ms,
        distinct_id: distinct_id.to_owned(),
        merge_with: None,
        set: Map::new(),
        set_once: Map::new(),
    }
}

fn fields(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

async fn enter(catalog: &dyn Catalog, commits: impl IntoIterator<Item = CatalogCommit>) {
    for commit in commits {
        assert_eq!(catalog.commit(commit).await.unwrap(), Committed::Entered);
    }
}

async fn ids(catalog: &dyn Catalog, query: ListQuery) -> Vec<String> {
    let page = catalog.list(query).await.unwrap();
    page.recordings.into_iter().map(|row| row.id.to_string()).collect()
}

async fn tell(catalog: &dyn Catalog, seq: u64, changes: Vec<PersonChange>) {
    enter(catalog, [CatalogCommit { persons: changes, project_block_count: 1, ..object(seq, ObjectKind::Batch) }])
        .await;
}

#[tokio::test]
async fn entering_an_object_twice_changes_nothing() {
    let (_dir, catalog) = sqlite();
    enter(&*catalog, [batch(0, "a", summary(10, 20))]).await;
    let before = catalog.dump().await.unwrap();
    let again = catalog.commit(batch(0, "a", summary(10, 20))).await.unwrap();
    assert_eq!(again, Committed::AlreadyEntered);
    assert_eq!(catalog.dump().await.unwrap(), before);
    assert_eq!(catalog.next_object_seq().await.unwrap(), 1);
}

#[tokio::test]
async fn deltas_add_up_to_the_recording() {
    let (_dir, catalog) = sqlite();
    let clicks = |start_ms, end_ms, click_count| Summary { click_count, ..summary(start_ms, end_ms) };
    enter(&*catalog, [batch(0, "a", clicks(10, 20, 2)), batch(1, "a", clicks(5, 40, 3))]).await;
    let row = catalog.get(&PROJECT.parse().unwrap(), &"a".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((row.summary.start_ms, row.summary.end_ms, row.summary.click_count), (5, 40, 5));
    assert_eq!((row.stored_bytes, row.block_count, row.updated_at_ms), (200, 2, 1_001));
    let starts: Vec<i64> = catalog
        .blocks(&PROJECT.parse().unwrap(), &"a".parse().unwrap())
        .await
        .unwrap()
        .iter()
        .map(|block| block.start_ms)
        .collect();
    assert_eq!(starts, [5, 10]);
    assert_eq!(catalog.find(&"a".parse().unwrap()).await.unwrap(), [row]);
}

#[tokio::test]
async fn compaction_keeps_the_summary_and_leaves_dead_objects() {
    let (_dir, catalog) = sqlite();
    enter(&*catalog, [batch(0, "a", summary(10, 20)), batch(1, "a", summary(20, 30))]).await;
    let (project, id) = (PROJECT.parse().unwrap(), "a".parse().unwrap());
    let before = catalog.get(&project, &id).await.unwrap().unwrap();
    let candidates = catalog.compaction_candidates(1_001, 10).await.unwrap();
    assert_eq!(candidates.iter().map(|found| found.id.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(catalog.compaction_candidates(1_000, 10).await.unwrap(), []);

    let compacted = with_recording(object(2, ObjectKind::Compacted), "a", before.summary.clone());
    enter(&*catalog, [replaces(compacted, &[0, 1])]).await;

    let after = catalog.get(&project, &id).await.unwrap().unwrap();
    assert_eq!((&after.summary, after.updated_at_ms), (&before.summary, before.updated_at_ms));
    assert_eq!((after.stored_bytes, after.block_count), (100, 1));
    assert_eq!(catalog.compaction_candidates(9_999, 10).await.unwrap(), []);
    let dead: Vec<u64> = catalog.dead_objects(i64::MAX).await.unwrap().iter().map(|object| object.seq).collect();
    assert_eq!(dead, [0, 1]);
    catalog.forget_object("object-0").await.unwrap();
    catalog.forget_object("object-2").await.unwrap();
    let left: Vec<u64> = catalog.objects().await.unwrap().iter().map(|object| object.seq).collect();
    assert_eq!(left, [1, 2], "an object with live blocks is not forgotten");
}

#[tokio::test]
async fn an_object_of_persons_alone_is_never_dead() {
    let (_dir, catalog) = sqlite();
    tell(&*catalog, 0, vec![change("ann", 1)]).await;
    assert_eq!(catalog.dead_objects(i64::MAX).await.unwrap(), []);
}

#[tokio::test]
async fn a_rebuilt_catalog_equals_the_original_after_a_sweep() {
    let (_dir, original) = sqlite();
    let identified = PersonChange { merge_with: Some("anon".to_owned()), ..change("ann", 5) };
    let first = Summary { urls: vec!["https://a.test/".to_owned()], ..summary(10, 20) };
    let whole = Summary { event_count: 2, urls: first.urls.clone(), ..summary(10, 30) };
    let history = [
        batch(0, "a", first),
        CatalogCommit { persons: vec![identified], ..batch(1, "a", summary(20, 30)) },
        batch(2, "b", summary(50, 60)),
        batch(3, "a", summary(70, 80)),
        replaces(with_recording(object(4, ObjectKind::Compacted), "a", whole), &[0, 1]),
    ];
    enter(&*original, history.clone()).await;
    original.forget_object("object-0").await.unwrap();

    let (_dir, rebuilt) = sqlite();
    enter(&*rebuilt, history.into_iter().skip(1)).await;
    assert_eq!(rebuilt.dump().await.unwrap(), original.dump().await.unwrap());
    assert_eq!(rebuilt.next_object_seq().await.unwrap(), original.next_object_seq().await.unwrap());
}

#[tokio::test]
async fn sealed_uploads_are_recognised_until_forgotten() {
    let (_dir, catalog) = sqlite();
    let project = PROJECT.parse().unwrap();
    let sealed = SealedUpload { project: PROJECT.parse().unwrap(), recording: None, upload: [1; 16] };
    enter(&*catalog, [CatalogCommit { uploads: vec![sealed], ..object(0, ObjectKind::Batch) }]).await;
    assert_eq!(catalog.sealed_uploads(&project, &[[2; 16], [1; 16]]).await.unwrap(), [false, true]);
    assert_eq!(catalog.sealed_uploads(&"phc_other".parse().unwrap(), &[[1; 16]]).await.unwrap(), [false]);
    assert_eq!(catalog.forget_uploads(1_000).await.unwrap(), 0);
    assert_eq!(catalog.forget_uploads(1_001).await.unwrap(), 1);
    assert_eq!(catalog.sealed_uploads(&project, &[[1; 16]]).await.unwrap(), [false]);
}

#[tokio::test]
async fn pages_cover_everything_once_and_end() {
    let (_dir, catalog) = sqlite();
    // Three start at once, across the border of a page.
    for (seq, (id, start_ms)) in [("e", 10), ("d", 30), ("c", 20), ("b", 20), ("a", 20)].into_iter().enumerate() {
        enter(&*catalog, [batch(u64::try_from(seq).unwrap(), id, summary(start_ms, 40))]).await;
    }
    for project in [None, Some(PROJECT.parse().unwrap())] {
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let query = ListQuery { project: project.clone(), limit: Some(2), cursor, ..ListQuery::default() };
            let page = catalog.list(query).await.unwrap();
            seen.extend(page.recordings.iter().map(|row| row.id.to_string()));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, ["d", "a", "b", "c", "e"]);
        let (mut back, mut cursor) = (Vec::new(), None);
        loop {
            let (order, project) = (ListOrder::OldestFirst, project.clone());
            let query = ListQuery { order, project, limit: Some(2), cursor, ..ListQuery::default() };
            let page = catalog.list(query).await.unwrap();
            back.extend(page.recordings.iter().map(|row| row.id.to_string()));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(back, ["e", "c", "b", "a", "d"], "the oldest first, and otherwise the same");
    }
}

#[tokio::test]
async fn a_foreign_cursor_is_an_error() {
    let (_dir, catalog) = sqlite();
    for cursor in ["", "x", "1_2", "1_2_a/b"] {
        let query = ListQuery { cursor: Some(cursor.to_owned()), ..ListQuery::default() };
        assert!(matches!(catalog.list(query).await, Err(CatalogError::BadCursor)), "{cursor}");
    }
}

#[tokio::test]
async fn filters_keep_what_they_name() {
    let (_dir, catalog) = sqlite();
    let busy = Summary {
        click_count: 3,
        keypress_count: 4,
        console_error_count: 1,
        urls: vec!["https://shop.test/Checkout?x=%22".to_owned()],
        ..summary(1_000, 9_000)
    };
    enter(&*catalog, [batch(0, "busy", busy), batch(1, "calm", summary(2_000, 2_100))]).await;
    let all = ListQuery::default;
    let cases = [
        (ListQuery { from_ms: Some(1_001), ..all() }, "calm"),
        (ListQuery { to_ms: Some(2_000), ..all() }, "busy"),
        (ListQuery { url_contains: Some("checkout".to_owned()), ..all() }, "busy"),
        (ListQuery { url_contains: Some("SH".to_owned()), ..all() }, "busy"),
        (ListQuery { duration_min_ms: Some(8_000), ..all() }, "busy"),
        (ListQuery { duration_max_ms: Some(100), ..all() }, "calm"),
        (ListQuery { clicks_min: Some(3), ..all() }, "busy"),
        (ListQuery { keypresses_min: Some(4), ..all() }, "busy"),
        (ListQuery { errors_min: Some(1), ..all() }, "busy"),
        (ListQuery { has_errors: Some(true), ..all() }, "busy"),
        (ListQuery { errors_min: Some(0), has_errors: Some(true), ..all() }, "busy"),
        (ListQuery { has_errors: Some(false), ..all() }, "calm"),
        (ListQuery { live_since_ms: Some(1_001), ..all() }, "calm"),
        (ListQuery { project: Some(PROJECT.parse().unwrap()), clicks_min: Some(1), ..all() }, "busy"),
    ];
    let none = [
        ListQuery { url_contains: Some("\" OR \"".to_owned()), ..all() },
        ListQuery { project: Some("phc_other".parse().unwrap()), ..all() },
        ListQuery { clicks_min: Some(4), ..all() },
        ListQuery { clicks_min: Some(3), has_errors: Some(false), ..all() },
    ];
    for finished in ["none", "busy", "calm"] {
        // Whatever an index knows of a recording in progress, it knows of a compacted one.
        if let Some(seq) = ["busy", "calm"].iter().position(|id| *id == finished) {
            let row = catalog.get(&PROJECT.parse().unwrap(), &finished.parse().unwrap()).await.unwrap().unwrap();
            let compacted = with_recording(object(2 + seq as u64, ObjectKind::Compacted), finished, row.summary);
            enter(&*catalog, [replaces(compacted, &[seq as u64])]).await;
        }
        for (query, expected) in &cases {
            assert_eq!(ids(&*catalog, query.clone()).await, [*expected], "{query:?}, finished: {finished}");
        }
        for query in &none {
            assert!(ids(&*catalog, query.clone()).await.is_empty(), "{query:?}, finished: {finished}");
        }
    }
}

#[tokio::test]
async fn persons_are_found_by_any_id_and_by_property() {
    let (_dir, catalog) = sqlite();
    let by = |id: &str| Summary { distinct_ids: vec![id.to_owned()], ..summary(10, 20) };
    let identified = PersonChange {
        merge_with: Some("anon-1".to_owned()),
        set: fields(json!({ "email": "Ann@shop.test" })),
        ..change("ann", 5)
    };
    let mut second = batch(1, "other", by("anon-2"));
    second.persons.push(identified);
    enter(&*catalog, [batch(0, "anns", by("anon-1")), second]).await;
    for text in ["ann", "anon-1", "ann@shop", "@s"] {
        let query = ListQuery { person: Some(text.to_owned()), ..ListQuery::default() };
        assert_eq!(ids(&*catalog, query).await, ["anns"], "{text}");
    }
    let row = catalog.get(&PROJECT.parse().unwrap(), &"anns".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(row.person.unwrap().distinct_ids, ["ann", "anon-1"]);
}

#[tokio::test]
async fn person_changes_have_one_outcome_in_every_order() {
    let set = |id: &str, at_ms, value: &str| PersonChange {
        set: fields(json!({ "plan": value })),
        set_once: fields(json!({ "first": value, "plan": "once" })),
        ..change(id, at_ms)
    };
    let changes = [
        set("ann", 1, "free"),
        set("anon", 3, "gold"),
        set("ann", 2, "plus"),
        PersonChange { merge_with: Some("anon".to_owned()), ..change("ann", 9) },
    ];
    for rotation in 0..changes.len() {
        for is_reversed in [false, true] {
            let (_dir, catalog) = sqlite();
            let mut order = changes.to_vec();
            order.rotate_left(rotation);
            if is_reversed {
                order.reverse();
            }
            tell(&*catalog, 0, order.clone()).await;
            tell(&*catalog, 1, order).await;
            let person = catalog.person(&PROJECT.parse().unwrap(), "anon").await.unwrap().unwrap();
            assert_eq!(person.distinct_ids, ["ann", "anon"]);
            assert_eq!(Value::Object(person.properties), json!({ "plan": "gold", "first": "free" }));
        }
    }
}

#[tokio::test]
async fn ids_that_many_people_share_are_not_merged() {
    let (_dir, catalog) = sqlite();
    let shared = ["", " ", "0", "null", "undefined", "anonymous", "Guest", "\"guest\"", "[object Object]", "NaN"];
    let merges = shared.map(|id| PersonChange { merge_with: Some(id.to_owned()), ..change("ann", 1) });
    tell(&*catalog, 0, merges.to_vec()).await;
    let person = catalog.person(&PROJECT.parse().unwrap(), "ann").await.unwrap().unwrap();
    assert_eq!(person.distinct_ids, ["ann"]);
}

#[tokio::test]
async fn projects_are_created_once_and_by_their_first_recording() {
    let (_dir, catalog) = sqlite();
    let named = Project { key: "phc_two".parse().unwrap(), name: "Two".to_owned(), created_at_ms: 5 };
    assert_eq!(catalog.create_project(named.clone()).await.unwrap(), named);
    let renamed = Project { name: "Other".to_owned(), ..named.clone() };
    assert_eq!(catalog.create_project(renamed).await.unwrap(), named);
    enter(&*catalog, [batch(0, "a", summary(1, 2))]).await;
    let keys: Vec<String> = catalog.projects().await.unwrap().iter().map(|project| project.key.to_string()).collect();
    assert_eq!(keys, [PROJECT, "phc_two"]);
    assert_eq!(catalog.project(&"phc_three".parse().unwrap()).await.unwrap(), None);
}

#[tokio::test]
async fn drops_add_up_and_settings_are_kept() {
    let (_dir, catalog) = sqlite();
    let dropped = |count| [DropCount { reason: "too_large".to_owned(), count }];
    catalog.add_drops(&dropped(2)).await.unwrap();
    catalog.add_drops(&dropped(3)).await.unwrap();
    assert_eq!(catalog.drops().await.unwrap(), dropped(5));
    assert_eq!(catalog.setting("name").await.unwrap(), None);
    catalog.set_setting("name", "a").await.unwrap();
    catalog.set_setting("name", "b").await.unwrap();
    assert_eq!(catalog.setting("name").await.unwrap().as_deref(), Some("b"));
}

#[tokio::test]
async fn a_closed_catalog_says_so_and_opens_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.sqlite");
    let catalog = SqliteCatalog::open(&path).unwrap();
    enter(&catalog, [batch(0, "a", summary(1, 2))]).await;
    let before = catalog.dump().await.unwrap();
    catalog.close().await.unwrap();
    assert!(matches!(catalog.next_object_seq().await, Err(CatalogError::Closed)));
    assert!(matches!(catalog.set_setting("a", "b").await, Err(CatalogError::Closed)));
    assert!(!path.with_extension("sqlite-wal").exists());
    assert_eq!(SqliteCatalog::open(&path).unwrap().dump().await.unwrap(), before);
}

#[tokio::test]
async fn a_damaged_file_names_itself_and_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.sqlite");
    let catalog = SqliteCatalog::open(&path).unwrap();
    enter(&catalog, [batch(0, "a", summary(1, 2))]).await;
    catalog.close().await.unwrap();
    let whole = std::fs::read(&path).unwrap();

    std::fs::write(&path, vec![b'x'; whole.len()]).unwrap();
    assert_damaged(&path);
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert_damaged(&path);
    SqliteCatalog::delete(&path).unwrap();
    assert_eq!(SqliteCatalog::open(&path).unwrap().next_object_seq().await.unwrap(), 0);
}

fn assert_damaged(path: &Path) {
    let error = SqliteCatalog::open(path).unwrap_err();
    assert!(matches!(error, CatalogError::Damaged { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("hint: restart the server") && message.contains("catalog.sqlite"), "{message}");
}

#[tokio::test]
async fn a_newer_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.sqlite");
    SqliteCatalog::open(&path).unwrap().close().await.unwrap();
    let file = rusqlite::Connection::open(&path).unwrap();
    file.pragma_update(None, "user_version", 99).unwrap();
    drop(file);
    assert!(matches!(SqliteCatalog::open(&path), Err(CatalogError::TooNew { found: 99, .. })));
}
