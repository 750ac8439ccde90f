//! Projects and their settings: decided while the server runs, and told to the next page that asks.

use std::path::{Path, PathBuf};

use axum::http::{Request, StatusCode};
use reelcase_server::settings::{FIELDS, Field, Kind};
use serde_json::{Value, json};

use crate::site::{PAGE, Reply, SECRET, Site, gzip, one_snapshot, site, site_in, site_with};

const SETTINGS: &str = "/api/projects/phc_test/settings";

/// Changes something with the secret, and perhaps further headers.
pub(crate) async fn change(site: &Site, method: &str, path: &str, body: Value, headers: &[(&str, &str)]) -> Reply {
    let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {SECRET}"));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let request = request.header("content-type", "application/json");
    site.send(request.body(body.to_string().into_bytes()).unwrap()).await
}

async fn patch(site: &Site, settings: Value) -> Reply {
    change(site, "PATCH", SETTINGS, settings, &[]).await
}

/// A server with the project `phc_test`.
async fn site_with_project() -> Site {
    site_with(|options| options.projects = vec!["phc_test".parse().unwrap()]).await
}

async fn config(site: &Site) -> Value {
    site.get("/array/phc_test/config").await.json()
}

/// The config that a script leaves in the page.
fn config_in(script: &str) -> Value {
    let start = script.find("={config:").unwrap() + "={config:".len();
    serde_json::from_str(&script[start..script.find(",siteApps:").unwrap()]).unwrap()
}

#[tokio::test]
async fn a_change_is_in_the_next_config_in_every_form() {
    let site = site_with_project().await;
    assert_eq!(config(&site).await["sessionRecording"]["recordCanvas"], false);
    let reply = patch(&site, json!({ "canvas": true, "sample_rate": 0.25, "mask_all_text": true })).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    let config = config(&site).await;
    let recording = &config["sessionRecording"];
    assert_eq!((&recording["recordCanvas"], &recording["sampleRate"]), (&json!(true), &json!("0.25")));
    assert_eq!(recording["masking"], json!({ "maskTextSelector": "*" }));
    assert_eq!(config_in(&site.get("/array/phc_test/config.js").await.text()), config);
    assert_eq!(config_in(&site.get("/array/phc_test/array.js").await.text()), config);
    for path in ["/flags/?v=2&config=true", "/decide/?v=3"] {
        let merged = site.post(path, "text/plain", gzip(b"{\"token\":\"phc_test\"}")).await.json();
        assert_eq!(&merged["sessionRecording"], recording, "{path}");
    }
}

#[tokio::test]
async fn old_clients_that_name_no_project_are_told_not_to_record() {
    let site = site_with(|options| options.accept_any_key = Some(false)).await;
    for body in ["{}", "{\"token\":\"phc_unknown\"}", "no JSON", "{\"token\":7}"] {
        let reply = site.post("/flags/?v=2&config=true", "text/plain", body).await;
        assert_eq!((reply.status, &reply.json()["sessionRecording"]), (StatusCode::OK, &json!(false)), "{body}");
    }
}

#[tokio::test]
async fn settings_outlive_the_server_and_the_catalog() {
    let site = site_with_project().await;
    patch(&site, json!({ "block_selector": ".card" })).await;
    change(&site, "PATCH", "/api/projects/phc_test", json!({ "name": "Shop" }), &[]).await;
    let dir = site.stop().await;
    std::fs::remove_file(dir.path().join("catalog.sqlite")).unwrap();
    let site = site_in(dir, |_| (), |_| ()).await;
    assert_eq!(site.read(SETTINGS).await.json()["settings"], json!({ "block_selector": ".card" }));
    assert_eq!(config(&site).await["sessionRecording"]["masking"]["blockSelector"], ".card");
    let projects = site.read("/api/projects").await.json();
    assert_eq!((&projects[0]["key"], &projects[0]["name"]), (&json!("phc_test"), &json!("Shop")));
}

