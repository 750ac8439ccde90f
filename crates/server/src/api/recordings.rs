//! Recordings: a page of them, or one.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use reelcase_store::catalog::{ListOrder, ListQuery, RecordingRow};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::parameters::{Parameters, PathParts, flaw_of};
use super::{LIVE_MS, find, is_live};
use crate::collections::{Collections, Member};
use crate::error::Failure;
use crate::share::Target;
use crate::state::App;

/// Recordings deleted with one request, unless it says how many. Each is some writes to the disk, or the bucket.
const DELETE_STEP_DEFAULT: usize = 50;

/// Which recordings to list; all conditions hold at once.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParameters {
    /// Key of the project.
    project: Option<String>,
    /// Started at or after this.
    from_ms: Option<i64>,
    /// Started before this.
    to_ms: Option<i64>,
    /// Distinct id, or text in a property of the person.
    person: Option<String>,
    /// Text in a URL that was seen.
    url: Option<String>,
    /// At least this long.
    duration_min_ms: Option<i64>,
    /// At most this long.
    duration_max_ms: Option<i64>,
    /// At least this many clicks.
    clicks_min: Option<u64>,
    /// At least this many key presses.
    keypresses_min: Option<u64>,
    /// At least this many console errors.
    errors_min: Option<u64>,
    /// With this tag, or with a comment that has it.
    tag: Option<String>,
    /// Only those that are pinned, or are not.
    pinned: Option<bool>,
    /// Only those that somebody with access has watched, or nobody has.
    seen: Option<bool>,
    /// Only those with comments, or without any.
    commented: Option<bool>,
    /// Only those that are being recorded now.
    live: Option<bool>,
    /// Only with `DELETE`: nothing must have been added since, by the clock of the server. `as_of_ms` of the count.
    as_of_ms: Option<i64>,
    /// Most recordings on the page, up to 200.
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Which project a recording is in, where two share its id.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ProjectParameter {
    /// Key of the project.
    pub(super) project: Option<String>,
}

/// Some recordings, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RecordingPage {
    recordings: Vec<Recording>,
    /// Cursor of the next page; null on the last one.
    next: Option<String>,
}

/// How many recordings fit.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Count {
    recording_count: u64,
    /// When they were counted, server clock.
    as_of_ms: i64,
}

/// What became of some of the recordings that fit.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Deleted {
    deleted_count: usize,
    /// How many were left, because something was added since `as_of_ms`.
    left_count: usize,
    /// What to ask with as `cursor` for the rest; null at the end.
    next: Option<String>,
}

/// One recording.
#[derive(Debug, Serialize, ToSchema)]
pub struct Recording {
    id: String,
    project: String,
    start_ms: i64,
    end_ms: i64,
    /// `start_ms` in ISO 8601.
    start: String,
    /// `end_ms` in ISO 8601.
    end: String,
    duration_ms: i64,
    /// How long somebody did something.
    active_ms: u64,
    event_count: u64,
    click_count: u64,
    keypress_count: u64,
    mouse_activity_count: u64,
    console_log_count: u64,
    console_warn_count: u64,
    console_error_count: u64,
    full_snapshot_count: u64,
    analytics_event_count: u64,
    start_url: Option<String>,
    urls: Vec<String>,
    windows: Vec<Window>,
    /// `web` or `mobile`.
    source: Option<String>,
    library: Option<String>,
    library_version: Option<String>,
    person: Option<Person>,
    stored_bytes: u64,
    plain_bytes: u64,
    /// Whether it is being recorded now.
    is_live: bool,
    /// When something was last added, server clock.
    updated_at_ms: i64,
    /// Sorted.
    tags: Vec<String>,
    is_pinned: bool,
    /// Whether somebody with access has watched it.
    is_seen: bool,
    comment_count: u64,
    /// PostHog's row of the recording, where it was imported from there. All other figures are counted here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    posthog: Option<Value>,
    /// Who signed the file that the recording is from, where `reelcase open` plays a signed one.
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<FileSignature>,
}

/// Who signed a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FileSignature {
    /// Public keys, as `reelcase sign` prints them. Where there is a `flaw`, those that the file claims.
    pub signed_by: Vec<String>,
    /// Why the file is not the one that was signed. Absent where nothing was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flaw: Option<String>,
}

/// A tab or screen of a recording.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Window {
    id: String,
    start_ms: i64,
    end_ms: i64,
    event_count: u64,
    full_snapshot_count: u64,
}

/// Who is in a recording.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Person {
    distinct_ids: Vec<String>,
    #[schema(value_type = Object)]
    properties: Map<String, Value>,
}

/// One page of recordings, newest first.
#[utoipa::path(
    get,
    path = "/api/recordings",
    params(ListParameters),
    responses(
        (status = 200, body = RecordingPage),
        (status = 400, body = crate::error::ErrorBody),
        (status = "default", description = "What went wrong", body = crate::error::ErrorBody)
    )
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Parameters(parameters): Parameters<ListParameters>,
) -> Result<Json<RecordingPage>, Failure> {
    let query = asked(&app, parameters, app.clock.now_ms())?;
    let page = app.store.catalog().list(query).await?;
    let recordings =
        page.recordings.into_iter().filter(is_of_people).map(|row| Recording::new(row, app.clock.now_ms())).collect();
    Ok(Json(RecordingPage { recordings, next: page.next }))
}

