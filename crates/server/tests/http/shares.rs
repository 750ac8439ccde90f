//! Links to recordings: what whoever has one gets, and what not.

use axum::http::{Request, StatusCode};
use reelcase_store::{Clock, SystemClock};
use serde_json::{Value, json};

use crate::site::{PATIENCE, Reply, SECRET, SESSION, Site, site, site_in, snapshot_of, uuid};

/// When the recording begins.
const T0: i64 = 1_795_226_820_000;

/// A visit of ten seconds in which something of each kind happens. Every event holds a word that names it.
pub(crate) async fn visit(site: &Site) {
    let plugin = |name: &str, payload: Value| json!({ "plugin": name, "payload": payload });
    let full = |text: &str| {
        json!({ "node": { "type": 0, "id": 1, "childNodes": [{ "type": 3, "id": 2, "textContent": text }] },
            "initialOffset": { "top": 0, "left": 0 } })
    };
    let events = [
        (4, json!({ "href": "https://shop.example/first", "width": 8, "height": 6 })),
        (2, full("first-page")),
        (
            3,
            json!({ "source": 0, "texts": [{ "id": 2, "value": "early-text" }], "attributes": [], "removes": [], "adds": [] }),
        ),
        (3, json!({ "source": 1, "positions": [], "word": "early-move" })),
        (6, plugin("rrweb/console@1", json!({ "level": "error", "payload": ["early-console"], "trace": [] }))),
        (5, json!({ "tag": "early-custom", "payload": {} })),
        (3, json!({ "source": 5, "id": 2, "text": "middle-input" })),
        (6, plugin("rrweb/console@1", json!({ "level": "error", "payload": ["middle-console"], "trace": [] }))),
        (6, plugin("rrweb/network@1", json!({ "requests": [{ "name": "https://shop.example/middle-network" }] }))),
        (6, plugin("acme/secrets@1", json!({ "word": "middle-plugin" }))),
        (5, json!({ "tag": "middle-custom", "payload": {} })),
        (5, json!({ "tag": "$remote_config", "payload": { "word": "middle-config" } })),
        (77, json!({ "word": "middle-unknown" })),
        (3, json!({ "source": 2, "type": 2, "id": 2, "word": "middle-click" })),
        (
            3,
            json!({ "source": 0, "texts": [{ "id": 2, "value": "late-text" }], "attributes": [], "removes": [], "adds": [] }),
        ),
        (2, full("late-page")),
    ];
    let second = |index: usize| [0, 0, 1, 1, 1, 2, 4, 4, 4, 4, 5, 5, 5, 5, 8, 9][index];
    let events = events
        .iter()
        .enumerate()
        .map(|(index, (kind, data))| json!({ "type": kind, "data": data, "timestamp": T0 + second(index) * 1_000 }));
    let snapshot = snapshot_of(SESSION, "w1", &uuid(1), events.collect());
    let event = json!({
        "uuid": uuid(2), "event": "$exception", "timestamp": "2026-11-21T02:07:04.500Z",
        "properties": { "token": "phc_test", "distinct_id": "visitor-of-note", "$session_id": SESSION, "$window_id": "w1",
            "$exception_message": "middle-exception", "plan": "secret-plan", "email": "ada@example.org" },
    });
    let bought = json!({
        "uuid": uuid(3), "event": "bought-event", "timestamp": "2026-11-21T02:07:05.000Z",
        "properties": { "token": "phc_test", "distinct_id": "visitor-of-note", "$session_id": SESSION, "$window_id": "w1",
            "$set": { "email": "ada@example.org" }, "$current_url": "https://shop.example/bought" },
    });
    site.keep(json!([snapshot]).to_string()).await;
    for event in [event, bought] {
        let sent = site.post("/e/", "text/plain", event.to_string()).await;
        assert_eq!(sent.status, StatusCode::OK, "{}", sent.text());
    }
    site.store.seal_all().await.unwrap();
}

pub(crate) async fn ask(site: &Site, method: &str, path: &str, bearer: Option<&str>, body: Value) -> Reply {
    let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    if let Some(bearer) = bearer {
        request = request.header("authorization", format!("Bearer {bearer}"));
    }
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    site.send(request.body(body).unwrap()).await
}

