//! Remote configuration and scripts: what switches recording on, and what does it.

use axum::http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::site::{PAGE, Reply, Site, base64, gunzip, gzip, site, site_with};

#[tokio::test]
async fn config_is_served_as_script_and_json_and_merged_into_old_replies() {
    let site = site().await;
    let script = site.get("/array/phc_test/config.js").await;
    assert_eq!(script.headers["content-type"], "application/javascript");
    assert_eq!(script.headers["access-control-allow-origin"], "*");
    assert!(script.text().contains(r#"window[k]["phc_test"]={config:{"#), "{}", script.text());
    let config = site.get("/ingest/array/phc_test/config/").await.json();
    assert!(config["sessionRecording"].is_object());
    for path in ["/flags/?v=2", "/flags?v=2&config=true", "/decide/?v=3&ip=0"] {
        let reply = site.post(path, "text/plain", gzip(b"{\"token\":\"phc_test\"}")).await.json();
        assert_eq!((&reply["flags"], &reply["featureFlags"]), (&json!({}), &json!({})), "{path}");
        assert_eq!(reply["sessionRecording"]["endpoint"], "/s/");
    }
    assert_eq!(site.get("/array/bad%20key/config").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(site.get("/array//config").await.status, StatusCode::UNAUTHORIZED);
    let closed = site_with(|options| options.accept_any_key = Some(false)).await;
    assert_eq!(closed.get("/array/phc_unknown/config").await.status, StatusCode::NOT_FOUND);
}

/// The config that a script leaves in the page.
fn config_in(script: &str) -> Value {
    let start = script.find("={config:").unwrap() + "={config:".len();
    serde_json::from_str(&script[start..script.find(",siteApps:").unwrap()]).unwrap()
}

#[tokio::test]
async fn every_form_of_the_config_says_the_same_and_keeps_bodies_gzipped() {
    let site = site().await;
    let json = site.get("/array/phc_test/config").await.json();
    let script = config_in(&site.get("/array/phc_test/config.js").await.text());
    assert_eq!(json, script);
    assert!(json["supportedCompression"].as_array().unwrap().contains(&json!("gzip-js")));
    assert_eq!(json["hasFeatureFlags"], false);
    assert_eq!(json["autocapture_opt_out"], false);
    assert!(json["sessionRecording"].is_object(), "a missing key would be no news, and switch nothing on");
    for (path, body) in [
        ("/flags/?v=2", String::from("{\"token\":\"phc_test\"}")),
        ("/flags/?v=2&token=phc_test&only_evaluate_survey_feature_flags=true", String::from("{}")),
        ("/decide/?v=3&ip=0&_=1795226820022&ver=1.150.0", format!("data={}", base64(b"{\"token\":\"phc_test\"}"))),
        ("/decide/?v=4", String::from("{\"api_key\":\"phc_test\"}")),
    ] {
        let reply = site.post(path, "application/x-www-form-urlencoded", body).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}");
        for (name, value) in json.as_object().unwrap() {
            assert_eq!(&reply.json()[name], value, "{path}: {name}");
        }
        assert_eq!(reply.json()["errorsWhileComputingFlags"], false);
    }
    let by_get = site.get("/flags/?v=2").await;
    assert_eq!((by_get.status, &by_get.json()["flags"]), (StatusCode::OK, &json!({})));
}

#[tokio::test]
async fn endpoints_of_the_config_stay_below_those_the_client_does_not_record_itself() {
    let site = site().await;
    let config = site.get("/array/phc_test/config").await.json();
    for endpoint in [&config["sessionRecording"]["endpoint"], &config["analytics"]["endpoint"]] {
        let endpoint = endpoint.as_str().unwrap();
        assert!(["/s/", "/e/", "/i/"].iter().any(|known| endpoint.starts_with(known)), "{endpoint}");
    }
    assert_eq!(config["sessionRecording"]["sampleRate"], Value::Null, "all of it, which is not written as \"1.00\"");
}

#[tokio::test]
async fn config_may_be_cached_for_five_minutes_and_no_longer() {
    let site = site().await;
    for path in ["/array/phc_test/config", "/array/phc_test/config.js", "/array/phc_test/array.js"] {
        assert_eq!(site.get(path).await.header("cache-control"), "public, max-age=300", "{path}");
    }
}

#[tokio::test]
async fn the_bundle_with_config_is_the_config_and_then_the_client() {
    let site = site().await;
    let bundle = site.get("/array/phc_test/array.js").await;
    assert_eq!(bundle.status, StatusCode::OK, "the pinned posthog-js is missing: run posthog-js/fetch.sh");
    let script = bundle.text();
    assert!(script.starts_with("(function(){var k=\"_POSTHOG_REMOTE_CONFIG\""));
    assert!(script.contains(&site.get("/static/array.js").await.text()));
}

/// Asks as a script tag with `crossorigin=anonymous` does.
async fn load(site: &Site, path: &str, encodings: &str) -> Reply {
    let request = Request::get(path).header("origin", PAGE).header("accept-encoding", encodings);
    site.send(request.body(Vec::new()).unwrap()).await
}

#[tokio::test]
async fn the_pinned_scripts_are_served_with_and_without_their_version() {
    let site = site().await;
    let version = site.read("/api/info").await.json()["static_versions"][0].as_str().unwrap().to_owned();
    let versioned = load(&site, &format!("/static/{version}/lazy-recorder.js"), "gzip").await;
    assert_eq!(versioned.status, StatusCode::OK, "the pinned posthog-js is missing: run posthog-js/fetch.sh");
    assert_eq!(versioned.header("cache-control"), "public, max-age=31536000, immutable");
    let unversioned = load(&site, "/static/lazy-recorder.js", "gzip, br").await;
    assert_eq!(unversioned.body, versioned.body);
    assert_eq!(unversioned.header("cache-control"), "public, max-age=300");
    let plain = load(&site, "/static/lazy-recorder.js", "br").await;
    assert_eq!((plain.header("content-encoding"), unversioned.header("content-encoding")), ("", "gzip"));
    assert_eq!(gunzip(&unversioned.body).unwrap(), plain.body);
    for reply in [&versioned, &unversioned, &plain] {
        assert_eq!(reply.header("content-type"), "application/javascript; charset=utf-8");
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert_eq!(reply.header("access-control-allow-origin"), PAGE, "without it the tag loads nothing");
        assert_eq!(reply.header("cross-origin-resource-policy"), "cross-origin");
        assert!(reply.headers.get_all("vary").iter().any(|value| value == "Accept-Encoding"));
    }
    let again = Request::get("/static/lazy-recorder.js").header("if-none-match", unversioned.header("etag"));
    let again = site.send(again.body(Vec::new()).unwrap()).await;
    assert_eq!((again.status, again.body.len()), (StatusCode::NOT_MODIFIED, 0));
}

#[tokio::test]
async fn other_releases_are_found_however_their_folder_was_filled() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = "/* recorder */".repeat(100);
    for place in ["1.100.0", "1.200.0/dist", "1.300.0/package/dist"] {
        std::fs::create_dir_all(folder.path().join(place)).unwrap();
        std::fs::write(folder.path().join(place).join("recorder.js"), &recorder).unwrap();
    }
    let site = site_with(|options| options.static_dir = Some(folder.path().to_owned())).await;
    for version in ["1.100.0", "1.200.0", "1.300.0"] {
        for path in [format!("/static/{version}/recorder.js"), format!("/static/recorder.js?v={version}")] {
            let packed = load(&site, &path, "gzip").await;
            assert_eq!((packed.status, packed.header("content-encoding")), (StatusCode::OK, "gzip"), "{path}");
            assert_eq!(gunzip(&packed.body).unwrap(), recorder.as_bytes());
            assert_eq!(load(&site, &path, "identity").await.text(), recorder);
        }
    }
    let listed = site.read("/api/info").await.json()["static_versions"].as_array().unwrap().clone();
    assert!(listed.contains(&json!("1.300.0")), "{listed:?}");
}

#[tokio::test]
async fn a_script_that_was_replaced_is_served_anew() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("1.100.0");
    std::fs::create_dir_all(&place).unwrap();
    let site = site_with(|options| options.static_dir = Some(folder.path().to_owned())).await;
    let mut tags = Vec::new();
    for text in ["first()", "other()"] {
        std::fs::write(place.join("recorder.js"), text).unwrap();
        let reply = load(&site, "/static/recorder.js?v=1.100.0", "gzip").await;
        assert_eq!(gunzip(&reply.body).unwrap(), text.as_bytes());
        tags.push(reply.header("etag").to_owned());
    }
    assert_ne!(tags[0], tags[1]);
}

