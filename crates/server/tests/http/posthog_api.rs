//! What a program that was written for PostHog's API finds here.

use std::path::{Path, PathBuf};

use axum::http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::site::{SECRET, SESSION, Site, one_snapshot, site, snapshot_of, uuid};

const BASE: &str = "/api/projects/phc_test/session_recordings";
const START_MS: i64 = 1_795_226_820_000;

/// Recordings `s-0`, `s-1`, … that began a minute apart, the first of them with the most events.
async fn with_recordings(count: u32) -> Site {
    let site = site().await;
    for number in 0..count {
        let at_ms = START_MS + i64::from(number) * 60_000;
        let click = |ms| json!({ "type": 3, "data": { "source": 2, "type": 2, "id": 1 }, "timestamp": at_ms + ms });
        let mut events = vec![json!({ "type": 4, "data": { "href": "https://shop.example/" }, "timestamp": at_ms })];
        events.extend((number..count).map(|ms| click(i64::from(ms) * 1_000)));
        let upload = snapshot_of(&format!("s-{number}"), "w1", &uuid(number), json!(events));
        site.keep(json!([upload]).to_string()).await;
    }
    site.store.seal_all().await.unwrap();
    site
}

/// Asks for the list; what an address cannot hold is escaped.
async fn list(site: &Site, query: &str) -> crate::site::Reply {
    let escaped = [('"', "%22"), ('{', "%7B"), ('}', "%7D"), ('[', "%5B"), (']', "%5D")];
    let query = escaped.iter().fold(query.to_owned(), |query, (plain, escaped)| query.replace(*plain, escaped));
    site.read(&format!("{BASE}?{query}")).await
}