/// Makes a link; its id and token.
pub(crate) async fn share(site: &Site, terms: Value) -> (String, String) {
    let reply = ask(site, "POST", &format!("/api/recordings/{SESSION}/shares"), Some(SECRET), terms).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text());
    let made = reply.json();
    let token = made["url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    assert!(token.len() >= 32, "128 bits are 32 digits: {token}");
    (made["share"]["id"].as_str().unwrap().to_owned(), token)
}

async fn open(site: &Site, token: &str, body: Value) -> Reply {
    ask(site, "POST", &format!("/share/{token}/open"), None, body).await
}

async fn pass(site: &Site, token: &str) -> String {
    let reply = open(site, token, json!({})).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    reply.json()["pass"].as_str().unwrap().to_owned()
}

/// All that a link gives out: page, summary, list and blocks, as one text.
async fn all_of(site: &Site, token: &str) -> String {
    let pass = pass(site, token).await;
    let below = format!("/share/{token}/api/recordings/shown");
    let mut text = site.get(&format!("/share/{token}")).await.text();
    text += &ask(site, "GET", &below, Some(&pass), Value::Null).await.text();
    let list = ask(site, "GET", &format!("{below}/blocks"), Some(&pass), Value::Null).await;
    text += &list.text();
    for block in list.json()["blocks"].as_array().unwrap() {
        let reply = ask(site, "GET", block["url"].as_str().unwrap(), Some(&pass), Value::Null).await;
        assert_eq!((reply.status, reply.header("cache-control")), (StatusCode::OK, "no-store"));
        text += &reply.text();
    }
    text
}

/// Which of the words are in a text, and that none of the others is.
fn assert_words(text: &str, expected: &[&str]) {
    const WORDS: [&str; 17] = [
        "first-page",
        "early-text",
        "early-move",
        "early-console",
        "early-custom",
        "middle-input",
        "middle-console",
        "middle-network",
        "middle-plugin",
        "middle-custom",
        "middle-config",
        "middle-unknown",
        "middle-click",
        "late-text",
        "late-page",
        "middle-exception",
        "bought-event",
    ];
    let (mut found, mut expected) = (WORDS.to_vec(), expected.to_vec());
    found.retain(|word| text.contains(word));
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    for secret in [SESSION, "visitor-of-note", "ada@example.org", "secret-plan", "phc_test"] {
        assert!(!text.contains(secret), "{secret} is nobody's who has the link");
    }
}

const PICTURE: [&str; 7] =
    ["first-page", "early-text", "early-move", "middle-input", "middle-click", "late-text", "late-page"];

#[tokio::test]
async fn a_link_shows_the_picture_and_nothing_that_was_not_ticked() {
    let site = site().await;
    visit(&site).await;
    let (_, token) = share(&site, json!({})).await;
    assert_words(&all_of(&site, &token).await, &PICTURE);

    for (terms, more) in [
        (json!({ "has_inspector": true }), &[][..]),
        (
            json!({ "has_inspector": true, "has_console": true }),
            &["early-console", "middle-console", "middle-exception"][..],
        ),
        (json!({ "has_inspector": true, "has_network": true }), &["middle-network"][..]),
    ] {
        let (_, token) = share(&site, terms).await;
        let expected = [&PICTURE[..], &["early-custom", "middle-custom", "bought-event"], more].concat();
        assert_words(&all_of(&site, &token).await, &expected);
    }
}

