//! The PostHog behind this server: where it is, how it answers, and which mode each project has.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::Json;
use axum::extract::{Path, State};
use reelcase_format::id::ProjectKey;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::TRIAL_KEY;
use super::parameters::PathParts;
use super::projects::project_key;
use crate::error::Failure;
use crate::keys;
use crate::metrics::{family, single};
use crate::settings::Settings;
use crate::settings::document::values_of;
use crate::state::App;
use crate::upstream::modes::Decided;
use crate::upstream::{Mode, QuotaLimited, Upstream, config_of};

/// The PostHog behind this server.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UpstreamInfo {
    /// Takes uploads, and all else that has no host of its own.
    ingest: String,
    /// Has scripts and config.
    assets: String,
    /// What people look at.
    ui: String,
    /// The mode of projects without one of their own.
    mode: Mode,
    quota_limited: QuotaLimited,
    /// When it last answered; null for not since the start.
    answered_at_ms: Option<u64>,
    /// When it last did not; null for not since the start.
    away_at_ms: Option<u64>,
    /// What last went wrong between here and PostHog; null for nothing since the start.
    last_error: Option<String>,
    /// When that was.
    last_error_at_ms: Option<i64>,
    /// What waits to be sent on.
    spool: SpoolInfo,
    /// The projects, by key.
    projects: Vec<ProjectMode>,
}

/// What PostHog tells the pages of a project.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UpstreamSettings {
    /// What it says of each setting. What is absent it does not say.
    settings: Settings,
    /// Whether it switched recording off because a quota is used up.
    over_quota: bool,
    /// How many groups of conditions it has, which count instead of its other conditions.
    trigger_groups: usize,
}

/// What waits to be sent on.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SpoolInfo {
    /// Pieces of recordings.
    recordings: u64,
    /// Uploads of events.
    events: u64,
    bytes: u64,
    /// When the oldest of them arrived; null for none.
    oldest_ms: Option<i64>,
    /// Sent since the start.
    sent: u64,
    /// Times since the start that sending had to be tried again.
    retried: u64,
    /// Most that are sent in a second.
    rate_max: u32,
    /// Until when nothing is sent, because PostHog asked for a pause or did not answer; null for no pause.
    paused_until_ms: Option<u64>,
    /// Given up since the start because they had waited too long.
    expired: u64,
    /// Given up since the start because they took too much disk.
    crowded_out: u64,
    /// Given up since the start because PostHog refused them for good.
    refused: u64,
}

/// What becomes of a project's requests.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProjectMode {
    /// The project's key.
    key: String,
    /// Null where it was lost: the project's requests are answered 503 until it is chosen anew.
    mode: Option<Mode>,
    /// Whether the mode was chosen for this project.
    is_own: bool,
}

/// The mode that a project is to have.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ModeChange {
    /// Null for that of all projects without one of their own.
    #[schema(required)]
    mode: Option<Mode>,
}

/// The PostHog behind this server; null where there is none.
#[utoipa::path(
    get,
    path = "/api/upstream",
    responses(
        (status = 200, body = Option<UpstreamInfo>),
        (status = "default", description = "What went wrong", body = crate::error::ErrorBody)
    )
)]
pub(super) async fn show(State(app): State<Arc<App>>) -> Result<Json<Option<UpstreamInfo>>, Failure> {
    let Some(upstream) = &app.upstream else { return Ok(Json(None)) };
    let projects = app.store.catalog().projects().await?;
    let time = |at: &std::sync::atomic::AtomicU64| Some(at.load(Relaxed)).filter(|at| *at > 0);
    let spool = app.store.spool_stats();
    let paused_until_ms = upstream.counts.spool_paused_until_ms.iter().map(|until| until.load(Relaxed)).max();
    let (last_error, last_error_at_ms) = upstream.last_error().unzip();
    Ok(Json(Some(UpstreamInfo {
        ingest: upstream.options.hosts.ingest.to_string(),
        assets: upstream.options.hosts.assets.to_string(),
        ui: upstream.options.hosts.ui.to_string(),
        mode: upstream.modes.default(),
        quota_limited: upstream.options.quota_limited,
        answered_at_ms: time(&upstream.counts.answered_at_ms),
        away_at_ms: time(&upstream.counts.away_at_ms),
        last_error,
        last_error_at_ms,
        spool: SpoolInfo {
            recordings: spool.records[0],
            events: spool.records[1],
            bytes: spool.bytes,
            oldest_ms: spool.oldest_ms,
            sent: upstream.counts.spool_sent.load(Relaxed),
            retried: upstream.counts.spool_retried.load(Relaxed),
            rate_max: upstream.options.spool_rate_max,
            paused_until_ms: paused_until_ms.filter(|until_ms| *until_ms > app.clock.now_ms().unsigned_abs()),
            expired: spool.expired,
            crowded_out: spool.crowded_out,
            refused: upstream.counts.spool_refused.load(Relaxed),
        },
        projects: projects
            .iter()
            .filter(|project| project.key.as_str() != TRIAL_KEY)
            .map(|project| mode_of(upstream, &project.key))
            .collect(),
    })))
}

