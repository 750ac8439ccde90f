//! Filters of the list that somebody gave a name.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::collections::{ID_BYTES, checked_name};
use super::parameters::PathParts;
use super::projects::json_of;
use crate::collections::Filter;
use crate::error::{ErrorBody, Failure};
use crate::share::random_text;
use crate::state::App;

/// Longest query of a saved filter, in bytes.
const QUERY_BYTES_MAX: usize = 2_000;

/// A filter of the list that somebody gave a name.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FilterInfo {
    id: String,
    name: String,
    /// The query of the list's address in the web app, without the question mark.
    query: String,
    saved_at_ms: i64,
}

/// All saved filters, in the order in which they were first saved.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FilterList {
    filters: Vec<FilterInfo>,
}

/// A filter to be saved.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewFilter {
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// The query of the list's address in the web app, without the question mark: visible ASCII.
    #[schema(max_length = 2_000)]
    query: String,
}

/// Filters of the list that somebody gave a name.
#[utoipa::path(
    get,
    path = "/api/filters",
    responses((status = 200, body = FilterList), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn list(State(app): State<Arc<App>>) -> Result<Json<FilterList>, Failure> {
    let filters = app.saved_filters.read(&app.store).await?.filters;
    Ok(Json(FilterList { filters: filters.into_iter().map(FilterInfo::from).collect() }))
}

/// Saves a filter, in place of one of the same name.
#[utoipa::path(
    post,
    path = "/api/filters",
    request_body = NewFilter,
    responses((status = 201, body = FilterInfo), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn save(State(app): State<Arc<App>>, request: Request) -> Result<Response, Failure> {
    let NewFilter { name, query } = json_of(&app, request).await?;
    let query = query.trim_start_matches('?').to_owned();
    if query.len() > QUERY_BYTES_MAX || !query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        let message = format!("query is that of an address: {QUERY_BYTES_MAX} visible ASCII characters at most, no #");
        return Err(Failure::BadParameter(message));
    }
    let saved_at_ms = app.clock.now_ms();
    let saved = Filter { id: random_text(ID_BYTES)?, name: checked_name(&name)?, query, saved_at_ms };
    app.saved_filters.change(&app.store, |all| all.save(saved.clone())).await??;
    Ok((StatusCode::CREATED, Json(FilterInfo::from(saved))).into_response())
}

/// Forgets a saved filter.
#[utoipa::path(
    delete,
    path = "/api/filters/{filter}",
    params(("filter" = String, Path)),
    responses((status = 204), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    PathParts(id): PathParts<String>,
) -> Result<StatusCode, Failure> {
    app.saved_filters.change(&app.store, |all| all.delete(&id)).await??;
    Ok(StatusCode::NO_CONTENT)
}

impl From<Filter> for FilterInfo {
    fn from(filter: Filter) -> Self {
        let Filter { id, name, query, saved_at_ms } = filter;
        Self { id, name, query, saved_at_ms }
    }
}
