//! Capture keys of a project: several may record into it, so that one can be changed without losing an upload.

use axum::http::StatusCode;
use reelcase_server::{Mode, ServerOptions};
use serde_json::{Value, json};

use crate::settings::change;
use crate::site::{Reply, SESSION, Site, one_snapshot, site_in, site_with, snapshot, uuid};
use crate::standin::Standin;
use crate::tee::{kept, not_kept};

const KEYS: &str = "/api/projects/phc_test/keys";

/// A server with the project `phc_test`, on which unknown keys make no projects.
async fn site() -> Site {
    site_with(closed).await
}

fn closed(options: &mut ServerOptions) {
    options.accept_any_key = Some(false);
    options.projects = vec!["phc_test".parse().unwrap()];
}

async fn add(site: &Site, key: &str) -> Reply {
    change(site, "POST", KEYS, json!({ "key": key }), &[]).await
}

async fn delete(site: &Site, key: &str) -> Reply {
    change(site, "DELETE", &format!("{KEYS}/{key}"), Value::Null, &[]).await
}

/// The only project as the list shows it.
async fn project(site: &Site) -> Value {
    let projects = site.read("/api/projects").await.json();
    assert_eq!(projects.as_array().unwrap().len(), 1, "{projects}");
    projects[0].clone()
}

/// An upload of one session with a key.
fn upload(session: &str, key: &str) -> String {
    let number = session.bytes().map(u32::from).sum();
    json!([snapshot(session, &uuid(number))]).to_string().replace("phc_test", key)
}

#[tokio::test]
async fn a_second_key_records_into_the_same_project_and_is_told_the_same() {
    let site = site().await;
    change(&site, "PATCH", "/api/projects/phc_test/settings", json!({ "block_selector": ".card" }), &[]).await;
    assert_eq!(site.post("/s/", "text/plain", upload(SESSION, "phc_next")).await.code(), "unknown_key");
    let added = add(&site, "phc_next").await;
    assert_eq!((added.status, &added.json()["key"]), (StatusCode::CREATED, &json!("phc_next")), "{}", added.text());

    site.keep(upload("of-the-old", "phc_test")).await;
    site.keep(upload("of-the-new", "phc_next")).await;
    for session in ["of-the-old", "of-the-new"] {
        assert_eq!(site.recording(session).await["project"], "phc_test", "{session}");
    }
    for key in ["phc_test", "phc_next"] {
        let config = site.get(&format!("/array/{key}/config")).await.json();
        assert_eq!(config["sessionRecording"]["masking"]["blockSelector"], ".card", "{key}");
        let script = site.get(&format!("/array/{key}/config.js")).await.text();
        assert!(script.contains(&format!("window[k][\"{key}\"]=")), "a page finds it under its own key: {script}");
        let flags = site.post("/flags/?v=2&config=true", "text/plain", format!("{{\"token\":\"{key}\"}}")).await.json();
        assert_eq!(flags["sessionRecording"]["masking"]["blockSelector"], ".card", "{key}");
        let listed = site.read(&format!("/api/recordings?project={key}")).await.json();
        assert_eq!(listed["recordings"].as_array().unwrap().len(), 2, "{key}");
        assert_eq!(site.read(&format!("/api/projects/{key}")).await.json(), project(&site).await, "{key}");
    }
    assert_eq!(project(&site).await["capture_key"], "phc_next", "what pages are to be given is the newest");
}

#[tokio::test]
async fn one_upload_with_two_keys_of_a_project_is_one_of_that_project() {
    let site = site().await;
    add(&site, "phc_next").await;
    let mut both = [snapshot("first", &uuid(1)), snapshot("second", &uuid(2))];
    both[0]["properties"]["token"] = json!("phc_next");
    site.keep(json!(both).to_string()).await;
    // What is sent again with the other key is the same upload.
    site.keep(json!(both).to_string().replace("phc_next", "phc_test")).await;
    assert_eq!(site.recordings().await, ["first", "second"]);
    for session in ["first", "second"] {
        assert_eq!(site.event_count(session).await, 2, "{session}");
    }
}

#[tokio::test]
async fn what_comes_with_a_deleted_key_is_refused_with_the_reason_and_counted() {
    // Also where any key records: a deleted one makes no project of its own.
    for accept_any_key in [false, true] {
        let site = site_with(|options| {
            closed(options);
            options.accept_any_key = Some(accept_any_key);
        })
        .await;
        site.keep(one_snapshot()).await;
        add(&site, "phc_next").await;
        let left = delete(&site, "phc_test").await.json();
        assert!(left[0]["deleted_at_ms"].is_i64() && left[1]["deleted_at_ms"].is_null(), "{left}");

        let refused = site.post("/s/", "text/plain", upload("late", "phc_test")).await;
        assert_eq!((refused.status, refused.code().as_str()), (StatusCode::UNAUTHORIZED, "deleted_key"));
        let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains("phc_test…") && message.contains("was deleted"), "{message}");
        assert_eq!(site.get("/array/phc_test/config").await.code(), "deleted_key");
        let flags = site.post("/flags/?v=2&config=true", "text/plain", "{\"token\":\"phc_test\"}").await.json();
        assert_eq!(flags["sessionRecording"], false);
        assert!(site.metrics().await.contains("reason=\"deleted_key\"} 1"), "{}", site.metrics().await);
        let check = site.check("dropped_events").await;
        assert!(check["hint"].as_str().unwrap().contains("a key that was deleted"), "{check}");

        site.keep(upload("new", "phc_next")).await;
        assert_eq!(site.recordings().await, [SESSION, "new"], "what it recorded stays");
        assert_eq!(project(&site).await["key"], "phc_test", "a project keeps its name");
        assert_eq!(add(&site, "phc_test").await.status, StatusCode::CREATED, "its own project can have it back");
        site.keep(upload("late", "phc_test")).await;
    }
}