/// Gives a project a mode. It holds from the next request on, and after a restart.
#[utoipa::path(
    put,
    path = "/api/projects/{key}/mode",
    params(("key" = String, Path, description = "The project's key")),
    request_body = ModeChange,
    responses(
        (status = 200, body = ProjectMode),
        (status = "default", description = "What went wrong", body = crate::error::ErrorBody)
    )
)]
pub(super) async fn set_mode(
    State(app): State<Arc<App>>,
    Path(key): Path<String>,
    change: Result<Json<ModeChange>, axum::extract::rejection::JsonRejection>,
) -> Result<Json<ProjectMode>, Failure> {
    let Json(change) = change.map_err(|error| Failure::bad_parameter(error.body_text()))?;
    let upstream = app.upstream.as_ref().ok_or(Failure::NoUpstream)?;
    let key = project_key(&app, &key)?;
    if app.store.catalog().project(&key).await?.is_none() {
        return Err(Failure::NotFound("project"));
    }
    upstream.modes.set(&app.store, &key, change.mode).await?;
    tracing::info!(%key, mode = ?change.mode, "a project has another mode");
    Ok(Json(mode_of(upstream, &key)))
}

/// What PostHog tells the pages of a project, as settings, so that each can be shown beside what was decided here.
#[utoipa::path(
    get,
    path = "/api/projects/{key}/upstream",
    params(("key" = String, Path)),
    responses(
        (status = 200, body = UpstreamSettings),
        (status = "default", description = "What went wrong", body = crate::error::ErrorBody)
    )
)]
pub(super) async fn settings(
    State(app): State<Arc<App>>,
    PathParts(key): PathParts<String>,
) -> Result<Json<UpstreamSettings>, Failure> {
    let upstream = app.upstream.as_ref().ok_or(Failure::NoUpstream)?;
    let key = project_key(&app, &key)?;
    app.store.catalog().project(&key).await?.ok_or(Failure::NotFound("project"))?;
    // The key that pages ask with.
    let asked = keys::current(&keys::list(&app.store, &key).await?).and_then(|current| current.key.parse().ok());
    let config = config_of(&app, upstream, &asked.unwrap_or(key)).await?;
    let over_quota = config["quotaLimited"].as_array().is_some_and(|of| of.iter().any(|of| of == "recordings"));
    let trigger_groups = config["sessionRecording"]["triggerGroups"].as_array().map_or(0, Vec::len);
    Ok(Json(UpstreamSettings { settings: values_of(&config), over_quota, trigger_groups }))
}

/// Adds what there is to count of PostHog.
pub(super) fn add_metrics(app: &App, text: &mut String) {
    let Some(upstream) = &app.upstream else { return };
    let counts = &upstream.counts;
    let replies = counts.replies().map(|(class, count)| (class.to_owned(), count));
    family(text, "reelcase_upstream_replies_total", "counter", "Requests to PostHog, by reply.", "status", replies);
    for (name, help, count) in [
        (
            "reelcase_upstream_quota_limited_total",
            "Uploads to which PostHog said that a quota is used up.",
            &counts.quota_limited,
        ),
        (
            "reelcase_upstream_documents_from_cache_total",
            "Scripts and config that PostHog was not asked for.",
            &counts.documents_from_cache,
        ),
        (
            "reelcase_upstream_documents_while_away_total",
            "Scripts and config served from the cache because PostHog did not answer.",
            &counts.documents_while_away,
        ),
        (
            "reelcase_upstream_documents_overridden_total",
            "Config of PostHog that settings were laid over.",
            &counts.documents_overridden,
        ),
        (
            "reelcase_upstream_documents_refused_total",
            "Config of PostHog that was not handed on, because settings could not be laid over it.",
            &counts.documents_refused,
        ),
        (
            "reelcase_upstream_scripts_refused_total",
            "Scripts of PostHog that were not handed on, because they are not what was pinned.",
            &counts.scripts_refused,
        ),
        ("reelcase_spool_sent_total", "Uploads that PostHog got from the spool.", &counts.spool_sent),
        ("reelcase_spool_refused_total", "Uploads of the spool that PostHog refused for good.", &counts.spool_refused),
        ("reelcase_spool_retried_total", "Times that sending had to be tried again.", &counts.spool_retried),
    ] {
        single(text, name, "counter", help, count.load(Relaxed));
    }
    add_spool_metrics(app, text);
}

fn add_spool_metrics(app: &App, text: &mut String) {
    let spool = app.store.spool_stats();
    let by_lane = ["recordings", "events"].into_iter().map(str::to_owned).zip(spool.records);
    family(text, "reelcase_spool_records", "gauge", "Uploads that wait for PostHog.", "lane", by_lane);
    let age_ms = spool.oldest_ms.map_or(0, |oldest_ms| (app.clock.now_ms() - oldest_ms).max(0).unsigned_abs());
    for (name, help, value) in [
        ("reelcase_spool_bytes", "Bytes of uploads that wait for PostHog.", spool.bytes),
        ("reelcase_spool_segments", "Segments of the inbox that are held for PostHog.", spool.segments),
        ("reelcase_spool_oldest_ms", "How long the oldest of them has waited.", age_ms),
    ] {
        single(text, name, "gauge", help, value);
    }
    let given_up = [("expired".to_owned(), spool.expired), ("crowded_out".to_owned(), spool.crowded_out)];
    let help = "Uploads that PostHog will not get, by reason. They are kept here.";
    family(text, "reelcase_spool_given_up_total", "counter", help, "reason", given_up.into_iter());
}

fn mode_of(upstream: &Upstream, key: &ProjectKey) -> ProjectMode {
    let is_own = matches!(upstream.modes.decided(key), Decided::Own(_));
    ProjectMode { key: key.to_string(), mode: upstream.modes.of(Some(key)), is_own }
}
