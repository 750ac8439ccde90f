//! The part of PostHog's API that reads recordings, so that what was written for PostHog reads them here as well.
//!
//! Paths, parameters and answers are PostHog's (`docs/formats.md`); the project is named by its key, or as `@current`
//! where there is only one, and the personal API key is the token of this server. What would choose among recordings
//! and is not known here is refused by name: a list that ignores a filter would look like an answer.

mod dates;
mod events;
mod figures;
mod list;
mod persons;
mod snapshots;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use reelcase_format::id::ProjectKey;

use super::TRIAL_KEY;
use super::projects::project_key;
use crate::error::Failure;
use crate::state::App;

pub(super) use events::{__path_query, query};
pub(super) use list::{__path_list, __path_one, list, one};
pub(super) use persons::{__path_persons, persons};
pub(super) use snapshots::{__path_snapshots, snapshots};

/// What stands for the only project there is.
const CURRENT: &str = "@current";

/// The routes. PostHog has all of them twice.
pub(super) fn routes() -> Router<Arc<App>> {
    ["projects", "environments"].into_iter().fold(Router::new(), |router, base| {
        router
            .route(&format!("/api/{base}/{{key}}/session_recordings"), get(list))
            .route(&format!("/api/{base}/{{key}}/session_recordings/{{id}}"), get(one))
            .route(&format!("/api/{base}/{{key}}/session_recordings/{{id}}/snapshots"), get(snapshots))
            .route(&format!("/api/{base}/{{key}}/persons"), get(persons))
            .route(&format!("/api/{base}/{{key}}/query"), post(query))
    })
}

/// The project that a path names.
async fn project(app: &App, named: &str) -> Result<ProjectKey, Failure> {
    let projects = app.store.catalog().projects().await?;
    let mut keys = projects.into_iter().map(|project| project.key).filter(|key| key.as_str() != TRIAL_KEY);
    if named != CURRENT {
        let named = project_key(app, named)?;
        return keys.find(|key| *key == named).ok_or(Failure::NotFound("project"));
    }
    match (keys.next(), keys.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(Failure::NotFound("project")),
        (Some(one), Some(other)) => Err(Failure::BadParameter(format!(
            "there are several projects, so {CURRENT} names none: put the key of one in its place, such as {one} or {other}"
        ))),
    }
}

/// A list as the query of an address has it: JSON, or one plain text.
fn texts(name: &str, given: &str) -> Result<Vec<String>, Failure> {
    if !given.trim_start().starts_with('[') {
        return Ok(vec![given.to_owned()]);
    }
    serde_json::from_str(given).map_err(|_| Failure::BadParameter(format!("{name} is no JSON array of texts")))
}
