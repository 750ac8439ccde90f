//! Collections of recordings: lists that people put in an order.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use reelcase_format::id::RecordingId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::find;
use super::parameters::{Parameters, PathParts};
use super::projects::json_of;
use super::recordings::{ProjectParameter, Recording};
use crate::collections::{Collection, Member};
use crate::error::{ErrorBody, Failure};
use crate::share::{Target, random_text};
use crate::state::App;

/// Longest name of a collection or a filter, in characters.
const NAME_CHARACTERS_MAX: usize = 100;

/// Random bytes of an id.
pub(super) const ID_BYTES: usize = 8;

/// A collection, without its recordings.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CollectionInfo {
    id: String,
    name: String,
    created_at_ms: i64,
    recording_count: usize,
}

/// A collection with its recordings.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WholeCollection {
    #[serde(flatten)]
    info: CollectionInfo,
    /// In the order in which they are watched.
    recordings: Vec<Recording>,
}

/// Collections, in the order in which they were made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CollectionList {
    collections: Vec<CollectionInfo>,
}

/// Which collections to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CollectionsParameters {
    /// Only those that hold the recording with this id.
    recording: Option<String>,
}

/// What a collection is called.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CollectionName {
    #[schema(min_length = 1, max_length = 100)]
    name: String,
}

/// A recording to be laid into a collection.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewMember {
    /// Its id.
    recording: String,
    /// Key of its project, where two share the id.
    project: Option<String>,
    /// Id of the recording that it is to stand before. Where there is none, a new one goes to the end, and one that is
    /// there stays where it is.
    before: Option<String>,
}

/// Collections of recordings.
#[utoipa::path(
    get,
    path = "/api/collections",
    params(CollectionsParameters),
    responses((status = 200, body = CollectionList), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Parameters(parameters): Parameters<CollectionsParameters>,
) -> Result<Json<CollectionList>, Failure> {
    let of = parameters.recording.map(|id| id.parse::<RecordingId>()).transpose().map_err(Failure::bad_parameter)?;
    let holds = |collection: &Collection| {
        of.as_ref().is_none_or(|id| collection.members.iter().any(|member| member.recording == *id))
    };
    let all = app.collections.read(&app.store).await?.collections;
    let collections = all.into_iter().filter(holds).map(|found| CollectionInfo::new(&app, found)).collect();
    Ok(Json(CollectionList { collections }))
}