/// How many recordings fit, of whatever `limit` and `cursor` say.
#[utoipa::path(
    get,
    path = "/api/count",
    params(ListParameters),
    responses(
        (status = 200, body = Count),
        (status = "default", description = "What went wrong", body = crate::error::ErrorBody)
    )
)]
pub(super) async fn count_all(
    State(app): State<Arc<App>>,
    Parameters(parameters): Parameters<ListParameters>,
) -> Result<Json<Count>, Failure> {
    let now_ms = app.clock.now_ms();
    let query = asked(&app, parameters, now_ms)?;
    Ok(Json(Count { recording_count: app.store.catalog().count(query).await?, as_of_ms: now_ms }))
}

/// Deletes recordings that fit, some at a time: all are gone once `next` is null. At least one condition must be named.
#[utoipa::path(
    delete,
    path = "/api/recordings",
    params(ListParameters),
    responses(
        (status = 200, body = Deleted),
        (status = "default", description = "What went wrong", body = crate::error::ErrorBody)
    )
)]
pub(super) async fn delete_all(
    State(app): State<Arc<App>>,
    Parameters(mut parameters): Parameters<ListParameters>,
) -> Result<Json<Deleted>, Failure> {
    let as_of_ms = parameters.as_of_ms.take();
    let mut query = asked(&app, parameters, app.clock.now_ms())?;
    query.limit = Some(query.limit.unwrap_or(DELETE_STEP_DEFAULT));
    let every = ListQuery { limit: query.limit, cursor: query.cursor.clone(), ..ListQuery::default() };
    if query == every {
        let message = "name at least one condition, such as tag=spam; project=KEY deletes all of a project";
        return Err(Failure::BadParameter(message.to_owned()));
    }
    let page = app.store.catalog().list(query).await?;
    let (mut deleted, mut left_count) = (Vec::new(), 0);
    for row in page.recordings.into_iter().filter(is_of_people) {
        if as_of_ms.is_some_and(|as_of_ms| row.updated_at_ms > as_of_ms) {
            left_count += 1;
        } else if app.store.delete_recording(&row.project, &row.id).await? {
            deleted.push(Member { project: row.project, recording: row.id });
        }
    }
    forget(&app, &deleted).await?;
    tracing::info!(recordings = deleted.len(), "recordings were deleted");
    Ok(Json(Deleted { deleted_count: deleted.len(), left_count, next: page.next }))
}

/// One recording.
#[utoipa::path(
    get,
    path = "/api/recordings/{id}",
    params(("id" = String, Path), ProjectParameter),
    responses(
        (status = 200, body = Recording),
        (status = 404, body = crate::error::ErrorBody),
        (status = "default", description = "What went wrong", body = crate::error::ErrorBody)
    )
)]
pub(super) async fn one(
    State(app): State<Arc<App>>,
    PathParts(id): PathParts<String>,
    Parameters(parameter): Parameters<ProjectParameter>,
) -> Result<Json<Recording>, Failure> {
    let row = find(&app, &id, parameter.project.as_deref()).await?;
    let signature = app.options.signatures.get(&(row.project.clone(), row.id.clone())).cloned();
    Ok(Json(Recording { signature, ..Recording::new(row, app.clock.now_ms()) }))
}

/// Deletes a recording, what was said of it, and the links to it. Nothing that still comes of it is taken.
#[utoipa::path(
    delete,
    path = "/api/recordings/{id}",
    params(("id" = String, Path), ProjectParameter),
    responses(
        (status = 204),
        (status = 404, body = crate::error::ErrorBody),
        (status = "default", description = "What went wrong", body = crate::error::ErrorBody)
    )
)]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    PathParts(id): PathParts<String>,
    Parameters(parameter): Parameters<ProjectParameter>,
) -> Result<StatusCode, Failure> {
    let row = find(&app, &id, parameter.project.as_deref()).await?;
    if !app.store.delete_recording(&row.project, &row.id).await? {
        return Err(Failure::NotFound("recording"));
    }
    forget(&app, &[Member { project: row.project, recording: row.id.clone() }]).await?;
    tracing::info!(recording = %row.id, "a recording was deleted");
    Ok(StatusCode::NO_CONTENT)
}

/// Revokes the links to what was deleted, and takes it out of collections. Where that cannot be written down now, the
/// recording is gone all the same.
async fn forget(app: &App, deleted: &[Member]) -> Result<(), Failure> {
    let target = |Member { project, recording }: Member| Target::Recording { project, recording };
    app.shares.revoke_of(&app.store, &deleted.iter().cloned().map(target).collect::<Vec<_>>()).await?;
    let forget = |all: &mut Collections| {
        all.forget(deleted);
        Ok::<_, Infallible>(())
    };
    if let Err(error) = app.collections.change(&app.store, forget).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "collections still name what was deleted");
    }
    Ok(())
}

