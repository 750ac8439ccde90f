//! Projects and their settings: what people decide while the server runs.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, ETAG, IF_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use reelcase_format::id::ProjectKey;
use reelcase_store::catalog::Project;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::TRIAL_KEY;
use super::parameters::PathParts;
use crate::capture::body;
use crate::error::{ErrorBody, Failure};
use crate::keys::{self, CaptureKey, KeyError};
use crate::settings::{self, Change, FIELDS, Field, Kept, SETTINGS_BYTES_MAX, Settings, SettingsError};
use crate::state::App;

/// Projects that can be made here.
const PROJECTS_MAX: usize = 1_000;

/// Longest name of a project, in characters.
const NAME_CHARACTERS_MAX: usize = 100;

/// A project.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProjectInfo {
    /// Names it, in addresses too: the key that it was made with, also where that one records no more.
    pub(super) key: String,
    /// The public, write-only key that pages are to be given: the newest one that records. Null where none does.
    pub(super) capture_key: Option<String>,
    /// All its keys, the oldest first, with those that were deleted.
    pub(super) keys: Vec<CaptureKey>,
    /// What people call it.
    pub(super) name: String,
    /// When it was created.
    pub(super) created_at_ms: i64,
}

/// A project to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewProject {
    /// What people call it.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// Its key, in letters, digits, `_` and `-`; made up where there is none.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_-]+$")]
    key: Option<String>,
}

/// Another name for a project.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewName {
    /// What people call it.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
}

/// The settings of a project.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SettingsReply {
    /// Changes with each change; also the `ETag`, which a change may name as `If-Match`.
    revision: String,
    /// What somebody decided. What is absent is as the upstream has it, or else the default.
    settings: Settings,
    /// Names of settings that a newer release wrote. They stay as they are.
    unknown: Vec<String>,
}

/// All settings there are.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FieldList {
    fields: &'static [Field],
}

/// Which state of the settings a change is of.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct IfMatch {
    /// The `ETag` of what was read. Where somebody else changed it in between, the answer is 412.
    #[param(rename = "If-Match")]
    #[allow(dead_code, reason = "describes the header")]
    if_match: Option<String>,
}