#[tokio::test]
async fn a_store_that_lost_its_settings_switches_recording_on_for_nobody_until_they_are_decided_anew() {
    let damage: [fn(&Path); 3] = [
        |file| std::fs::remove_file(file).unwrap(),
        |file| std::fs::write(file, b"{\"version\":1,").unwrap(),
        |file| std::fs::write(file, br#"{"version":2}"#).unwrap(),
    ];
    for (number, damage) in damage.into_iter().enumerate() {
        let site = site_with_project().await;
        patch(&site, json!({ "recording": false })).await;
        site.post("/s/", "application/json", one_snapshot()).await;
        let dir = site.stop().await;
        std::fs::remove_file(dir.path().join("catalog.sqlite")).unwrap();
        damage(&settings_file(dir.path()));
        let mut dir = Some(dir);
        // Also after a restart, when there is a catalog again.
        for _ in 0..2 {
            let site =
                site_in(dir.take().unwrap(), |options| options.projects = vec!["phc_test".parse().unwrap()], |_| ())
                    .await;
            for path in ["/array/phc_test/config", "/array/phc_test/config.js", "/flags/?v=2&token=phc_test"] {
                let reply = site.get(path).await;
                assert_eq!(
                    (reply.status, reply.code().as_str()),
                    (StatusCode::SERVICE_UNAVAILABLE, "settings_unreadable"),
                    "{number} {path}"
                );
            }
            assert_eq!(site.check("settings").await["state"], "fail");
            assert_eq!(
                site.post("/s/", "application/json", one_snapshot()).await.status,
                StatusCode::OK,
                "uploads are taken"
            );
            dir = Some(site.stop().await);
        }
        let site = site_in(dir.take().unwrap(), |_| (), |_| ()).await;
        let is_newer = number == 2;
        if !is_newer {
            let made = change(&site, "POST", "/api/projects", json!({ "name": "New" }), &[]).await.json();
            let key = made["key"].as_str().unwrap();
            assert!(
                site.get(&format!("/array/{key}/config")).await.json()["sessionRecording"].is_object(),
                "it is new"
            );
            assert_eq!(change(&site, "PUT", SETTINGS, json!({ "canvas": true }), &[]).await.status, StatusCode::OK);
            assert_eq!(config(&site).await["sessionRecording"]["recordCanvas"], true);
            assert_eq!(site.store.settings_lost().await.unwrap(), None, "all projects are decided about");
        }
    }
}

#[tokio::test]
async fn an_empty_directory_is_new_and_records() {
    let site = site_with_project().await;
    assert!(config(&site).await["sessionRecording"].is_object());
    let site = site_in(site.stop().await, |_| (), |_| ()).await;
    assert!(config(&site).await["sessionRecording"].is_object());
}

/// Where the store keeps what was decided.
pub(crate) fn settings_file(data: &Path) -> PathBuf {
    let stores = std::fs::read_dir(data.join("objects")).unwrap().map(|entry| entry.unwrap().path());
    stores.map(|store| store.join("settings.json")).find(|file| file.exists()).unwrap()
}

#[tokio::test]
async fn a_wrong_value_changes_nothing_and_is_named() {
    let site = site_with_project().await;
    let wrong = json!({ "canvas": true, "sample_rate": 2, "url_triggers": ["ok", "("], "colour": "red" });
    let reply = patch(&site, wrong).await;
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::BAD_REQUEST, "invalid_settings"));
    let reply = reply.json();
    let flaws = reply["error"]["flaws"].as_array().unwrap();
    let named: Vec<_> = flaws.iter().map(|flaw| (flaw["field"].as_str().unwrap(), flaw["item"].as_u64())).collect();
    assert_eq!(named, [("colour", None), ("sample_rate", None), ("url_triggers", Some(1))]);
    assert_eq!(site.read(SETTINGS).await.json()["settings"], json!({}));
}

#[tokio::test]
async fn of_two_who_change_the_same_the_second_has_to_look_again() {
    let site = site_with_project().await;
    let read = site.read(SETTINGS).await;
    let tag = read.header("etag").to_owned();
    assert_eq!(tag, format!("\"{}\"", read.json()["revision"].as_str().unwrap()));
    let first = change(&site, "PUT", SETTINGS, json!({ "canvas": true }), &[("if-match", &tag)]).await;
    assert_eq!(first.status, StatusCode::OK, "{}", first.text());
    let second = change(&site, "PUT", SETTINGS, json!({ "canvas": false }), &[("if-match", &tag)]).await;
    assert_eq!((second.status, second.code().as_str()), (StatusCode::PRECONDITION_FAILED, "changed_meanwhile"));
    let again = change(&site, "PUT", SETTINGS, json!({ "canvas": false }), &[("if-match", first.header("etag"))]).await;
    assert_eq!(again.status, StatusCode::OK);
    assert_ne!(again.header("etag"), first.header("etag"));
}