#[tokio::test]
async fn comments_go_out_where_a_link_says_so_and_of_a_clip_those_of_its_moments() {
    let site = site().await;
    visit(&site).await;
    for comment in [
        json!({ "text": "said of all", "author": "Ada" }),
        json!({ "text": "said early", "at_ms": T0 + 1_000 }),
        json!({ "text": "said late", "at_ms": T0 + 8_000 }),
    ] {
        let path = format!("/api/recordings/{SESSION}/comments");
        assert_eq!(ask(&site, "POST", &path, Some(SECRET), comment).await.status, StatusCode::CREATED);
    }
    for (terms, expected) in [
        (json!({}), None),
        (json!({ "has_inspector": true, "has_console": true, "has_network": true }), None),
        (json!({ "has_comments": true }), Some(&["said of all", "said early", "said late"][..])),
        (json!({ "has_comments": true, "from_ms": T0 + 4_000 }), Some(&["said late"][..])),
        (json!({ "has_comments": true, "to_ms": T0 + 4_000 }), Some(&["said early"][..])),
    ] {
        let (_, token) = share(&site, terms.clone()).await;
        let opened = open(&site, &token, json!({})).await.json();
        assert_eq!(opened["has_comments"], expected.is_some(), "{terms}");
        let path = format!("/share/{token}/api/recordings/shown/comments");
        let reply = ask(&site, "GET", &path, opened["pass"].as_str(), Value::Null).await;
        let Some(expected) = expected else {
            assert_eq!(reply.status, StatusCode::NOT_FOUND, "{terms}");
            assert!(!all_of(&site, &token).await.contains("said"), "{terms}");
            continue;
        };
        let told = reply.json();
        let texts: Vec<_> =
            told["comments"].as_array().unwrap().iter().map(|told| told["text"].as_str().unwrap()).collect();
        assert_eq!(texts, expected, "{terms}");
        assert_eq!(ask(&site, "GET", &path, None, Value::Null).await.status, StatusCode::NOT_FOUND, "a pass is needed");
    }
}

#[tokio::test]
async fn a_link_to_what_is_being_recorded_waits_for_more_and_one_with_an_end_does_not() {
    let site = site().await;
    visit(&site).await;
    let (id, token) = share(&site, json!({})).await;
    let pass_of_it = pass(&site, &token).await;
    let path = format!("/share/{token}/api/recordings/shown/blocks");
    let list = ask(&site, "GET", &path, Some(&pass_of_it), Value::Null).await.json();
    assert_eq!(list["is_live"], true);
    let waiting_path = format!("{path}?after={}&wait_ms=20000", list["version"].as_str().unwrap());
    let waiting = ask(&site, "GET", &waiting_path, Some(&pass_of_it), Value::Null);
    let more = json!([{ "type": 5, "data": { "tag": "more", "payload": {} }, "timestamp": T0 + 12_000 }]);
    let more = snapshot_of(SESSION, "w1", &uuid(9), more);
    let (news, ()) = tokio::join!(waiting, site.keep(json!([more]).to_string()));
    assert_eq!(news.json()["to_ms"], T0 + 12_000);

    let waiting_path = format!("{path}?after={}&wait_ms=20000", news.json()["version"].as_str().unwrap());
    let (ended, revoked) = tokio::join!(ask(&site, "GET", &waiting_path, Some(&pass_of_it), Value::Null), async {
        let revoked = ask(&site, "DELETE", &format!("/api/shares/{id}"), Some(SECRET), Value::Null).await;
        let more = json!([{ "type": 5, "data": { "tag": "yet more", "payload": {} }, "timestamp": T0 + 13_000 }]);
        let more = snapshot_of(SESSION, "w1", &uuid(10), more);
        site.keep(json!([more]).to_string()).await;
        revoked
    });
    assert!(revoked.status.is_success());
    assert_eq!(ended.status, StatusCode::NOT_FOUND, "it was taken back while it waited");

    let (_, token) = share(&site, json!({ "to_ms": T0 + 6_000 })).await;
    let pass_of_it = pass(&site, &token).await;
    let path = format!("/share/{token}/api/recordings/shown/blocks");
    let list = ask(&site, "GET", &path, Some(&pass_of_it), Value::Null).await.json();
    assert_eq!(list["is_live"], false);
    let waiting_path = format!("{path}?after={}&wait_ms=20000", list["version"].as_str().unwrap());
    let again = ask(&site, "GET", &waiting_path, Some(&pass_of_it), Value::Null).await.json();
    assert_eq!((&again["is_live"], &again["to_ms"]), (&json!(false), &json!(T0 + 6_000)));
}