/// All projects, by key.
#[utoipa::path(
    get,
    path = "/api/projects",
    responses((status = 200, body = [ProjectInfo]), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn list(State(app): State<Arc<App>>) -> Result<Json<Vec<ProjectInfo>>, Failure> {
    let projects = app.store.catalog().projects().await?;
    Ok(Json(listed(&app, projects).await?))
}

/// All that people know of: that of the doctor's trials is not among them.
pub(super) async fn listed(app: &App, mut projects: Vec<Project>) -> Result<Vec<ProjectInfo>, Failure> {
    projects.retain(|project| project.key.as_str() != TRIAL_KEY);
    let mut keys = keys::of_all(&app.store, &projects).await?;
    let keyed = |project: Project| {
        let keys = keys.remove(&project.key).unwrap_or_default();
        ProjectInfo::new(project, keys)
    };
    Ok(projects.into_iter().map(keyed).collect())
}

async fn shown(app: &App, project: Project) -> Result<ProjectInfo, Failure> {
    let keys = keys::list(&app.store, &project.key).await?;
    Ok(ProjectInfo::new(project, keys))
}

/// Makes a project.
#[utoipa::path(
    post,
    path = "/api/projects",
    request_body = NewProject,
    responses((status = 201, body = ProjectInfo), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn create(State(app): State<Arc<App>>, request: Request) -> Result<Response, Failure> {
    let new: NewProject = json_of(&app, request).await?;
    let name = checked_name(&new.name)?;
    let (key, is_made_up) = match &new.key {
        Some(key) => (key_of(key)?, false),
        None => (keys::random()?, true),
    };
    let known = app.store.catalog().projects().await?;
    if known.iter().any(|project| project.key == key) || app.keys.project_of(key.clone()) != key {
        return Err(KeyError::Taken.into());
    }
    if known.len() >= PROJECTS_MAX {
        return Err(Failure::TooManyProjects { limit: PROJECTS_MAX });
    }
    let project = Project { key, name, created_at_ms: app.clock.now_ms() };
    let made = app.store.create_project(project).await?;
    if is_made_up {
        settings::begin(&app.store, &made.key).await?;
        if let Some(upstream) = &app.upstream {
            upstream.modes.load(&app.store).await?;
        }
    }
    Ok((StatusCode::CREATED, Json(shown(&app, made).await?)).into_response())
}

/// One project.
#[utoipa::path(
    get,
    path = "/api/projects/{key}",
    params(("key" = String, Path)),
    responses((status = 200, body = ProjectInfo), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn one(
    State(app): State<Arc<App>>,
    PathParts(key): PathParts<String>,
) -> Result<Json<ProjectInfo>, Failure> {
    let found = app.store.catalog().project(&project_key(&app, &key)?).await?;
    Ok(Json(shown(&app, found.ok_or(Failure::NotFound("project"))?).await?))
}

/// Gives a project another name.
#[utoipa::path(
    patch,
    path = "/api/projects/{key}",
    params(("key" = String, Path)),
    request_body = NewName,
    responses((status = 200, body = ProjectInfo), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn rename(
    State(app): State<Arc<App>>,
    PathParts(key): PathParts<String>,
    request: Request,
) -> Result<Json<ProjectInfo>, Failure> {
    let NewName { name } = json_of(&app, request).await?;
    let renamed = app.store.rename_project(&project_key(&app, &key)?, &checked_name(&name)?).await?;
    Ok(Json(shown(&app, renamed.ok_or(Failure::NotFound("project"))?).await?))
}

/// Every setting there is: what it does, what may be in it, and which clients read it.
#[utoipa::path(
    get,
    path = "/api/settings",
    responses((status = 200, body = FieldList), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn fields() -> Json<FieldList> {
    Json(FieldList { fields: FIELDS })
}

/// What was decided about a project.
#[utoipa::path(
    get,
    path = "/api/projects/{key}/settings",
    params(("key" = String, Path)),
    responses((status = 200, body = SettingsReply), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn settings(
    State(app): State<Arc<App>>,
    PathParts(key): PathParts<String>,
) -> Result<Response, Failure> {
    let key = project_key(&app, &key)?;
    app.store.catalog().project(&key).await?.ok_or(Failure::NotFound("project"))?;
    Ok(reply(settings::read(&app.store, &key).await?))
}

/// Changes some settings; null goes back to the default. Pages learn of it with their next request for the config.
#[utoipa::path(
    patch,
    path = "/api/projects/{key}/settings",
    params(("key" = String, Path), IfMatch),
    request_body = Settings,
    responses(
        (status = 200, body = SettingsReply),
        (status = 412, description = "Somebody else changed them in between", body = ErrorBody),
        (status = "default", description = "What went wrong", body = ErrorBody)
    )
)]
pub(super) async fn merge(
    State(app): State<Arc<App>>,
    PathParts(key): PathParts<String>,
    request: Request,
) -> Result<Response, Failure> {
    change(&app, &key, request, Change::Merge).await
}

/// Replaces all settings. Pages learn of it with their next request for the config.
#[utoipa::path(
    put,
    path = "/api/projects/{key}/settings",
    params(("key" = String, Path), IfMatch),
    request_body = Settings,
    responses(
        (status = 200, body = SettingsReply),
        (status = 412, description = "Somebody else changed them in between", body = ErrorBody),
        (status = "default", description = "What went wrong", body = ErrorBody)
    )
)]
pub(super) async fn replace(
    State(app): State<Arc<App>>,
    PathParts(key): PathParts<String>,
    request: Request,
) -> Result<Response, Failure> {
    change(&app, &key, request, Change::Replace).await
}

async fn change(
    app: &Arc<App>,
    key: &str,
    request: Request,
    of: fn(Map<String, Value>) -> Change,
) -> Result<Response, Failure> {
    let key = project_key(app, key)?;
    let revision = revision_in(request.headers());
    let values = json_of(app, request).await?;
    let changed = settings::change(&app.store, &key, &of(values), revision.as_deref()).await;
    let kept = changed.map_err(|error| match error {
        SettingsError::NoProject => Failure::NotFound("project"),
        other => other.into(),
    })?;
    tracing::info!("the settings of a project were changed");
    Ok(reply(kept))
}

fn reply(kept: Kept) -> Response {
    let revision = kept.revision();
    let tag = HeaderValue::from_str(&format!("\"{revision}\""));
    let unknown = kept.unknown.keys().cloned().collect();
    let mut reply = Json(SettingsReply { revision, settings: kept.settings, unknown }).into_response();
    if let Ok(tag) = tag {
        reply.headers_mut().insert(ETAG, tag);
    }
    reply
}

/// The revision that a change is of. A star is any.
fn revision_in(headers: &HeaderMap) -> Option<String> {
    let tag = headers.get(IF_MATCH)?.to_str().ok()?.trim();
    (tag != "*").then(|| tag.trim_start_matches("W/").trim_matches('"').to_owned())
}

/// Reads a body of JSON.
pub(crate) async fn json_of<T: for<'de> Deserialize<'de>>(app: &Arc<App>, request: Request) -> Result<T, Failure> {
    let (parts, sent) = request.into_parts();
    let content_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json")
        && !essence.eq_ignore_ascii_case("application/merge-patch+json")
    {
        return Err(Failure::NotJson);
    }
    let body = body::read(sent, &parts.headers, app.options.limits.body_bytes_max, app).await?;
    if body.bytes.len() > SETTINGS_BYTES_MAX {
        return Err(Failure::BodyTooLarge { limit: SETTINGS_BYTES_MAX });
    }
    serde_json::from_slice(&body.bytes).map_err(Failure::bad_parameter)
}

/// The project that an address or a parameter names, by any key that it has or had. What cannot be a key names nothing
/// that exists.
pub(super) fn project_key(app: &App, text: &str) -> Result<ProjectKey, Failure> {
    Ok(app.keys.project_of(text.parse().map_err(|_| Failure::NotFound("project"))?))
}

/// A key to be made: it stands in paths.
pub(super) fn key_of(text: &str) -> Result<ProjectKey, Failure> {
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') {
        return Err(Failure::BadKeyCharacters);
    }
    text.parse().map_err(Failure::bad_parameter)
}

fn checked_name(text: &str) -> Result<String, Failure> {
    let name = text.trim();
    if name.is_empty() || text.chars().count() > NAME_CHARACTERS_MAX || text.contains(char::is_control) {
        let message = format!("the name of a project is one line of 1 to {NAME_CHARACTERS_MAX} characters");
        return Err(Failure::BadParameter(message));
    }
    Ok(name.to_owned())
}

impl ProjectInfo {
    fn new(project: Project, keys: Vec<CaptureKey>) -> Self {
        Self {
            key: project.key.to_string(),
            capture_key: keys::current(&keys).map(|current| current.key.clone()),
            keys,
            name: project.name,
            created_at_ms: project.created_at_ms,
        }
    }
}