#[tokio::test]
async fn changes_of_different_settings_at_once_are_all_kept() {
    let site = site_with_project().await;
    let changes = [json!({ "canvas": true }), json!({ "sample_rate": 0.5 }), json!({ "console_log": false })];
    let replies = futures::future::join_all(changes.map(|settings| patch(&site, settings))).await;
    assert!(replies.iter().all(|reply| reply.status == StatusCode::OK), "{replies:?}");
    let all = json!({ "canvas": true, "sample_rate": 0.5, "console_log": false });
    assert_eq!(site.read(SETTINGS).await.json()["settings"], all);
}

#[tokio::test]
async fn put_replaces_and_patch_merges_and_null_is_the_default() {
    let site = site_with_project().await;
    patch(&site, json!({ "canvas": true, "canvas_fps": 2 })).await;
    let merged = patch(&site, json!({ "canvas_fps": null, "console_log": false })).await.json();
    assert_eq!(merged["settings"], json!({ "canvas": true, "console_log": false }));
    let replaced = change(&site, "PUT", SETTINGS, json!({ "sample_rate": 0 }), &[]).await.json();
    assert_eq!(replaced["settings"], json!({ "sample_rate": 0.0 }));
    assert_eq!(config(&site).await["sessionRecording"]["sampleRate"], "0");
}

#[tokio::test]
async fn settings_that_cannot_be_read_switch_nothing_on_until_they_are_written_anew() {
    let site = site_with_project().await;
    site.store.set_setting("project phc_test", r#"{"mask_inputs":"strictly","of_tomorrow":1}"#).await.unwrap();
    for path in ["/array/phc_test/config", "/array/phc_test/config.js", "/flags/?v=2&token=phc_test"] {
        let reply = site.get(path).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (StatusCode::SERVICE_UNAVAILABLE, "settings_unreadable"),
            "{path}"
        );
    }
    assert_eq!(site.check("settings").await["state"], "fail");
    assert_eq!(change(&site, "PUT", SETTINGS, json!({}), &[]).await.status, StatusCode::OK);
    assert!(config(&site).await["sessionRecording"].is_object());
}