#[tokio::test]
async fn a_clip_gives_the_page_as_it_was_and_nothing_of_what_was_done_outside() {
    let site = site().await;
    visit(&site).await;
    let terms = json!({ "from_ms": T0 + 3_000, "to_ms": T0 + 6_000, "has_inspector": true, "has_console": true,
        "has_network": true });
    let (_, token) = share(&site, terms).await;
    assert_words(
        &all_of(&site, &token).await,
        &[
            "first-page",
            "early-text",
            "middle-input",
            "middle-console",
            "middle-network",
            "middle-custom",
            "middle-click",
            "middle-exception",
            "bought-event",
        ],
    );
    let pass = pass(&site, &token).await;
    let list =
        ask(&site, "GET", &format!("/share/{token}/api/recordings/shown/blocks"), Some(&pass), Value::Null).await;
    let list = list.json();
    assert_eq!((&list["from_ms"], &list["to_ms"]), (&json!(T0 + 3_000), &json!(T0 + 6_000)));
}

#[tokio::test]
async fn wrong_expired_used_up_and_revoked_links_are_answered_alike() {
    let site = site().await;
    visit(&site).await;
    let now_ms = SystemClock.now_ms();
    let (_, expired) = share(&site, json!({ "expires_at_ms": now_ms + 1_000 })).await;
    let (_, used_up) = share(&site, json!({ "views_max": 2 })).await;
    let (id, revoked) = share(&site, json!({})).await;
    let kept_pass = pass(&site, &revoked).await;
    for _ in 0..2 {
        pass(&site, &used_up).await;
    }
    let gone = ask(&site, "DELETE", &format!("/api/shares/{id}"), Some(SECRET), Value::Null).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    let is_over = async {
        while open(&site, &expired, json!({})).await.status == StatusCode::OK {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, is_over).await.unwrap();

    let wrong = "0".repeat(48);
    let answers = |token: String| {
        let (site, kept_pass) = (&site, &kept_pass);
        async move {
            let (page, opened) = (site.get(&format!("/share/{token}")).await, open(site, &token, json!({})).await);
            let passed = format!("/share/{token}/api/recordings/shown/blocks");
            let list = ask(site, "GET", &passed, Some(kept_pass), Value::Null).await;
            let all = [page, opened, list];
            all.map(|reply| {
                let mut headers = reply.headers.clone();
                headers.remove("date");
                (reply.status, format!("{headers:?}"), reply.text())
            })
        }
    };
    let expected = answers(wrong).await;
    assert!(expected.iter().all(|(status, ..)| *status == StatusCode::NOT_FOUND), "{expected:?}");
    for token in [expired, used_up, revoked] {
        assert_eq!(answers(token).await, expected);
    }
}

#[tokio::test]
async fn a_password_is_asked_for_kept_as_a_hash_and_not_guessed_at_leisure() {
    let site = site().await;
    visit(&site).await;
    let (_, token) = share(&site, json!({ "password": "open sesame", "title": "the-title" })).await;
    let page = site.get(&format!("/share/{token}")).await;
    assert!(page.status == StatusCode::OK && !page.text().contains("the-title"), "the title is behind the password");
    assert_eq!(open(&site, &token, json!({})).await.code(), "password_needed");
    assert_eq!(open(&site, &token, json!({ "password": "open" })).await.code(), "password_wrong");
    assert_eq!(open(&site, &token, json!({ "password": "open sesame" })).await.status, StatusCode::OK);
    let guesses = (0..20).map(|_| open(&site, &token, json!({ "password": "guess" })));
    let answers = futures::future::join_all(guesses).await;
    let looked_at = answers.iter().filter(|answer| answer.code() == "password_wrong").count();
    assert_eq!(looked_at, 9, "many guesses at once are no more than many in a row");
    assert_eq!(open(&site, &token, json!({ "password": "open sesame" })).await.code(), "too_many_tries");
    let dir = site.stop().await;
    let kept = all_files(dir.path());
    assert!(kept.contains("argon2id"), "the links are kept");
    assert!(!kept.contains(&token) && !kept.contains("open sesame"), "neither token nor password is");
}

/// The text of every file below a directory.
fn all_files(dir: &std::path::Path) -> String {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let texts = entries.map(|path| match path.is_dir() {
        true => all_files(&path),
        false => String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned(),
    });
    texts.collect()
}

#[tokio::test]
async fn links_and_their_counts_outlive_the_server_and_the_catalog() {
    let site = site().await;
    visit(&site).await;
    let (_, token) = share(&site, json!({ "views_max": 2, "title": "kept" })).await;
    let first = pass(&site, &token).await;
    let dir = site.stop().await;
    for entry in std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.file_name().unwrap().to_str().unwrap().starts_with("catalog") {
            std::fs::remove_file(entry).unwrap();
        }
    }
    let site = site_in(dir, |_| (), |_| ()).await;
    let list = ask(&site, "GET", &format!("/share/{token}/api/recordings/shown"), Some(&first), Value::Null).await;
    assert_eq!(list.status, StatusCode::OK, "a page that is open goes on: {}", list.text());
    pass(&site, &token).await;
    assert_eq!(open(&site, &token, json!({})).await.status, StatusCode::NOT_FOUND, "two views are two");
    let shares = site.read(&format!("/api/shares?recording={SESSION}")).await.json();
    assert_eq!((&shares["shares"][0]["view_count"], &shares["shares"][0]["title"]), (&json!(2), &json!("kept")));
    assert!(shares["shares"][0]["last_used_at_ms"].is_i64());
}

