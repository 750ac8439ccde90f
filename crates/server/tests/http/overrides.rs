//! What was decided here, laid over what PostHog tells its pages.

use axum::http::{Request, StatusCode};
use reelcase_server::Mode;
use serde_json::{Value, json};

use crate::settings::change;
use crate::site::{PAGE, Site, gzip};
use crate::standin::{Manner, Standin};

/// A server in front of `posthog` with projects that have these settings.
async fn site_where(posthog: &Standin, mode: Mode, decided: Value) -> Site {
    let site = posthog.site_with(|upstream| upstream.mode = mode).await;
    for key in ["phc_shop", "phc_gzip", "phc_html"] {
        change(&site, "POST", "/api/projects", json!({ "name": key, "key": key }), &[]).await;
        decide(&site, key, &decided).await;
    }
    site
}

async fn decide(site: &Site, key: &str, decided: &Value) {
    let reply = change(site, "PUT", &format!("/api/projects/{key}/settings"), decided.clone(), &[]).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
}

#[tokio::test]
async fn nothing_decided_leaves_posthogs_config_byte_for_byte() {
    let posthog = Standin::start().await;
    let site = site_where(&posthog, Mode::Tee, json!({})).await;
    let reply = site.get("/array/phc_shop/config").await;
    assert!(reply.text().contains("\"of_tomorrow\":1.50"), "{}", reply.text());
    assert_eq!((reply.header("etag"), reply.header("cache-control")), ("\"up\"", "public, max-age=3600"));
}

#[tokio::test]
async fn what_was_decided_is_in_every_form_of_the_config_and_posthogs_own_is_what_is_kept() {
    let decided = json!({ "recording": true, "mask_all_text": true, "sample_rate": 0.5, "minimum_duration_ms": 2000 });
    for mode in [Mode::Tee, Mode::Mirror] {
        let posthog = Standin::start().await;
        let site = site_where(&posthog, mode, decided.clone()).await;
        let check = |config: &Value| {
            let recording = &config["sessionRecording"];
            assert_eq!(recording["masking"], json!({ "maskAllInputs": false, "maskTextSelector": "*" }));
            assert_eq!(
                (&recording["sampleRate"], &recording["minimumDurationMilliseconds"]),
                (&json!("0.5"), &json!(2000))
            );
            assert_eq!((&config["quotaLimited"], &config["of_tomorrow"]), (&json!([]), &json!(1.5)));
        };
        let asked = Request::get("/array/phc_shop/config").header("accept-encoding", "gzip, br").header("origin", PAGE);
        let reply = site.send(asked.body(Vec::new()).unwrap()).await;
        check(&reply.json());
        assert_eq!((reply.header("cache-control"), reply.header("content-encoding")), ("public, max-age=300", ""));
        assert_eq!(reply.header("access-control-allow-origin"), PAGE);
        assert!(posthog.only().headers.get("accept-encoding").is_none(), "asked for as it can be read");
        let script = site.get("/array/phc_shop/config.js").await.text();
        let config = script.split("config:").nth(1).unwrap().split(",siteApps").next().unwrap();
        check(&serde_json::from_str(config).unwrap());
        check(&site.get("/array/phc_gzip/config").await.json());
        let decide_v3 = site.post("/decide/?v=3", "text/plain", gzip(b"{\"token\":\"phc_shop\"}")).await;
        check(&decide_v3.json());
        // From the cache, over which the next decision is laid.
        check(&site.get("/array/phc_shop/config").await.json());
        let asked = posthog.seen().len();
        decide(&site, "phc_shop", &json!({ "recording": false })).await;
        assert_eq!(site.get("/array/phc_shop/config").await.json()["sessionRecording"], false);
        decide(&site, "phc_shop", &json!({})).await;
        assert!(site.get("/array/phc_shop/config").await.text().contains("\"of_tomorrow\":1.50"), "as it came");
        assert_eq!(posthog.seen().len(), asked, "PostHog was not asked again");
    }
}

