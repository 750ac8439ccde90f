//! Scheduled exports: shown, changed, and run at once.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::parameters::PathParts;
use super::projects::json_of;
use crate::error::{ErrorBody, Failure};
use crate::schedules::{Schedule, ScheduleState};
use crate::state::App;

/// All scheduled exports.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ExportList {
    /// By name.
    exports: Vec<ScheduleState>,
    /// Where folders lie that are no buckets.
    folder: String,
}

/// The scheduled exports, and how each went the last time.
#[utoipa::path(
    get,
    path = "/api/exports",
    responses(
        (status = 200, body = ExportList),
        (status = "default", description = "What went wrong", body = ErrorBody)
    )
)]
pub(super) async fn list(State(app): State<Arc<App>>) -> Result<Json<ExportList>, Failure> {
    let folder = app.schedules.folder().display().to_string();
    Ok(Json(ExportList { exports: app.schedules.list().await?, folder }))
}

/// Makes a scheduled export, or changes the one of this name. One that is on and was never made begins at once.
#[utoipa::path(
    put,
    path = "/api/exports/{name}",
    params(("name" = String, Path, description = "1 to 64 of the characters a to z, 0 to 9 and -")),
    request_body = Schedule,
    responses(
        (status = 200, body = ScheduleState),
        (status = "default", description = "What went wrong", body = ErrorBody)
    )
)]
pub(super) async fn set(
    State(app): State<Arc<App>>,
    PathParts(name): PathParts<String>,
    request: Request,
) -> Result<Json<ScheduleState>, Failure> {
    let schedule: Schedule = json_of(&app, request).await?;
    let state = app.schedules.set(&name, schedule).await?;
    tracing::info!(name, to = state.schedule.to, "an export is scheduled");
    Ok(Json(state))
}

/// Deletes a scheduled export. What it exported stays.
#[utoipa::path(
    delete,
    path = "/api/exports/{name}",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 204), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    PathParts(name): PathParts<String>,
) -> Result<StatusCode, Failure> {
    app.schedules.delete(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Has a scheduled export be made now, or as soon as the one that is running is done.
#[utoipa::path(
    post,
    path = "/api/exports/{name}/run",
    params(("name" = String, Path, description = "Its name")),
    responses(
        (status = 202, body = ScheduleState),
        (status = "default", description = "What went wrong", body = ErrorBody)
    )
)]
pub(super) async fn run(State(app): State<Arc<App>>, PathParts(name): PathParts<String>) -> Result<Response, Failure> {
    let state = app.schedules.ask(&name).await?;
    Ok((StatusCode::ACCEPTED, Json(state)).into_response())
}