#[tokio::test]
async fn a_release_that_is_not_there_is_replaced_only_where_the_path_names_none() {
    let site = site().await;
    assert_eq!(load(&site, "/static/1.9.9/lazy-recorder.js", "gzip").await.status, StatusCode::NOT_FOUND);
    let fallback = load(&site, "/static/lazy-recorder.js?v=1.9.9", "gzip").await;
    assert_eq!(fallback.status, StatusCode::OK);
    assert_eq!(fallback.body, load(&site, "/static/lazy-recorder.js", "gzip").await.body);
    assert!(site.metrics().await.contains("reelcase_scripts_substituted_total 1"));
}

#[tokio::test]
async fn scripts_that_are_not_there_are_404_and_never_a_page() {
    let site = site().await;
    for path in ["/static/toolbar.js", "/static/1.2.3/x.js", "/static/x", "/static/array.js.map", "/p/static/x.js"] {
        let reply = load(&site, path, "gzip").await;
        assert_eq!((reply.status, reply.header("content-type")), (StatusCode::NOT_FOUND, "application/json"), "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), PAGE, "so that the page learns it is missing");
    }
}

#[tokio::test]
async fn everything_a_page_needs_is_there_below_a_prefix() {
    let site = site_with(|options| options.path_prefix = "/replay".into()).await;
    for prefix in ["", "/replay", "/ingest", "/a/b"] {
        for path in ["/array/phc_test/config.js", "/array/phc_test/config", "/static/array.js", "/flags/?v=2"] {
            assert_eq!(site.get(&format!("{prefix}{path}")).await.status, StatusCode::OK, "{prefix}{path}");
        }
    }
    assert!(site.login_url.contains("/replay/?token="), "{}", site.login_url);
    let info = site.read("/replay/api/info").await.json();
    assert!(info["capture_url"].as_str().unwrap().ends_with("/replay"), "{info}");
    let login = site.get(&site.login_url[site.login_url.find("/replay").unwrap()..]).await;
    assert_eq!(login.header("location"), "/replay/");
    assert!(login.header("set-cookie").contains("; Path=/replay;"));
    let packed = gzip(b"[]");
    assert_eq!(site.post("/replay/s/", "text/plain", packed).await.status, StatusCode::BAD_REQUEST);
}