#[tokio::test]
async fn a_client_that_has_the_document_is_told_so_until_something_else_is_decided() {
    let posthog = Standin::start().await;
    let site = site_where(&posthog, Mode::Tee, json!({ "canvas": true })).await;
    let tag = site.get("/array/phc_shop/config").await.header("etag").to_owned();
    let again = || Request::get("/array/phc_shop/config").header("if-none-match", &tag).body(Vec::new()).unwrap();
    let known = site.send(again()).await;
    assert_eq!((known.status, known.body.len()), (StatusCode::NOT_MODIFIED, 0));
    decide(&site, "phc_shop", &json!({ "canvas": false })).await;
    assert_eq!(site.send(again()).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_document_that_nothing_can_be_laid_over_does_not_go_out() {
    let posthog = Standin::start().await;
    let site = site_where(&posthog, Mode::Tee, json!({ "mask_all_text": true })).await;
    for path in ["/array/phc_html/config", "/array/phc_html/config.js"] {
        let reply = site.get(path).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (StatusCode::SERVICE_UNAVAILABLE, "upstream_config_unreadable"),
            "{path}"
        );
    }
    // Nobody can say whose these are, and the reply would switch recording on.
    let nobody = site.post("/decide/?v=3", "text/plain", "what is this").await;
    assert_eq!(nobody.code(), "upstream_config_unreadable");
    assert_eq!(site.check("upstream").await["state"], "fail");
    assert!(site.metrics().await.contains("reelcase_upstream_documents_refused_total 3"));
    // Flags alone tell nobody to record.
    let flags = site.post("/flags/?v=2", "text/plain", "what is this").await;
    assert_eq!(flags.json()["flags"]["new-checkout"]["enabled"], true);
    site.store.set_setting("project phc_shop", "{\"mask_inputs\":\"strictly\"}").await.unwrap();
    assert_eq!(site.get("/array/phc_shop/config").await.code(), "upstream_config_unreadable");
}

#[tokio::test]
async fn overrides_hold_while_posthog_is_away_and_not_in_pass() {
    let posthog = Standin::start().await;
    let site = site_where(&posthog, Mode::Tee, json!({ "mask_all_text": true })).await;
    site.get("/array/phc_shop/config").await;
    posthog.behave(Manner::Status(500));
    let masked = site.get("/array/phc_shop/config").await.json();
    assert_eq!(masked["sessionRecording"]["masking"]["maskTextSelector"], "*");
    let pass = change(&site, "PUT", "/api/projects/phc_shop/mode", json!({ "mode": "pass" }), &[]).await;
    assert_eq!(pass.status, StatusCode::OK, "{}", pass.text());
    assert!(site.get("/array/phc_shop/config").await.text().contains("\"of_tomorrow\":1.50"));
}

#[tokio::test]
async fn sites_that_are_not_listed_are_told_not_to_record() {
    let posthog = Standin::start().await;
    let site = site_where(&posthog, Mode::Tee, json!({ "domains": ["https://shop.example"] })).await;
    for (origin, is_recorded) in [("https://shop.example", true), ("https://evil.example", false)] {
        let asked = Request::get("/array/phc_shop/config").header("origin", origin).body(Vec::new()).unwrap();
        assert_eq!(site.send(asked).await.json()["sessionRecording"].is_object(), is_recorded, "{origin}");
    }
}

#[tokio::test]
async fn a_pinned_script_is_served_in_its_release_and_refused_when_it_changes() {
    let posthog = Standin::start().await;
    // Of `/* /static/1.2.3/lazy-recorder.js */`.
    let hash = "2400280f6e7f38a4a2dd8239c53e861f4bc0d212b8052afe579db21f1001c50e";
    let pin = |hash: &str| json!({ "script_pins": [format!("lazy-recorder.js@1.2.3={hash}")] });
    let site = site_where(&posthog, Mode::Tee, pin(hash)).await;
    for asked in ["/static/1.449.2/lazy-recorder.js", "/static/lazy-recorder.js?v=1.300.0"] {
        assert_eq!(site.get(asked).await.text(), "/* /static/1.2.3/lazy-recorder.js */", "{asked}");
    }
    assert_eq!(site.get("/static/1.449.2/surveys.js").await.text(), "/* /static/1.449.2/surveys.js */");
    let other = "0".repeat(64);
    for key in ["phc_shop", "phc_gzip", "phc_html"] {
        decide(&site, key, &pin(&other)).await;
    }
    let refused = site.get("/static/1.449.2/lazy-recorder.js").await;
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::BAD_GATEWAY, "upstream_script_refused"));
    let check = site.check("upstream").await;
    assert!(check["state"] == "fail" && check["message"].as_str().unwrap().contains(hash), "{check}");
    decide(&site, "phc_shop", &pin(hash)).await;
    assert_eq!(site.get("/static/1.449.2/lazy-recorder.js").await.code(), "upstream_script_refused", "they disagree");
    for key in ["phc_gzip", "phc_html"] {
        decide(&site, key, &json!({})).await;
    }
    assert_eq!(site.get("/static/1.449.2/lazy-recorder.js").await.status, StatusCode::OK);
    assert_ne!(site.check("upstream").await["state"], "fail");
}

#[tokio::test]
async fn what_posthog_says_is_shown_as_settings() {
    let posthog = Standin::start().await;
    let site = site_where(&posthog, Mode::Tee, json!({ "sample_rate": 1 })).await;
    let said = site.read("/api/projects/phc_shop/upstream").await.json();
    assert_eq!((&said["settings"]["sample_rate"], &said["settings"]["mask_inputs"]), (&json!(0.1), &json!(false)));
    assert_eq!((&said["over_quota"], &said["trigger_groups"]), (&json!(true), &json!(0)));
    assert_eq!(site.read("/api/projects/phc_html/upstream").await.code(), "upstream_config_unreadable");
}