/// What is asked of the catalog. Any key of a project will do.
fn asked(app: &App, parameters: ListParameters, now_ms: i64) -> Result<ListQuery, Failure> {
    let mut query = query_of(parameters, now_ms)?;
    query.project = query.project.map(|key| app.keys.project_of(key));
    Ok(query)
}

/// Not what the doctor sent.
fn is_of_people(row: &RecordingRow) -> bool {
    row.project.as_str() != super::TRIAL_KEY
}

/// Reads a query as the list takes it from an address, for whoever lists a store that no server holds.
pub fn list_query(query: &str, now_ms: i64) -> Result<ListQuery, String> {
    let uri = format!("/?{query}").parse().map_err(|_| format!("{query} cannot be the query of an address"))?;
    let parameters = Query::<ListParameters>::try_from_uri(&uri).map_err(|error| flaw_of(&error))?;
    query_of(parameters.0, now_ms).map_err(|error| error.to_string())
}

fn query_of(parameters: ListParameters, now_ms: i64) -> Result<ListQuery, Failure> {
    if parameters.as_of_ms.is_some() {
        return Err(Failure::BadParameter("as_of_ms is no condition of a list, only of deleting".to_owned()));
    }
    let project = parameters.project.filter(|key| !key.is_empty()).map(|key| key.parse()).transpose();
    Ok(ListQuery {
        order: ListOrder::NewestFirst,
        project: project.map_err(Failure::bad_parameter)?,
        from_ms: parameters.from_ms,
        to_ms: parameters.to_ms,
        person: parameters.person.filter(|text| !text.is_empty()),
        url_contains: parameters.url.filter(|text| !text.is_empty()),
        duration_min_ms: parameters.duration_min_ms,
        duration_max_ms: parameters.duration_max_ms,
        clicks_min: count("clicks_min", parameters.clicks_min)?,
        keypresses_min: count("keypresses_min", parameters.keypresses_min)?,
        recording: None,
        errors_min: count("errors_min", parameters.errors_min)?,
        has_errors: None,
        tag: parameters.tag.filter(|text| !text.is_empty()),
        is_pinned: parameters.pinned,
        is_seen: parameters.seen,
        has_comments: parameters.commented,
        live_since_ms: parameters.live.unwrap_or(false).then_some(now_ms - LIVE_MS),
        limit: count("limit", parameters.limit)?,
        cursor: parameters.cursor.filter(|text| !text.is_empty()),
    })
}

/// Takes a count that the database could hold.
fn count<N: Copy + TryInto<i64>>(name: &str, given: Option<N>) -> Result<Option<N>, Failure> {
    match given.map(TryInto::try_into) {
        Some(Err(_)) => Err(Failure::BadParameter(format!("{name} is more than {}", i64::MAX))),
        _ => Ok(given),
    }
}

impl Recording {
    /// Shows a row of the catalog. `now_ms` decides whether it is live.
    pub fn new(row: RecordingRow, now_ms: i64) -> Self {
        let is_live = is_live(&row, now_ms);
        let RecordingRow { project, id, summary, stored_bytes, updated_at_ms, person, noted, .. } = row;
        let windows = summary.windows.into_iter().map(|window| Window {
            id: window.id,
            start_ms: window.start_ms,
            end_ms: window.end_ms,
            event_count: window.event_count,
            full_snapshot_count: window.full_snapshot_count,
        });
        Self {
            id: id.to_string(),
            project: project.to_string(),
            start_ms: summary.start_ms,
            end_ms: summary.end_ms,
            start: iso(summary.start_ms),
            end: iso(summary.end_ms),
            duration_ms: summary.end_ms.saturating_sub(summary.start_ms),
            active_ms: summary.active_ms,
            event_count: summary.event_count,
            click_count: summary.click_count,
            keypress_count: summary.keypress_count,
            mouse_activity_count: summary.mouse_activity_count,
            console_log_count: summary.console_log_count,
            console_warn_count: summary.console_warn_count,
            console_error_count: summary.console_error_count,
            full_snapshot_count: summary.full_snapshot_count,
            analytics_event_count: summary.analytics_event_count,
            start_url: summary.start_url,
            urls: summary.urls,
            windows: windows.collect(),
            source: summary.source,
            library: summary.library,
            library_version: summary.library_version,
            person: person.map(|person| Person { distinct_ids: person.distinct_ids, properties: person.properties }),
            stored_bytes,
            plain_bytes: summary.plain_bytes,
            is_live,
            updated_at_ms,
            tags: noted.tags,
            is_pinned: noted.is_pinned,
            is_seen: noted.is_seen,
            comment_count: noted.comment_count,
            posthog: summary.other.get("posthog").cloned(),
            signature: None,
        }
    }
}

/// Client clocks can be anywhere; a time beyond the calendar has no text.
pub fn iso(time_ms: i64) -> String {
    Timestamp::from_millisecond(time_ms).map(|time| time.to_string()).unwrap_or_default()
}