#[tokio::test]
async fn the_last_key_goes_only_when_that_is_said() {
    let site = site().await;
    let refused = delete(&site, "phc_test").await;
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::CONFLICT, "last_key"));
    assert!(refused.text().contains("nothing is recorded any more"), "{}", refused.text());
    site.keep(one_snapshot()).await;
    let gone = change(&site, "DELETE", &format!("{KEYS}/phc_test?even_last=true"), Value::Null, &[]).await;
    assert_eq!(gone.status, StatusCode::OK, "{}", gone.text());
    assert_eq!(project(&site).await["capture_key"], Value::Null);
    assert_eq!(site.post("/s/", "text/plain", one_snapshot()).await.code(), "deleted_key");
    let check = site.check("settings").await;
    assert!(check["message"].as_str().unwrap().contains("all its keys were deleted"), "{check}");
}

#[tokio::test]
async fn keys_outlive_the_server_the_catalog_and_a_rebuild() {
    let site = site().await;
    add(&site, "phc_next").await;
    add(&site, "phc_third").await;
    delete(&site, "phc_test").await;
    site.keep(upload(SESSION, "phc_next")).await;
    let before = project(&site).await;
    let mut dir = site.stop().await;
    for step in ["a restart", "the loss of the catalog", "a rebuild"] {
        match step {
            "the loss of the catalog" => std::fs::remove_file(dir.path().join("catalog.sqlite")).unwrap(),
            "a rebuild" => drop(reelcase_store::Store::rebuild(dir.path(), "test").await.unwrap()),
            _ => (),
        }
        // Naming a key at the start brings back none that was deleted, and makes no project of one that was added.
        let site = site_in(
            dir,
            |options| {
                closed(options);
                options.projects.push("phc_third".parse().unwrap());
            },
            |_| (),
        )
        .await;
        assert_eq!(project(&site).await, before, "{step}");
        assert_eq!(site.post("/s/", "text/plain", upload("late", "phc_test")).await.code(), "deleted_key", "{step}");
        site.keep(upload(step.rsplit(' ').next().unwrap(), "phc_next")).await;
        dir = site.stop().await;
    }
}

#[tokio::test]
async fn a_key_is_that_of_one_project_for_good() {
    let site =
        site_with(|options| options.projects = vec!["phc_test".parse().unwrap(), "phc_other".parse().unwrap()]).await;
    assert_eq!(add(&site, "phc_other").await.code(), "key_taken");
    assert_eq!(add(&site, "phc_next").await.status, StatusCode::CREATED);
    assert_eq!(add(&site, "phc_next").await.status, StatusCode::CREATED, "it is there already");
    delete(&site, "phc_next").await;
    let other = change(&site, "POST", "/api/projects/phc_other/keys", json!({ "key": "phc_next" }), &[]).await;
    assert_eq!(other.code(), "key_taken", "also where it was deleted");
    let made = change(&site, "POST", "/api/projects", json!({ "name": "New", "key": "phc_next" }), &[]).await;
    assert_eq!(made.code(), "key_taken");
    assert_eq!(add(&site, "not a key").await.code(), "bad_key");
    assert_eq!(add(&site, "phc_reelcase_doctor").await.code(), "key_taken");
    assert_eq!(delete(&site, "phc_nobodys").await.status, StatusCode::NOT_FOUND);
    let made_up = change(&site, "POST", KEYS, json!({}), &[]).await.json();
    assert!(made_up["key"].as_str().unwrap().starts_with("phc_") && made_up["key"].as_str().unwrap().len() > 40);
    let stranger = site.post(KEYS, "application/json", "{}").await;
    assert_eq!(stranger.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn in_front_of_posthog_all_keys_have_the_mode_of_their_project_and_a_deleted_one_is_not_kept() {
    let posthog = Standin::start().await;
    let site = posthog.site().await;
    site.keep(one_snapshot()).await;
    kept(&site, SESSION).await;
    add(&site, "phc_next").await;
    delete(&site, "phc_test").await;
    let late = upload("late", "phc_test");
    assert_eq!(site.post("/s/", "text/plain", late.clone()).await.status, StatusCode::OK, "PostHog's to judge");
    assert_eq!(posthog.seen().last().unwrap().body, late);
    not_kept(&site, "deleted_key", 1).await;

    let mode = json!({ "mode": Mode::Store });
    assert_eq!(change(&site, "PUT", "/api/projects/phc_next/mode", mode, &[]).await.json()["key"], "phc_test");
    let seen = posthog.seen().len();
    site.keep(upload("stored", "phc_next")).await;
    assert_eq!(site.post("/s/", "text/plain", late).await.code(), "deleted_key", "PostHog is not to see this project");
    assert_eq!(posthog.seen().len(), seen);
    assert_eq!(site.recording("stored").await["project"], "phc_test");
}
