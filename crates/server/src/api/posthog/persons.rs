//! Whom a distinct id belongs to.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::figures::PosthogPerson;
use super::project;
use crate::api::parameters::{Parameters, PathParts};
use crate::error::Failure;
use crate::state::App;

/// Whom to look for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct PersonParameters {
    /// One of the person's ids.
    distinct_id: String,
}

/// The person, if there is one.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct PersonList {
    results: Vec<PosthogPerson>,
    next: Option<String>,
    previous: Option<String>,
}

/// The person of a distinct id, as PostHog's API has it.
#[utoipa::path(
    get,
    path = "/api/projects/{project}/persons",
    params(("project" = String, Path), PersonParameters),
    responses(
        (status = 200, body = PersonList),
        (status = "default", description = "What went wrong", body = crate::error::ErrorBody)
    )
)]
pub(in crate::api) async fn persons(
    State(app): State<Arc<App>>,
    PathParts(named): PathParts<String>,
    Parameters(parameters): Parameters<PersonParameters>,
) -> Result<Json<PersonList>, Failure> {
    let project = project(&app, &named).await?;
    let person = app.store.catalog().person(&project, &parameters.distinct_id).await?;
    let results = person.map(|person| PosthogPerson::new(project.as_str(), person)).into_iter().collect();
    Ok(Json(PersonList { results, next: None, previous: None }))
}
