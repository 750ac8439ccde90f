//! A store that lost its settings does not know which projects PostHog was never to see, and of which nothing was to be
//! kept: it sends nothing on and keeps nothing until somebody decides anew.

use axum::http::StatusCode;
use reelcase_server::Mode;
use serde_json::{Value, json};

use crate::settings::{change, settings_file};
use crate::site::{Site, one_snapshot, site_in, snapshot, uuid};
use crate::standin::{SCRIPT, Standin};

/// A server in front of PostHog whose project `phc_test` had the mode `had`, and which lost everything but recordings.
async fn site_that_lost(posthog: &Standin, default: Mode, had: Mode) -> Site {
    let options = |options: &mut reelcase_server::ServerOptions| {
        options.upstream = Some(reelcase_server::UpstreamOptions { mode: default, ..posthog.options() });
        options.projects = vec!["phc_test".parse().unwrap()];
    };
    let site = crate::site::site_with(options).await;
    // A store in which nothing was ever recorded is one that is new.
    set_mode(&site, json!(Mode::Store)).await;
    site.keep(one_snapshot()).await;
    assert_eq!(site.recordings().await.len(), 1);
    set_mode(&site, json!(had)).await;
    let dir = site.stop().await;
    std::fs::remove_file(dir.path().join("catalog.sqlite")).unwrap();
    std::fs::remove_file(settings_file(dir.path())).unwrap();
    site_in(dir, options, |_| ()).await
}

async fn set_mode(site: &Site, mode: Value) {
    let reply = change(site, "PUT", "/api/projects/phc_test/mode", json!({ "mode": mode }), &[]).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
}

fn upload(session: &str) -> String {
    json!([snapshot(session, &uuid(7))]).to_string()
}

/// Insists that nothing of the project goes anywhere, and that clients are asked to come back.
async fn assert_held(site: &Site, posthog: &Standin, what: &str) {
    let (seen, listed) = (posthog.seen().len(), site.recordings().await);
    let mut sent = vec![
        ("/s/", upload("held")),
        ("/i/v0/e/", upload("held")),
        ("/flags/?v=2", r#"{"token":"phc_test","distinct_id":"visitor"}"#.to_owned()),
    ];
    let mut asked = vec!["/array/phc_test/config.js", "/api/surveys/?token=phc_test"];
    if site.store.settings_lost().await.unwrap().is_some() {
        // Then any project may have had any mode, and whatever names none may be of one.
        sent.push(("/s/", "no upload of any client".to_owned()));
        sent.push(("/s/", upload("held").replace("phc_test", "phc_nobody_knows")));
        asked.push("/s/?data=eyJhIjoxfQ==");
    }
    for (path, body) in sent {
        let reply = site.post(path, "text/plain", body).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (StatusCode::SERVICE_UNAVAILABLE, "mode_lost"),
            "{what} {path}"
        );
        assert_eq!(reply.header("retry-after"), "60");
    }
    for path in asked {
        assert_eq!(site.get(path).await.status, StatusCode::SERVICE_UNAVAILABLE, "{what} {path}");
    }
    assert_eq!(posthog.seen().len(), seen, "{what}");
    assert_eq!(site.recordings().await, listed, "{what}");
    let check = site.check("modes").await;
    assert!(check["state"] == "fail" && check["message"].as_str().unwrap().contains("phc_test"), "{check}");
    let shown = site.read("/api/upstream").await.json();
    assert_eq!(shown["projects"][0], json!({ "key": "phc_test", "mode": null, "is_own": false }), "{what}");
}

#[tokio::test]
async fn a_lost_mode_holds_everything_back_until_it_is_chosen_anew() {
    for default in Mode::ALL {
        let had = if default == Mode::Store { Mode::Pass } else { Mode::Store };
        let posthog = Standin::start().await;
        let site = site_that_lost(&posthog, default, had).await;
        let what = default.as_str();
        assert_held(&site, &posthog, what).await;
        let script = site.get("/static/array.js").await;
        assert_eq!(script.status, StatusCode::OK, "{what}: scripts are of no project");
        assert_eq!(script.text() == SCRIPT, default != Mode::Store, "{what}");

        // What is recorded says nothing of where it may go.
        let settings = change(&site, "PUT", "/api/projects/phc_test/settings", json!({}), &[]).await;
        assert_eq!(settings.status, StatusCode::OK, "{}", settings.text());
        assert_eq!(site.store.settings_lost().await.unwrap(), None);
        assert_held(&site, &posthog, what).await;
        let upstream = posthog.options();
        let again = |options: &mut reelcase_server::ServerOptions| {
            options.upstream = Some(reelcase_server::UpstreamOptions { mode: default, ..upstream });
        };
        let site = site_in(site.stop().await, again, |_| ()).await;
        assert_held(&site, &posthog, "after a restart").await;

        set_mode(&site, json!("mirror")).await;
        site.keep(upload("decided")).await;
        assert!(site.recordings().await.contains(&"decided".to_owned()), "{what}");
    }
}

#[tokio::test]
async fn as_all_others_is_a_decision_too() {
    let posthog = Standin::start().await;
    let site = site_that_lost(&posthog, Mode::Tee, Mode::Store).await;
    set_mode(&site, Value::Null).await;
    let seen = posthog.seen().len();
    assert_eq!(site.post("/s/", "text/plain", upload("decided")).await.header("x-posthog"), "yes");
    assert_eq!(posthog.seen().len(), seen + 1);
}

#[tokio::test]
async fn a_mode_of_a_newer_release_is_as_if_lost() {
    let posthog = Standin::start().await;
    let site = posthog.site().await;
    site.keep(one_snapshot()).await;
    crate::tee::kept(&site, crate::site::SESSION).await;
    site.store.set_setting("upstream_mode:phc_test", "sideways").await.unwrap();
    let options = |options: &mut reelcase_server::ServerOptions| options.upstream = Some(posthog.options());
    let site = site_in(site.stop().await, options, |_| ()).await;
    let reply = site.post("/s/", "text/plain", upload("held")).await;
    assert_eq!(reply.code(), "mode_lost");
    let other = upload("other").replace("phc_test", "phc_other");
    assert_eq!(site.post("/s/", "text/plain", other).await.status, StatusCode::OK, "of which nothing was decided");
}

#[tokio::test]
async fn a_copy_whose_key_nobody_can_judge_holds_up_no_other() {
    let posthog = Standin::start().await;
    let upstream = posthog.options();
    let options = |options: &mut reelcase_server::ServerOptions| {
        options.upstream = Some(upstream);
        options.projects = vec!["phc_test".parse().unwrap()];
        options.accept_any_key = Some(false);
    };
    let site = site_that_lost(&posthog, Mode::Tee, Mode::Tee).await;
    let site = site_in(site.stop().await, options, |_| ()).await;
    let strange = upload("strange").replace("phc_test", "phc_nobody_knows");
    // More of those than are tried at one time.
    for body in std::iter::repeat_n(strange, 40).chain([upload("known")]) {
        let body = vec![body.into_bytes().into()];
        site.store.lay_by(reelcase_store::Unsorted { body, ..Default::default() }).await.unwrap();
    }
    crate::tee::kept(&site, "known").await;
    assert_eq!(site.store.unsorted().count, 40, "they wait until somebody decides");
    set_mode(&site, json!("tee")).await;
    let settings = change(&site, "PUT", "/api/projects/phc_test/settings", json!({}), &[]).await;
    assert_eq!(settings.status, StatusCode::OK, "{}", settings.text());
    crate::tee::not_kept(&site, "unknown_key", 40).await;
}