/// Makes a collection.
#[utoipa::path(
    post,
    path = "/api/collections",
    request_body = CollectionName,
    responses((status = 201, body = CollectionInfo), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn create(State(app): State<Arc<App>>, request: Request) -> Result<Response, Failure> {
    let CollectionName { name } = json_of(&app, request).await?;
    let made = Collection {
        id: random_text(ID_BYTES)?,
        name: checked_name(&name)?,
        created_at_ms: app.clock.now_ms(),
        members: Vec::new(),
    };
    app.collections.change(&app.store, |all| all.add(made.clone())).await??;
    Ok((StatusCode::CREATED, Json(CollectionInfo::new(&app, made))).into_response())
}

/// One collection, with what is known of its recordings.
#[utoipa::path(
    get,
    path = "/api/collections/{collection}",
    params(("collection" = String, Path)),
    responses((status = 200, body = WholeCollection), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn one(
    State(app): State<Arc<App>>,
    PathParts(id): PathParts<String>,
) -> Result<Json<WholeCollection>, Failure> {
    let all = app.collections.read(&app.store).await?;
    let found = all.find(&id)?.clone();
    let mut recordings = Vec::with_capacity(found.members.len());
    for Member { project, recording } in &found.members {
        let row = app.store.catalog().get(project, recording).await?;
        recordings.extend(row.map(|row| Recording::new(row, app.clock.now_ms())));
    }
    Ok(Json(WholeCollection { info: CollectionInfo::new(&app, found), recordings }))
}

/// Gives a collection another name.
#[utoipa::path(
    patch,
    path = "/api/collections/{collection}",
    params(("collection" = String, Path)),
    request_body = CollectionName,
    responses((status = 200, body = CollectionInfo), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn rename(
    State(app): State<Arc<App>>,
    PathParts(id): PathParts<String>,
    request: Request,
) -> Result<Json<CollectionInfo>, Failure> {
    let CollectionName { name } = json_of(&app, request).await?;
    let name = checked_name(&name)?;
    let renamed = app.collections.change(&app.store, |all| {
        let found = all.find_mut(&id)?;
        found.name = name;
        Ok::<_, Failure>(found.clone())
    });
    Ok(Json(CollectionInfo::new(&app, renamed.await??)))
}

/// Deletes a collection, and the links to it. Its recordings stay.
#[utoipa::path(
    delete,
    path = "/api/collections/{collection}",
    params(("collection" = String, Path)),
    responses((status = 204), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    PathParts(id): PathParts<String>,
) -> Result<StatusCode, Failure> {
    app.collections.change(&app.store, |all| all.delete(&id)).await??;
    app.shares.revoke_of(&app.store, &[Target::Collection { collection: id }]).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lays a recording into a collection, or elsewhere in it.
#[utoipa::path(
    post,
    path = "/api/collections/{collection}/recordings",
    params(("collection" = String, Path)),
    request_body = NewMember,
    responses((status = 200, body = CollectionInfo), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn add(
    State(app): State<Arc<App>>,
    PathParts(id): PathParts<String>,
    request: Request,
) -> Result<Json<CollectionInfo>, Failure> {
    let NewMember { recording, project, before } = json_of(&app, request).await?;
    let before = before.map(|before| before.parse()).transpose().map_err(|_| Failure::NotFound("recording"))?;
    let row = find(&app, &recording, project.as_deref()).await?;
    let member = Member { project: row.project, recording: row.id };
    let changed = app.collections.change(&app.store, |all| {
        all.lay(&id, member, before.as_ref())?;
        all.find(&id).cloned()
    });
    Ok(Json(CollectionInfo::new(&app, changed.await??)))
}

/// Takes a recording out of a collection.
#[utoipa::path(
    delete,
    path = "/api/collections/{collection}/recordings/{recording}",
    params(("collection" = String, Path), ("recording" = String, Path), ProjectParameter),
    responses((status = 204), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    PathParts((id, recording)): PathParts<(String, String)>,
    Parameters(parameter): Parameters<ProjectParameter>,
) -> Result<StatusCode, Failure> {
    let project = parameter.project;
    let is_meant = |member: &Member| {
        member.recording.as_str() == recording && project.as_deref().is_none_or(|key| member.project.as_str() == key)
    };
    let remove = |all: &mut crate::collections::Collections| {
        let members = &mut all.find_mut(&id)?.members;
        let place = members.iter().position(is_meant).ok_or(Failure::NotFound("recording in the collection"))?;
        members.remove(place);
        Ok::<_, Failure>(())
    };
    app.collections.change(&app.store, remove).await??;
    Ok(StatusCode::NO_CONTENT)
}

/// A name as it may be shown on one line.
pub(super) fn checked_name(name: &str) -> Result<String, Failure> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > NAME_CHARACTERS_MAX || name.contains(char::is_control) {
        return Err(Failure::BadParameter(format!("a name is one line of 1 to {NAME_CHARACTERS_MAX} characters")));
    }
    Ok(name.to_owned())
}

impl CollectionInfo {
    fn new(app: &App, collection: Collection) -> Self {
        // `reelcase delete` knows nothing of collections.
        let is_there = |member: &&Member| !app.store.is_deleted(&member.project, &member.recording);
        let recording_count = collection.members.iter().filter(is_there).count();
        let Collection { id, name, created_at_ms, .. } = collection;
        Self { id, name, created_at_ms, recording_count }
    }
}
