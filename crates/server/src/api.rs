//! The API: what the web app, the player and the command line ask for. Described by `/openapi.json`.
//!
//! All of it needs access, and none of it is ever shared with other origins.

mod blocks;
mod collections;
mod doctor;
mod export;
mod exports;
mod filters;
mod import;
mod keys;
mod notes;
mod parameters;
mod posthog;
mod projects;
mod recordings;
mod shares;
mod trial;
mod upstream;
mod webhooks;

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post, put};
use axum::{Json, Router, http::HeaderValue};
use reelcase_format::id::RecordingId;
use reelcase_store::catalog::RecordingRow;
use reelcase_transform::format::{FORMATS, FormatInfo};
use serde::Serialize;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi, ToSchema, openapi};

use crate::access::COOKIE_NAME;
use crate::cors::CROSS_ORIGIN_RESOURCE_POLICY;
use crate::error::Failure;
use crate::metrics::single;
use crate::scripts;
use crate::state::App;

use projects::ProjectInfo;

pub(crate) use blocks::{blocks_after, in_path, packed, version_of, wait_of};
pub use export::{GAPS_HEADER, Gaps, LEFT_OUT_TRAILER};
pub(crate) use projects::json_of;
pub use recordings::{FileSignature, Recording, iso, list_query};
pub(crate) use trial::TRIAL_KEY;

/// A recording that nothing was added to for this long is over, as far as one can tell.
pub(crate) const LIVE_MS: i64 = 60_000;

#[derive(OpenApi)]
#[openapi(
    info(title = "Reelcase", description = "Reads recordings, and says what is recorded. Times are milliseconds since the epoch."),
    paths(
        info,
        recordings::list,
        recordings::one,
        recordings::delete,
        recordings::count_all,
        recordings::delete_all,
        notes::show,
        notes::change,
        notes::comment,
        notes::change_comment,
        notes::delete_comment,
        notes::tags,
        collections::list,
        collections::create,
        collections::one,
        collections::rename,
        collections::delete,
        collections::add,
        collections::remove,
        filters::list,
        filters::save,
        filters::delete,
        blocks::list,
        blocks::one,
        export::export,
        import::import,
        exports::list,
        exports::set,
        exports::delete,
        exports::run,
        shares::list,
        shares::create,
        shares::create_of_collection,
        shares::set_picture,
        shares::revoke,
        projects::list,
        projects::create,
        projects::one,
        projects::rename,
        keys::list,
        keys::add,
        keys::delete,
        projects::fields,
        projects::settings,
        projects::merge,
        projects::replace,
        doctor::doctor,
        trial::begin,
        trial::state,
        trial::end,
        webhooks::list,
        webhooks::create,
        webhooks::change,
        webhooks::delete,
        webhooks::test,
        upstream::show,
        upstream::set_mode,
        upstream::settings,
        posthog::list,
        posthog::one,
        posthog::snapshots,
        posthog::persons,
        posthog::query,
        metrics
    ),
    components(schemas(crate::error::ErrorBody, crate::error::ErrorDetail)),
    modifiers(&Secured),
    security(("secret" = []), ("cookie" = []))
)]
struct Document;

/// Says how requests show that they may read.
struct Secured;

impl Modify for Secured {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let cookie = ApiKey::Cookie(ApiKeyValue::new(COOKIE_NAME));
        components.add_security_scheme("secret", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        components.add_security_scheme("cookie", SecurityScheme::ApiKey(cookie));
    }
}

/// What this server is.
#[derive(Debug, Serialize, ToSchema)]
struct Info {
    /// Release of the server.
    version: &'static str,
    /// What a page gives posthog-js as `api_host`.
    capture_url: String,
    /// The projects, by key.
    projects: Vec<ProjectInfo>,
    /// Whether an unknown project key creates its project.
    accept_any_key: bool,
    /// Releases of posthog-js that are served; the first is the default.
    static_versions: Vec<String>,
    /// Forms that a recording can be downloaded in.
    formats: Vec<DownloadFormat>,
}