#[tokio::test]
async fn what_a_newer_release_wrote_stays() {
    let site = site_with_project().await;
    site.store.set_setting("project phc_test", r#"{"canvas":true,"of_tomorrow":{"a":1}}"#).await.unwrap();
    let read = site.read(SETTINGS).await.json();
    assert_eq!((&read["settings"], &read["unknown"]), (&json!({ "canvas": true }), &json!(["of_tomorrow"])));
    change(&site, "PUT", SETTINGS, json!({ "console_log": false }), &[]).await;
    let kept = site.store.catalog().setting("project phc_test").await.unwrap().unwrap();
    assert_eq!(kept, r#"{"console_log":false,"of_tomorrow":{"a":1}}"#);
}

#[tokio::test]
async fn pages_of_sites_that_are_not_listed_are_told_not_to_record() {
    let site = site_with_project().await;
    patch(&site, json!({ "domains": ["https://*.example"] })).await;
    for (header, value, is_recorded) in [
        ("origin", PAGE, true),
        ("referer", "https://shop.example/cart", true),
        ("origin", "https://shop.example.evil", false),
        ("user-agent", "posthog-android/3.4.0", true),
        ("user-agent", "curl/8", false),
    ] {
        let request = Request::get("/array/phc_test/config").header(header, value);
        let reply = site.send(request.body(Vec::new()).unwrap()).await;
        assert_eq!(reply.json()["sessionRecording"].is_object(), is_recorded, "{header}: {value}");
        let vary: Vec<_> = reply.headers.get_all("vary").iter().collect();
        assert!(vary.iter().any(|name| *name == "Referer") && vary.iter().any(|name| *name == "Origin"), "{vary:?}");
        assert_eq!(reply.json().get("domains"), None, "who may record is nobody else's business");
    }
}

#[tokio::test]
async fn projects_are_made_with_a_key_or_get_one() {
    let site = site_with(|options| options.accept_any_key = Some(false)).await;
    let made = change(&site, "POST", "/api/projects", json!({ "name": " Shop " }), &[]).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let (key, name) = (made.json()["key"].as_str().unwrap().to_owned(), made.json()["name"].clone());
    assert!(key.starts_with("phc_") && key.len() > 40 && name == "Shop", "{key} {name}");
    assert_eq!(site.get(&format!("/array/{key}/config")).await.status, StatusCode::OK);
    let own = json!({ "name": "Docs", "key": "phc_docs" });
    assert_eq!(change(&site, "POST", "/api/projects", own.clone(), &[]).await.status, StatusCode::CREATED);
    let again = change(&site, "POST", "/api/projects", own, &[]).await;
    assert_eq!((again.status, again.code().as_str()), (StatusCode::CONFLICT, "key_taken"));
    for bad in [json!({}), json!({ "name": " " }), json!({ "name": "a\nb" }), json!({ "name": "a", "key": "a b" })] {
        assert_eq!(
            change(&site, "POST", "/api/projects", bad.clone(), &[]).await.status,
            StatusCode::BAD_REQUEST,
            "{bad}"
        );
    }
}

#[tokio::test]
async fn what_is_not_there_or_not_allowed_is_said() {
    let site = site().await;
    let missing = change(&site, "PATCH", "/api/projects/phc_none/settings", json!({}), &[]).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert_eq!(site.read("/api/projects/phc_none/settings").await.status, StatusCode::NOT_FOUND);
    assert_eq!(site.get(SETTINGS).await.status, StatusCode::UNAUTHORIZED, "it takes the secret");
    let wrong = change(&site, "DELETE", SETTINGS, json!({}), &[]).await;
    assert_eq!(wrong.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(wrong.header("allow").contains("PATCH"), "{:?}", wrong.headers);
    let form = Request::patch(SETTINGS).header("authorization", format!("Bearer {SECRET}"));
    assert_eq!(site.send(form.body(b"a=b".to_vec()).unwrap()).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

/// The table of `docs/settings.md`.
fn table() -> String {
    let mut table = String::new();
    for field in FIELDS {
        let heading = format!(
            "\n### {}\n\n| Setting | Default | Does | Since |\n| --- | --- | --- | --- |\n",
            field.group.title()
        );
        if !table.contains(&heading) {
            table.push_str(&heading);
        }
        let Field { name, help, key, since, .. } = field;
        table.push_str(&format!(
            "| `{name}` | `{}` | {help} {}As `{key}`. | {since} |\n",
            field.default_value(),
            allowed(field)
        ));
    }
    table
}

fn allowed(field: &Field) -> String {
    match &field.kind {
        Kind::Switch { .. } => String::new(),
        Kind::Share { .. } => "From 0 to 1. ".to_owned(),
        Kind::Whole { min, max, .. } => format!("From {min} to {max}. "),
        Kind::List { items_max, characters_max, .. } => {
            format!("Up to {items_max}, of {characters_max} characters each. ")
        }
        Kind::Groups { items_max, .. } => format!("Up to {items_max}. "),
        Kind::Text { characters_max, .. } => format!("Up to {characters_max} characters. "),
        Kind::Choice { options, .. } => {
            let words: Vec<_> = options.iter().map(|option| format!("`{}`", option.value)).collect();
            format!("One of {}. ", words.join(", "))
        }
    }
}

#[test]
fn the_page_of_settings_lists_them_all() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/settings.md");
    let kept = std::fs::read_to_string(path).unwrap();
    let (before, rest) = kept.split_once("<!-- settings -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- end -->").unwrap();
    let page = format!("{before}<!-- settings -->\n{}\n<!-- end -->{after}", table());
    if std::env::var_os("REELCASE_UPDATE").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    assert!(
        std::fs::read_to_string(path).unwrap() == page,
        "docs/settings.md is out of date: run the tests with REELCASE_UPDATE=1"
    );
}