async fn ids(site: &Site, query: &str) -> Vec<String> {
    let reply = list(site, query).await;
    assert_eq!(reply.status, StatusCode::OK, "{query}: {}", reply.text());
    let page = reply.json();
    page["results"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_recording_has_posthogs_figures() {
    let site = site().await;
    site.keep(one_snapshot()).await;
    let identify = json!([{ "event": "$identify", "uuid": uuid(9), "timestamp": "2026-11-21T02:07:16.000Z",
        "properties": { "token": "phc_test", "distinct_id": "visitor", "$set": { "email": "ada@example.org" } } }]);
    site.post("/e/", "application/json", identify.to_string()).await;
    site.store.seal_all().await.unwrap();
    let one = site.read(&format!("{BASE}/{SESSION}/")).await.json();
    for (name, expected) in [
        ("id", json!(SESSION)),
        ("distinct_id", json!("visitor")),
        ("start_time", json!("2026-11-21T02:07:00.022Z")),
        ("recording_duration", json!(0)),
        ("event_count", json!(2)),
        ("start_url", json!("https://shop.example/")),
        ("snapshot_source", json!("web")),
        ("viewed", json!(false)),
    ] {
        assert_eq!(one[name], expected, "{name}");
    }
    let total: usize = site.lines(SESSION).await.iter().map(|line| line.len() + 1).sum();
    assert_eq!(one["total_size"], total);
    assert_eq!(one["person"]["name"], "ada@example.org");
    let found = site.read("/api/projects/@current/persons/?distinct_id=visitor").await.json();
    assert_eq!(found["results"][0], one["person"], "and the person is found by their id");
    assert_eq!(site.read("/api/projects/@current/persons/?distinct_id=nobody").await.json()["results"], json!([]));
    assert_eq!(site.read(&format!("{BASE}/unknown")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(site.read("/api/projects/phc_other/session_recordings").await.status, StatusCode::NOT_FOUND);
    assert_eq!(site.get(BASE).await.status, StatusCode::UNAUTHORIZED, "the token opens, as a personal key does");
}

#[tokio::test]
async fn the_cursor_leads_through_all_recordings_in_either_direction() {
    let site = with_recordings(5).await;
    for (direction, expected) in
        [("DESC", ["s-4", "s-3", "s-2", "s-1", "s-0"]), ("ASC", ["s-0", "s-1", "s-2", "s-3", "s-4"])]
    {
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let path = "/api/environments/phc_test/session_recordings/?date_from=all&limit=2&order=start_time";
            let page = site.read(&format!("{path}&order_direction={direction}&after={after}")).await.json();
            assert_eq!(page["version"], 4);
            seen.extend(page["results"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()));
            assert_eq!(page["has_next"], !page["next_cursor"].is_null());
            let Some(next) = page["next_cursor"].as_str() else { break };
            after = next.to_owned();
        }
        assert_eq!(seen, expected);
        assert_eq!(
            ids(&site, &format!("date_from=all&limit=2&offset=2&order_direction={direction}")).await,
            expected[2..4]
        );
    }
}

#[tokio::test]
async fn a_list_holds_what_its_filters_name_and_refuses_those_it_does_not_know() {
    let site = with_recordings(3).await;
    for (query, expected) in [
        ("date_from=2026-11-21T02:07:30Z&date_to=2026-11-21T02:08:00Z", vec!["s-1"]),
        ("date_from=2026-11-01&date_to=2026-11-20", vec![]),
        ("date_from=2026-11-21&date_to=2026-11-21", vec!["s-2", "s-1", "s-0"]),
        (r#"session_ids=["s-2","s-0","none"]"#, vec!["s-2", "s-0"]),
        (r#"date_from=all&distinct_ids=["visitor"]&events=[]&filter_test_accounts=false"#, vec!["s-2", "s-1", "s-0"]),
        (r#"date_from=all&distinct_ids=["somebody"]"#, vec![]),
        (r#"date_from=all&having_predicates=[{"key":"click_count","operator":"gte","value":2}]"#, vec!["s-1", "s-0"]),
        (
            r#"date_from=all&having_predicates=[{"key":"click_count","operator":"exact","value":[1]}]&limit=1"#,
            vec!["s-2"],
        ),
    ] {
        assert_eq!(ids(&site, query).await, expected, "{query}");
    }
    for query in [
        r#"properties=[{"key":"email"}]"#,
        r#"having_predicates=[{"key":"size","value":1}]"#,
        "order=activity_score",
        "order_direction=up",
        "date_to=soon",
        "hide_viewed_recordings=any-user",
        "after=elsewhere",
        "offset=100001",
    ] {
        let reply = list(&site, query).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{query}: {}", reply.text());
    }
}

#[tokio::test]
async fn ranges_of_blocks_hold_every_line_in_both_forms() {
    let site = site().await;
    for number in 0..25_u32 {
        let event =
            json!({ "type": 5, "data": { "tag": "n", "payload": number }, "timestamp": START_MS + i64::from(number) });
        site.keep(json!([snapshot_of(SESSION, "w1", &uuid(number), json!(event))]).to_string()).await;
        site.store.seal_all().await.unwrap();
    }
    let path = format!("{BASE}/{SESSION}/snapshots");
    let sources = site.read(&format!("{path}?blob_v2=true")).await.json()["sources"].as_array().unwrap().clone();
    assert_eq!(sources.len(), 25);
    assert_eq!((&sources[3]["source"], &sources[3]["blob_key"]), (&json!("blob_v2"), &json!("3")));
    assert_eq!(sources[3]["start_timestamp"], "2026-11-21T02:07:00.003Z");
    let range = |first: u32, last: u32| format!("{path}?source=blob_v2&start_blob_key={first}&end_blob_key={last}");
    let (mut plain, mut unpacked, mut blocks) = (Vec::new(), Vec::new(), 0);
    for (first, last) in [(0, 19), (20, 24)] {
        let reply = site.read(&range(first, last)).await;
        assert_eq!((reply.status, reply.header("content-type")), (StatusCode::OK, "application/jsonl"));
        plain.extend(reply.body);
        let reply = site.read(&format!("{}&decompress=false", range(first, last))).await;
        assert_eq!(reply.header("content-type"), "application/octet-stream");
        let mut rest = reply.body.as_slice();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let (block, after) = after.split_at(u32::from_be_bytes(*length) as usize);
            unpacked.extend(snap::raw::Decoder::new().decompress_vec(block).unwrap());
            (rest, blocks) = (after, blocks + 1);
        }
    }
    assert_eq!(blocks, 25);
    let lines: Vec<_> = site.lines(SESSION).await.iter().flat_map(|line| [line.as_slice(), b"\n"].concat()).collect();
    assert_eq!(plain, lines);
    assert_eq!(unpacked, lines);
    for (refused, status) in [
        (range(0, 21), StatusCode::BAD_REQUEST),
        (range(3, 2), StatusCode::BAD_REQUEST),
        (range(20, 25), StatusCode::NOT_FOUND),
        (format!("{path}?source=blob_v2"), StatusCode::BAD_REQUEST),
        (format!("{path}?source=realtime"), StatusCode::BAD_REQUEST),
        (format!("{}&decompress=perhaps", range(0, 1)), StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(site.read(&refused).await.status, status, "{refused}");
    }
}

fn file_below(dir: &Path, name: &str) -> Option<PathBuf> {
    let mut entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.find_map(|path| if path.is_dir() { file_below(&path, name) } else { path.ends_with(name).then_some(path) })
}

#[tokio::test]
async fn a_damaged_block_is_left_out_of_a_range_and_alone_it_is_no_answer() {
    let site = site().await;
    for number in 0..2_u32 {
        let event =
            json!({ "type": 5, "data": { "tag": "n", "payload": number }, "timestamp": START_MS + i64::from(number) });
        site.keep(json!([snapshot_of(SESSION, "w1", &uuid(number), json!(event))]).to_string()).await;
        site.store.seal_all().await.unwrap();
    }
    let project = "phc_test".parse().unwrap();
    let block = site.store.blocks(&project, &SESSION.parse().unwrap()).await.unwrap().remove(0);
    let number = u64::from_str_radix(block.object.rsplit('/').next().unwrap(), 16).unwrap();
    let object = file_below(&site.dir.path().join("objects"), &format!("{number:016x}.reel")).unwrap();
    let mut bytes = std::fs::read(&object).unwrap();
    bytes[block.offset as usize + 9] ^= 1;
    std::fs::write(&object, bytes).unwrap();
    let path = format!("{BASE}/{SESSION}/snapshots?source=blob_v2&start_blob_key=0");
    let reply = site.read(&format!("{path}&end_blob_key=1")).await;
    assert_eq!((reply.status, reply.text().lines().count()), (StatusCode::OK, 1), "{}", reply.text());
    let reply = site.read(&format!("{path}&end_blob_key=0")).await;
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::BAD_GATEWAY, "recording_blocks_unavailable"));
}

async fn ask(site: &Site, query: Value) -> crate::site::Reply {
    let request = Request::post("/api/projects/phc_test/query/")
        .header("authorization", format!("Bearer {SECRET}"))
        .header("content-type", "application/json");
    site.send(request.body(json!({ "query": query }).to_string().into_bytes()).unwrap()).await
}

#[tokio::test]
async fn the_events_of_a_recording_are_queried_as_rows() {
    let site = site().await;
    site.keep(one_snapshot()).await;
    let event = |number: u32| {
        json!({ "event": format!("e{number}"), "uuid": uuid(100 + number), "timestamp": format!("2026-11-21T02:07:1{number}.000Z"),
            "properties": { "token": "phc_test", "distinct_id": "visitor", "$session_id": SESSION, "n": number } })
    };
    site.post("/e/", "application/json", json!([event(1), event(2), event(3)]).to_string()).await;
    let query = |more: Value| {
        let mut query = json!({ "kind": "EventsQuery", "select": ["uuid", "event", "timestamp", "properties.n"],
            "properties": [{ "key": "$session_id", "value": [SESSION], "operator": "exact", "type": "event" }] });
        query.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        query
    };
    let reply = ask(&site, query(json!({ "orderBy": ["timestamp ASC"], "limit": 2 }))).await.json();
    assert_eq!(
        reply["results"],
        json!([[uuid(101), "e1", "2026-11-21T02:07:11Z", 1], [uuid(102), "e2", "2026-11-21T02:07:12Z", 2]])
    );
    assert_eq!((&reply["hasMore"], &reply["columns"][3]), (&json!(true), &json!("properties.n")));
    let rest = ask(&site, query(json!({ "orderBy": ["timestamp ASC"], "limit": 2, "offset": 2 }))).await.json();
    assert_eq!((rest["results"][0][1].as_str(), &rest["hasMore"]), (Some("e3"), &json!(false)));
    let newest = ask(&site, query(json!({ "limit": 1, "before": "2026-11-21T02:07:13Z" }))).await.json();
    assert_eq!(newest["results"][0][1], "e2", "the latest come first unless asked otherwise");
    let properties = ask(&site, query(json!({ "select": ["properties"], "event": "e3" }))).await.json();
    let properties: Value = serde_json::from_str(properties["results"][0][0].as_str().unwrap()).unwrap();
    assert_eq!(properties["n"], 3);
    for refused in [
        json!({ "kind": "HogQLQuery", "query": "select 1" }),
        query(json!({ "where": ["event = 'e1'"] })),
        query(json!({ "properties": [] })),
        query(json!({ "select": ["count()"] })),
    ] {
        assert_eq!(ask(&site, refused.clone()).await.status, StatusCode::BAD_REQUEST, "{refused}");
    }
}