/// A form that a recording can be downloaded in.
#[derive(Debug, Serialize, ToSchema)]
struct DownloadFormat {
    /// What the export is asked for.
    name: &'static str,
    /// How the file's name ends, without the first dot.
    ending: &'static str,
    /// What it is, in a few words.
    about: &'static str,
}

/// The routes, without the access check.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/api/info", get(info))
        .route("/api/recordings", get(recordings::list).delete(recordings::delete_all))
        .route("/api/count", get(recordings::count_all))
        .route("/api/recordings/{id}", get(recordings::one).delete(recordings::delete))
        .route("/api/recordings/{id}/blocks", get(blocks::list))
        .route("/api/recordings/{id}/blocks/{object}/{block}", get(blocks::one))
        .route("/api/recordings/{id}/notes", get(notes::show).patch(notes::change))
        .route("/api/recordings/{id}/comments", post(notes::comment))
        .route("/api/recordings/{id}/comments/{comment}", patch(notes::change_comment).delete(notes::delete_comment))
        .route("/api/tags", get(notes::tags))
        .route("/api/collections", get(collections::list).post(collections::create))
        .route(
            "/api/collections/{collection}",
            get(collections::one).patch(collections::rename).delete(collections::delete),
        )
        .route("/api/collections/{collection}/recordings", post(collections::add))
        .route("/api/collections/{collection}/recordings/{recording}", delete(collections::remove))
        .route("/api/collections/{collection}/shares", post(shares::create_of_collection))
        .route("/api/filters", get(filters::list).post(filters::save))
        .route("/api/filters/{filter}", delete(filters::delete))
        .route("/api/recordings/{id}/export", get(export::export))
        .route("/api/import", post(import::import))
        .route("/api/exports", get(exports::list))
        .route("/api/exports/{name}", put(exports::set).delete(exports::delete))
        .route("/api/exports/{name}/run", post(exports::run))
        .route("/api/recordings/{id}/shares", post(shares::create))
        .route("/api/shares", get(shares::list))
        .route("/api/shares/{share}", delete(shares::revoke))
        .route("/api/shares/{share}/picture", put(shares::set_picture))
        .route("/api/projects", get(projects::list).post(projects::create))
        .route("/api/projects/{key}", get(projects::one).patch(projects::rename))
        .route("/api/projects/{key}/settings", get(projects::settings).patch(projects::merge).put(projects::replace))
        .route("/api/projects/{key}/keys", get(keys::list).post(keys::add))
        .route("/api/projects/{key}/keys/{capture_key}", delete(keys::delete))
        .route("/api/settings", get(projects::fields))
        .route("/api/doctor", get(doctor::doctor))
        .route("/api/trial", post(trial::begin))
        .route("/api/trial/{id}", get(trial::state).delete(trial::end))
        .route("/api/webhooks", get(webhooks::list).post(webhooks::create))
        .route("/api/webhooks/{webhook}", patch(webhooks::change).delete(webhooks::delete))
        .route("/api/webhooks/{webhook}/test", post(webhooks::test))
        .route("/api/upstream", get(upstream::show))
        .route("/api/projects/{key}/mode", put(upstream::set_mode))
        .route("/api/projects/{key}/upstream", get(upstream::settings))
        .route("/metrics", get(metrics))
        .merge(posthog::routes())
        .route_layer(map_response(unshared))
}

/// The description of the API as JSON.
pub fn openapi_json() -> String {
    Document::openapi().to_pretty_json().unwrap_or_default() + "\n"
}

/// Answers `/openapi.json`.
pub(crate) async fn openapi_document() -> Response {
    ([(CONTENT_TYPE, "application/json")], openapi_json()).into_response()
}