#[tokio::test]
async fn a_pass_opens_its_own_link_and_nothing_else() {
    let site = site().await;
    visit(&site).await;
    let ((_, one), (_, other)) = (share(&site, json!({})).await, share(&site, json!({})).await);
    let pass = pass(&site, &one).await;
    for (path, bearer) in [
        (format!("/share/{other}/api/recordings/shown/blocks"), Some(pass.as_str())),
        (format!("/share/{one}/api/recordings/shown/blocks"), None),
        (format!("/share/{one}/api/recordings/shown/blocks"), Some("9999999999999.00")),
        (format!("/share/{one}/api/recordings/{SESSION}/blocks"), Some(pass.as_str())),
    ] {
        assert_eq!(ask(&site, "GET", &path, bearer, Value::Null).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    for path in ["/api/recordings", "/api/shares", &format!("/api/recordings/{SESSION}")] {
        assert_eq!(ask(&site, "GET", path, Some(&pass), Value::Null).await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test]
async fn only_the_sites_that_were_named_may_embed_it() {
    let site = site().await;
    visit(&site).await;
    let (_, alone) = share(&site, json!({})).await;
    assert_eq!(site.get(&format!("/embed/{alone}")).await.status, StatusCode::NOT_FOUND);
    assert!(
        site.get(&format!("/share/{alone}"))
            .await
            .header("content-security-policy")
            .ends_with("frame-ancestors 'none'")
    );
    let origins = json!({ "embed_origins": ["https://help.example", "https://*.shop.example:8443"] });
    let (_, token) = share(&site, origins).await;
    for path in [format!("/embed/{token}"), format!("/embed/{token}/frame")] {
        let page = site.get(&path).await;
        let policy = page.header("content-security-policy");
        assert!(policy.ends_with("https://help.example https://*.shop.example:8443"), "{path}: {policy}");
        assert_eq!((page.status, page.header("set-cookie")), (StatusCode::OK, ""));
    }
    for origin in ["*", "https://a.example; script-src *", "https://a.example/path", "https://a b"] {
        let terms = json!({ "embed_origins": [origin] });
        let reply = ask(&site, "POST", &format!("/api/recordings/{SESSION}/shares"), Some(SECRET), terms).await;
        assert_eq!(reply.code(), "bad_parameter", "{origin}");
    }
}

#[tokio::test]
async fn programs_that_unfurl_links_are_told_how_to_embed_what_may_be_embedded() {
    let site = site().await;
    visit(&site).await;
    let oembed = |url: String| {
        let site = &site;
        async move { site.get(&format!("/oembed?maxwidth=500&url={}", url.replace(':', "%3A").replace('/', "%2F"))).await }
    };
    let base = format!("http://{}", site.address);
    let hostile = "\"><script>alert(1)</script>";
    let named = |title: &str, more: Value| {
        let mut terms = json!({ "title": title, "embed_origins": ["https://help.example"] });
        terms.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        terms
    };
    let (_, token) = share(&site, named(hostile, json!({}))).await;
    let page = site.get(&format!("/share/{token}")).await.text();
    assert!(
        page.contains("type=\"application/json+oembed\" href=\"http://") && !page.contains("<script>alert"),
        "{page}"
    );
    for path in [format!("{base}/share/{token}"), format!("{base}/embed/{token}?t=3")] {
        let reply = oembed(path).await;
        let answer = reply.json();
        assert_eq!(
            (&answer["type"], &answer["width"], &answer["title"]),
            (&json!("rich"), &json!(500), &json!(hostile))
        );
        let html = answer["html"].as_str().unwrap();
        assert!(html.starts_with(&format!("<iframe src=\"{base}/embed/{token}\" ")), "{html}");
        assert!(!html.contains("<script>"), "{html}");
    }
    let (_, alone) = share(&site, json!({})).await;
    let (_, locked) = share(&site, named("behind the password", json!({ "password": "x" }))).await;
    assert_eq!(oembed(format!("{base}/share/{locked}")).await.json()["title"], "Session replay");
    for url in
        [format!("{base}/share/{alone}"), format!("{base}/share/00"), format!("http://evil.example/share/{token}")]
    {
        assert_eq!(oembed(url.clone()).await.status, StatusCode::NOT_FOUND, "{url}");
    }
    assert_eq!(open(&site, &token, json!({})).await.status, StatusCode::OK);
    let shares = site.read("/api/shares").await.json();
    let counts: Vec<_> = shares["shares"].as_array().unwrap().iter().map(|share| share["view_count"].clone()).collect();
    assert_eq!(counts, [json!(0), json!(0), json!(1)], "telling of a link is no view");
}

#[tokio::test]
async fn a_title_is_text_wherever_it_stands() {
    let site = site().await;
    visit(&site).await;
    let (_, token) = share(&site, json!({ "title": "</title><script>alert(1)</script>\" onload='x" })).await;
    let page = site.get(&format!("/share/{token}")).await;
    let text = page.text();
    assert!(!text.contains("<script>alert") && !text.contains("\" onload='x"), "{text}");
    assert!(text.contains("og:title\" content=\"&lt;/title&gt;&lt;script&gt;"), "{text}");
    assert!(text.contains("noindex") && page.header("referrer-policy") == "no-referrer");
}

/// A collection of the visit and of another recording; its id.
async fn collection(site: &Site, recordings: &[&str]) -> String {
    let made = ask(site, "POST", "/api/collections", Some(SECRET), json!({ "name": "Secret name" })).await.json();
    let id = made["id"].as_str().unwrap().to_owned();
    for recording in recordings {
        let path = format!("/api/collections/{id}/recordings");
        let laid = ask(site, "POST", &path, Some(SECRET), json!({ "recording": recording })).await;
        assert_eq!(laid.status, StatusCode::OK, "{}", laid.text());
    }
    id
}

async fn another_recording(site: &Site, id: &str, number: u32) {
    let event = json!([{ "type": 4, "data": { "href": "https://shop.example/another" }, "timestamp": T0 + 60_000 }]);
    site.keep(json!([snapshot_of(id, "w1", &uuid(number), event)]).to_string()).await;
    site.store.seal_all().await.unwrap();
}

#[tokio::test]
async fn a_link_to_a_collection_shows_what_is_in_it_now_under_names_of_its_own() {
    let site = site().await;
    visit(&site).await;
    another_recording(&site, "another-session", 10).await;
    another_recording(&site, "outside-session", 11).await;
    let collected = collection(&site, &[SESSION, "another-session"]).await;
    let path = format!("/api/collections/{collected}/shares");
    let clip = ask(&site, "POST", &path, Some(SECRET), json!({ "from_ms": T0 })).await;
    assert_eq!(clip.status, StatusCode::BAD_REQUEST, "a collection has no moment");
    let made = ask(&site, "POST", &path, Some(SECRET), json!({ "views_max": 2, "has_inspector": true })).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let (made, token) = (made.json(), made.json()["url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned());
    assert_eq!((&made["share"]["collection"], &made["share"]["recording"]), (&json!(collected), &Value::Null));
    for (query, count) in [("", 1), (&*format!("?collection={collected}"), 1), (&*format!("?recording={SESSION}"), 0)] {
        let list = ask(&site, "GET", &format!("/api/shares{query}"), Some(SECRET), Value::Null).await.json();
        assert_eq!(list["shares"].as_array().unwrap().len(), count, "{query}");
    }

    let opened = open(&site, &token, json!({})).await;
    let mut all = opened.text() + &site.get(&format!("/share/{token}")).await.text();
    let (opened, pass) = (opened.json(), opened.json()["pass"].as_str().unwrap().to_owned());
    let shown = opened["recordings"].as_array().unwrap().clone();
    assert_eq!((shown.len(), &opened["recording"]), (2, &Value::Null));
    assert_eq!((&shown[0]["start_ms"], &shown[0]["duration_ms"]), (&json!(T0), &json!(9_000)));
    let below = format!("/share/{token}/api/recordings");
    for row in &shown {
        let path = format!("{below}/{}", row["id"].as_str().unwrap());
        all += &ask(&site, "GET", &path, Some(&pass), Value::Null).await.text();
        let list = ask(&site, "GET", &format!("{path}/blocks"), Some(&pass), Value::Null).await.json();
        all += &list.to_string();
        for block in list["blocks"].as_array().unwrap() {
            let block = ask(&site, "GET", block["url"].as_str().unwrap(), Some(&pass), Value::Null).await;
            assert_eq!(block.status, StatusCode::OK);
            all += &block.text();
        }
    }
    assert!(all.contains("first-page") && all.contains("shop.example/another") && all.contains("middle-custom"));
    for secret in [SESSION, "another-session", "visitor-of-note", "Secret name", "middle-console", &collected] {
        assert!(!all.contains(secret), "{secret} is nobody's who has the link");
    }
    for other in ["shown", SESSION, "another-session", "outside-session", "0000000000000000"] {
        let refused = ask(&site, "GET", &format!("{below}/{other}/blocks"), Some(&pass), Value::Null).await;
        assert_eq!(refused.status, StatusCode::NOT_FOUND, "{other}");
    }
    // Its names are of no use below another link to the same collection.
    let second = ask(&site, "POST", &path, Some(SECRET), json!({})).await.json();
    let second = second["url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let names = open(&site, &second, json!({})).await.json()["recordings"].clone();
    assert!(names.as_array().unwrap().iter().all(|row| shown.iter().all(|known| known["id"] != row["id"])));

    let out = format!("/api/collections/{collected}/recordings/another-session");
    ask(&site, "DELETE", &out, Some(SECRET), Value::Null).await;
    let list = ask(&site, "GET", &below, Some(&pass), Value::Null).await.json();
    assert_eq!(list["recordings"], json!([shown[0]]), "what is taken out is seen no more, without another view");
    let gone = format!("{below}/{}/blocks", shown[1]["id"].as_str().unwrap());
    assert_eq!(ask(&site, "GET", &gone, Some(&pass), Value::Null).await.status, StatusCode::NOT_FOUND);
    assert_eq!(open(&site, &token, json!({})).await.status, StatusCode::OK);
    assert_eq!(open(&site, &token, json!({})).await.status, StatusCode::NOT_FOUND, "it had two views");
    ask(&site, "DELETE", &format!("/api/collections/{collected}"), Some(SECRET), Value::Null).await;
    assert_eq!(ask(&site, "GET", &below, Some(&pass), Value::Null).await.status, StatusCode::NOT_FOUND);
    let left = ask(&site, "GET", "/api/shares", Some(SECRET), Value::Null).await.json();
    assert_eq!(left["shares"], json!([]), "links to a collection go with it");
}
