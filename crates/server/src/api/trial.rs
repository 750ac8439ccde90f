//! One upload, followed from end to end by the doctor: what is to be sent, what became of it, and its deletion.
//!
//! It is sent by whoever asks, to the address that pages use, so that it takes their way: through every proxy and past
//! every blocker. It belongs to a project of its own, which no list shows, and is forgotten at the end.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::Json;
use axum::extract::State;
use reelcase_format::id::{ProjectKey, RecordingId};
use reelcase_store::catalog::ListQuery;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::parameters::PathParts;
use crate::capture::create_project;
use crate::error::Failure;
use crate::scripts;
use crate::settings;
use crate::state::App;
use crate::upstream::Mode;

/// Key of the project that trials belong to.
pub(crate) const TRIAL_KEY: &str = "phc_reelcase_doctor";

/// A trial that is to be sent.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Trial {
    /// The recording that it is to become.
    id: String,
    /// The project of trials.
    key: &'static str,
    /// What to post to `/s/`, as `application/json`.
    upload: String,
    /// Where pages are told to find us.
    capture_url: String,
    /// The release of posthog-js to ask for.
    script_version: &'static str,
    /// The time here: that of the client must not be far from it.
    now_ms: i64,
}

/// What became of a trial.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TrialState {
    /// Whether it is in an object and in the list.
    is_sealed: bool,
    /// Whether every byte of it can be read, and it can be shown.
    is_playable: bool,
    /// Why it cannot; null where it can, or is not there.
    problem: Option<String>,
    /// Uploads kept since the start, of whatever recording.
    uploads_kept: u64,
    /// The PostHog behind this server; null where there is none.
    upstream: Option<TrialUpstream>,
}

/// How the PostHog behind this server takes part.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TrialUpstream {
    /// What becomes of trials, as of all projects without a mode of their own; null where nobody knows any more.
    mode: Option<Mode>,
    /// When it last answered; null for not since the start.
    answered_at_ms: Option<u64>,
    /// What last went wrong; null for nothing since the start.
    last_error: Option<String>,
}

/// Begins a trial. What an earlier one left is forgotten.
#[utoipa::path(
    post,
    path = "/api/trial",
    responses(
        (status = 200, body = Trial),
        (status = "default", description = "What went wrong", body = crate::error::ErrorBody)
    )
)]
pub(super) async fn begin(State(app): State<Arc<App>>) -> Result<Json<Trial>, Failure> {
    let (key, now_ms) = (key()?, app.clock.now_ms());
    create_project(&app, &key, now_ms).await?;
    settings::begin(&app.store, &key).await?;
    if let Some(upstream) = &app.upstream {
        upstream.modes.load(&app.store).await?;
    }
    let left = app.store.catalog().list(ListQuery { project: Some(key.clone()), ..ListQuery::default() }).await?;
    for row in left.recordings {
        app.store.forget_recording(&key, &row.id).await?;
    }
    let id = uuid::Uuid::now_v7().to_string();
    Ok(Json(Trial {
        upload: upload(&id, now_ms),
        id,
        key: TRIAL_KEY,
        capture_url: app.public_url(),
        script_version: scripts::PINNED_VERSION,
        now_ms,
    }))
}

/// Says what became of a trial. What waits of it is sealed first.
#[utoipa::path(
    get,
    path = "/api/trial/{id}",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = TrialState),
        (status = "default", description = "What went wrong", body = crate::error::ErrorBody)
    )
)]
pub(super) async fn state(
    State(app): State<Arc<App>>,
    PathParts(id): PathParts<String>,
) -> Result<Json<TrialState>, Failure> {
    let (key, id) = (key()?, recording_id(&id)?);
    let blocks = app.store.blocks(&key, &id).await?;
    let row = app.store.catalog().get(&key, &id).await?;
    let mut problem = None;
    for block in &blocks {
        if let Err(error) = app.store.read_lines(block).await {
            problem = Some(error.to_string());
        }
    }
    if row.as_ref().is_some_and(|row| row.summary.full_snapshot_count == 0) {
        problem = Some("its full snapshot did not arrive".to_owned());
    }
    Ok(Json(TrialState {
        is_sealed: row.is_some(),
        is_playable: row.is_some() && problem.is_none(),
        problem,
        uploads_kept: app.metrics.snapshots_kept.load(Relaxed),
        upstream: app.upstream.as_ref().map(|upstream| TrialUpstream {
            mode: upstream.modes.of(Some(&key)),
            answered_at_ms: Some(upstream.counts.answered_at_ms.load(Relaxed)).filter(|at| *at > 0),
            last_error: upstream.last_error().map(|(what, _)| what),
        }),
    }))
}

/// Forgets a trial. Its blocks are swept with those that compaction has replaced.
#[utoipa::path(
    delete,
    path = "/api/trial/{id}",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "It is forgotten, or was never there"),
        (status = "default", description = "What went wrong", body = crate::error::ErrorBody)
    )
)]
pub(super) async fn end(
    State(app): State<Arc<App>>,
    PathParts(id): PathParts<String>,
) -> Result<Json<serde_json::Value>, Failure> {
    let is_forgotten = app.store.forget_recording(&key()?, &recording_id(&id)?).await?;
    Ok(Json(json!({ "is_forgotten": is_forgotten })))
}

fn key() -> Result<ProjectKey, Failure> {
    TRIAL_KEY.parse().map_err(Failure::BadKey)
}

fn recording_id(text: &str) -> Result<RecordingId, Failure> {
    text.parse().map_err(|_| Failure::NotFound("trial"))
}

/// The smallest recording that can be shown: a page with one sentence.
fn upload(id: &str, now_ms: i64) -> String {
    let text = json!({ "type": 3, "id": 4, "textContent": "The doctor was here." });
    let body = json!({ "type": 2, "tagName": "body", "attributes": {}, "id": 3, "childNodes": [text] });
    let html = json!({ "type": 2, "tagName": "html", "attributes": {}, "id": 2, "childNodes": [body] });
    let page =
        json!({ "node": { "type": 0, "id": 1, "childNodes": [html] }, "initialOffset": { "top": 0, "left": 0 } });
    let events = json!([
        { "type": 4, "timestamp": now_ms, "data": { "href": "https://reelcase.invalid/doctor", "width": 800, "height": 600 } },
        { "type": 2, "timestamp": now_ms, "data": page },
    ]);
    let event = json!([{
        "uuid": uuid::Uuid::now_v7().to_string(),
        "event": "$snapshot",
        "properties": {
            "token": TRIAL_KEY,
            "distinct_id": "reelcase-doctor",
            "$session_id": id,
            "$window_id": "doctor",
            "$lib": "reelcase-doctor",
            "$snapshot_source": "web",
            "$snapshot_data": events,
        },
    }]);
    event.to_string()
}