/// Keeps answers out of shared caches, unless the handler knows better, out of other sites' pages, and from being taken
/// for anything else.
async fn unshared(mut reply: Response) -> Response {
    reply.headers_mut().insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    reply.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    reply.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

/// What this server is, and where pages send recordings.
#[utoipa::path(
    get,
    path = "/api/info",
    responses(
        (status = 200, body = Info),
        (status = "default", description = "What went wrong", body = crate::error::ErrorBody)
    )
)]
async fn info(State(app): State<Arc<App>>) -> Result<Json<Info>, Failure> {
    let projects = app.store.catalog().projects().await?;
    Ok(Json(Info {
        version: env!("CARGO_PKG_VERSION"),
        capture_url: app.public_url(),
        projects: projects::listed(&app, projects).await?,
        accept_any_key: app.options.accepts_any_key(),
        static_versions: scripts::versions(&app).await,
        formats: FORMATS.map(|FormatInfo { name, ending, about, .. }| DownloadFormat { name, ending, about }).into(),
    }))
}

/// Counts for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    responses(
        (status = 200, body = String, content_type = "text/plain"),
        (status = "default", description = "What went wrong", body = crate::error::ErrorBody)
    )
)]
async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Failure> {
    let totals = app.drops.totals(app.store.catalog()).await?;
    let (inbox, items_waiting) = app.store.waiting();
    let compaction = app.store.compaction();
    let mut text = app.metrics.render(
        totals,
        &[
            ("reelcase_inbox_bytes_waiting", "Bytes in the inbox that wait to be sealed.", inbox.bytes_waiting),
            ("reelcase_inbox_disk_bytes", "Bytes the inbox takes on disk.", inbox.disk_bytes),
            ("reelcase_inbox_failing", "Whether the inbox cannot write.", u64::from(inbox.failing.is_some())),
            ("reelcase_sealing_failing", "Whether uploads cannot be sealed.", u64::from(app.store.trouble().is_some())),
            (
                "reelcase_objects_newer",
                "Objects of a newer release, which stay as they are and are not listed.",
                app.store.newer_objects().len() as u64,
            ),
            ("reelcase_items_waiting", "Events that wait to be sealed.", items_waiting as u64),
            (
                "reelcase_copies_unsorted",
                "Copies of uploads that nobody has looked into yet.",
                app.store.unsorted().count as u64,
            ),
            ("reelcase_body_bytes_left", "Bytes of bodies that may still come in.", app.budget.bytes_left() as u64),
            ("reelcase_inflated_bytes_left", "Bytes large uploads may inflate to.", app.inflating.bytes_left() as u64),
            (
                "reelcase_compaction_failing",
                "Whether recordings cannot be compacted or swept.",
                u64::from(compaction.last_error.is_some()),
            ),
        ],
    );
    for (name, help, count) in [
        ("reelcase_compacted_recordings_total", "Recordings rewritten into large blocks.", compaction.recordings),
        ("reelcase_compacted_bytes_before_total", "Bytes of blocks that were replaced.", compaction.bytes_before),
        ("reelcase_compacted_bytes_after_total", "Bytes of objects written instead.", compaction.bytes_after),
        (
            "reelcase_compaction_damaged_recordings_total",
            "Recordings with damage, left as they are.",
            compaction.recordings_damaged,
        ),
        ("reelcase_swept_objects_total", "Objects deleted.", compaction.objects_swept),
        ("reelcase_swept_bytes_total", "Bytes of objects deleted.", compaction.bytes_swept),
    ] {
        single(&mut text, name, "counter", help, count);
    }
    upstream::add_metrics(&app, &mut text);
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}

/// Finds a recording by id, whatever waits of it sealed first. Where two projects chose the same id, `project` says
/// which is meant; without it the first by key is.
async fn find(app: &App, id: &str, project: Option<&str>) -> Result<RecordingRow, Failure> {
    let id: RecordingId = id.parse().map_err(|_| Failure::NotFound("recording"))?;
    app.store.seal_id(&id).await?;
    let found = match project {
        Some(project) => {
            let project = projects::project_key(app, project)?;
            app.store.catalog().get(&project, &id).await?
        }
        None => app.store.catalog().find(&id).await?.into_iter().next(),
    };
    found.ok_or(Failure::NotFound("recording"))
}

/// Whether it is being recorded now.
pub(crate) fn is_live(row: &RecordingRow, now_ms: i64) -> bool {
    row.updated_at_ms >= now_ms - LIVE_MS
}
