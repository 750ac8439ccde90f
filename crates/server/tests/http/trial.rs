//! The upload that the doctor follows from end to end, and that leaves nothing behind.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::settings::change;
use crate::site::{Site, one_snapshot, site_with, site_with_store};
use crate::standin::Standin;

async fn begin(site: &Site) -> Value {
    let reply = change(site, "POST", "/api/trial", Value::Null, &[]).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    reply.json()
}

async fn send(site: &Site, trial: &Value) -> String {
    let sent = site.post("/s/", "application/json", trial["upload"].as_str().unwrap()).await;
    assert_eq!(sent.status, StatusCode::OK, "{}", sent.text());
    trial["id"].as_str().unwrap().to_owned()
}

async fn state(site: &Site, id: &str) -> Value {
    site.read(&format!("/api/trial/{id}")).await.json()
}

async fn end(site: &Site, id: &str) -> Value {
    change(site, "DELETE", &format!("/api/trial/{id}"), Value::Null, &[]).await.json()
}

#[tokio::test]
async fn a_trial_is_followed_until_it_can_be_played_and_then_it_never_was() {
    let no_key = |options: &mut reelcase_server::ServerOptions| options.accept_any_key = Some(false);
    let site = site_with_store(no_key, |store| store.sweep_grace_ms = 0).await;
    let trial = begin(&site).await;
    let id = trial["id"].as_str().unwrap().to_owned();
    let nothing = state(&site, &id).await;
    assert_eq!((&nothing["is_sealed"], &nothing["is_playable"]), (&json!(false), &json!(false)));
    send(&site, &trial).await;
    let there = state(&site, &id).await;
    assert_eq!(
        (&there["is_sealed"], &there["is_playable"], &there["problem"]),
        (&json!(true), &json!(true), &Value::Null)
    );
    assert_eq!(site.read("/api/recordings").await.json()["recordings"], json!([]), "no list shows it");
    assert_eq!(site.read("/api/projects").await.json(), json!([]));
    assert_eq!(site.read("/api/info").await.json()["projects"], json!([]));
    assert_eq!(end(&site, &id).await, json!({ "is_forgotten": true }));
    assert_eq!(end(&site, &id).await, json!({ "is_forgotten": false }));
    assert_eq!(state(&site, &id).await["is_sealed"], false);
    site.store.sweep().await.unwrap();
    assert_eq!(site.store.catalog().objects().await.unwrap(), [], "nothing is left of it");
}

#[tokio::test]
async fn a_trial_that_was_not_ended_is_forgotten_with_the_next_and_others_stay() {
    let site = site_with(|_| ()).await;
    let first = begin(&site).await;
    let first = send(&site, &first).await;
    site.post("/s/", "application/json", one_snapshot()).await;
    site.store.seal_all().await.unwrap();
    let second = begin(&site).await;
    let second = send(&site, &second).await;
    assert_eq!(state(&site, &first).await["is_sealed"], false);
    end(&site, &second).await;
    assert_eq!(site.read("/api/recordings").await.json()["recordings"].as_array().unwrap().len(), 1);
    assert_eq!(site.event_count(crate::site::SESSION).await, 2, "sealed together with the trial, and still played");
}

#[tokio::test]
async fn in_front_of_posthog_a_trial_says_whether_it_answers() {
    let posthog = Standin::start().await;
    let site = posthog.site().await;
    let trial = begin(&site).await;
    let id = send(&site, &trial).await;
    let there = state(&site, &id).await;
    assert_eq!(there["upstream"]["mode"], "tee");
    assert!(there["upstream"]["answered_at_ms"].is_u64(), "{there}");
}
