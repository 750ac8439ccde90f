//! The capture keys of a project: shown, added, deleted.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::parameters::{Parameters, PathParts};
use super::projects::{json_of, key_of, project_key};
use crate::error::{ErrorBody, Failure};
use crate::keys::{self, CaptureKey};
use crate::state::App;

/// A key to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewKey {
    /// The key, in letters, digits, `_` and `-`; made up where there is none. One that this project had is its own
    /// again.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_-]+$")]
    key: Option<String>,
}

/// How a key is deleted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteParameters {
    /// Whether to delete it although it is the last one, after which nothing is recorded any more. Without it the
    /// answer is 409 then.
    #[serde(default)]
    even_last: bool,
}

/// The keys of a project, the oldest first, with those that were deleted.
#[utoipa::path(
    get,
    path = "/api/projects/{key}/keys",
    params(("key" = String, Path, description = "Any key of the project")),
    responses((status = 200, body = [CaptureKey]), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    PathParts(project): PathParts<String>,
) -> Result<Json<Vec<CaptureKey>>, Failure> {
    Ok(Json(keys::list(&app.store, &project_key(&app, &project)?).await?))
}

/// Adds a key: it records into the same project from the next request on. What a page is to be changed to before the
/// old key is deleted.
#[utoipa::path(
    post,
    path = "/api/projects/{key}/keys",
    params(("key" = String, Path, description = "Any key of the project")),
    request_body = NewKey,
    responses((status = 201, body = CaptureKey), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn add(
    State(app): State<Arc<App>>,
    PathParts(project): PathParts<String>,
    request: Request,
) -> Result<Response, Failure> {
    let project = project_key(&app, &project)?;
    let NewKey { key } = json_of(&app, request).await?;
    let key = key.map(|key| key_of(&key)).transpose()?;
    let added = app.keys.add(&app.store, &project, key).await?;
    tracing::info!(%project, "a project has another capture key");
    Ok((StatusCode::CREATED, Json(added)).into_response())
}

/// Deletes a key: uploads that come with it are refused from the next request on, with 401 and the reason. It stays
/// known, so that only this project can have it again; what it recorded stays.
#[utoipa::path(
    delete,
    path = "/api/projects/{key}/keys/{capture_key}",
    params(
        ("key" = String, Path, description = "Any key of the project"),
        ("capture_key" = String, Path, description = "The key to delete"),
        DeleteParameters
    ),
    responses(
        (status = 200, body = [CaptureKey], description = "The keys of the project"),
        (status = 409, description = "It is the last one", body = ErrorBody),
        (status = "default", description = "What went wrong", body = ErrorBody)
    )
)]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    PathParts((project, key)): PathParts<(String, String)>,
    Parameters(parameters): Parameters<DeleteParameters>,
) -> Result<Json<Vec<CaptureKey>>, Failure> {
    let project = project_key(&app, &project)?;
    let key = key.parse().map_err(|_| Failure::NotFound("key"))?;
    app.keys.delete(&app.store, &project, &key, parameters.even_last).await?;
    tracing::info!(%project, "a capture key of a project was deleted");
    Ok(Json(keys::list(&app.store, &project).await?))
}
