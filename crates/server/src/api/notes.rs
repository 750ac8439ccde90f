//! What people say of recordings: comments, tags, pins, that somebody has seen them.
//!
//! There are no users, so a comment's author is whatever the writer's browser gives as a name, and *seen* is of the
//! store: somebody who has access has watched it. Of this only comments go out through links, and only where their
//! makers chose so.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use reelcase_store::catalog::RecordingRow;
use reelcase_store::notes::said::{
    AUTHOR_CHARACTERS_MAX, COMMENT_CHARACTERS_MAX, COMMENTS_MAX, TAG_CHARACTERS_MAX, TAGS_MAX, is_author,
    is_comment_text, is_tag,
};
use reelcase_store::notes::{Comment, Notes, sort_comments};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::find;
use super::parameters::{Parameters, PathParts};
use super::projects::{json_of, project_key};
use super::recordings::ProjectParameter;
use crate::error::{ErrorBody, Failure};
use crate::share::random_text;
use crate::state::App;

/// Random bytes in the name of a comment.
const COMMENT_ID_BYTES: usize = 8;

/// What is said of a recording.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NotesInfo {
    /// By moment; those of the whole recording come first.
    comments: Vec<CommentInfo>,
    /// Sorted.
    tags: Vec<String>,
    is_pinned: bool,
    /// When somebody first watched it; null where nobody has.
    seen_at_ms: Option<i64>,
}

/// A comment.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CommentInfo {
    /// Names it within the recording.
    id: String,
    /// The moment, client clock; null where it is said of the whole recording.
    at_ms: Option<i64>,
    /// Empty where the tags say it all.
    text: String,
    /// Sorted.
    tags: Vec<String>,
    /// What the writer is called; empty where that was not given.
    author: String,
    written_at_ms: i64,
    edited_at_ms: Option<i64>,
}

/// What is to change. What is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NotesChange {
    /// All tags that it is to have.
    #[schema(max_items = 50)]
    tags: Option<Vec<String>>,
    is_pinned: Option<bool>,
    is_seen: Option<bool>,
}

/// A comment to be written.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewComment {
    /// May be absent where there are tags.
    #[schema(min_length = 1, max_length = 4_000)]
    text: Option<String>,
    /// What it is filed under: the list of recordings finds these like those of a recording.
    #[schema(max_items = 50)]
    tags: Option<Vec<String>>,
    /// The moment, client clock; of the whole recording where there is none.
    at_ms: Option<i64>,
    /// What the writer is called.
    #[schema(max_length = 100)]
    author: Option<String>,
}

/// Another text for a comment, or other tags. What is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CommentChange {
    /// May be empty where there are tags.
    #[schema(max_length = 4_000)]
    text: Option<String>,
    /// All tags that it is to have.
    #[schema(max_items = 50)]
    tags: Option<Vec<String>>,
}

/// All tags that recordings and comments on them have.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TagList {
    tags: Vec<TagInfo>,
}

/// A tag, and how many recordings have it, or a comment that does.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TagInfo {
    tag: String,
    recording_count: u64,
}

/// Whose tags.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TagsParameters {
    /// Key of the project; of all where there is none.
    project: Option<String>,
}

/// What is said of a recording.
#[utoipa::path(
    get,
    path = "/api/recordings/{id}/notes",
    params(("id" = String, Path), ProjectParameter),
    responses((status = 200, body = NotesInfo), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn show(
    State(app): State<Arc<App>>,
    PathParts(id): PathParts<String>,
    Parameters(parameter): Parameters<ProjectParameter>,
) -> Result<Json<NotesInfo>, Failure> {
    let row = find(&app, &id, parameter.project.as_deref()).await?;
    Ok(Json(app.store.notes(&row.project, &row.id).await?.into()))
}

/// Tags a recording, pins it, or marks it as seen; or takes that back.
#[utoipa::path(
    patch,
    path = "/api/recordings/{id}/notes",
    params(("id" = String, Path), ProjectParameter),
    request_body = NotesChange,
    responses((status = 200, body = NotesInfo), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn change(
    State(app): State<Arc<App>>,
    PathParts(id): PathParts<String>,
    Parameters(parameter): Parameters<ProjectParameter>,
    request: Request,
) -> Result<Json<NotesInfo>, Failure> {
    let NotesChange { tags, is_pinned, is_seen } = json_of(&app, request).await?;
    let row = find(&app, &id, parameter.project.as_deref()).await?;
    let (tags, now_ms) = (tags.as_deref().map(checked_tags).transpose()?, app.clock.now_ms());
    let since = |known: Option<i64>, asked: Option<bool>| match asked {
        Some(true) => known.or(Some(now_ms)),
        Some(false) => None,
        None => known,
    };
    let changed = change_notes(&app, &row, |notes| {
        notes.tags = tags.unwrap_or_else(|| std::mem::take(&mut notes.tags));
        notes.pinned_at_ms = since(notes.pinned_at_ms, is_pinned);
        notes.seen_at_ms = since(notes.seen_at_ms, is_seen);
        Ok(notes.clone())
    });
    Ok(Json(changed.await?.into()))
}

/// Writes a comment.
#[utoipa::path(
    post,
    path = "/api/recordings/{id}/comments",
    params(("id" = String, Path), ProjectParameter),
    request_body = NewComment,
    responses((status = 201, body = CommentInfo), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn comment(
    State(app): State<Arc<App>>,
    PathParts(id): PathParts<String>,
    Parameters(parameter): Parameters<ProjectParameter>,
    request: Request,
) -> Result<Response, Failure> {
    let NewComment { text, tags, at_ms, author } = json_of(&app, request).await?;
    let row = find(&app, &id, parameter.project.as_deref()).await?;
    let comment = checked_comment(Comment {
        id: random_text(COMMENT_ID_BYTES)?,
        at_ms,
        text: checked_text(&text.unwrap_or_default())?,
        tags: checked_tags(&tags.unwrap_or_default())?,
        author: checked_author(author)?,
        written_at_ms: app.clock.now_ms(),
        edited_at_ms: None,
    })?;
    let written = comment.clone();
    change_notes(&app, &row, |notes| {
        if notes.comments.len() >= COMMENTS_MAX {
            return Err(Failure::BadParameter(format!("a recording has {COMMENTS_MAX} comments at most")));
        }
        notes.comments.push(comment);
        Ok(())
    })
    .await?;
    Ok((StatusCode::CREATED, Json(CommentInfo::from(written))).into_response())
}

/// Changes the text of a comment, or its tags.
#[utoipa::path(
    patch,
    path = "/api/recordings/{id}/comments/{comment}",
    params(("id" = String, Path), ("comment" = String, Path), ProjectParameter),
    request_body = CommentChange,
    responses((status = 200, body = CommentInfo), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn change_comment(
    State(app): State<Arc<App>>,
    PathParts((id, comment)): PathParts<(String, String)>,
    Parameters(parameter): Parameters<ProjectParameter>,
    request: Request,
) -> Result<Json<CommentInfo>, Failure> {
    let CommentChange { text, tags } = json_of(&app, request).await?;
    let row = find(&app, &id, parameter.project.as_deref()).await?;
    let text = text.as_deref().map(checked_text).transpose()?;
    let tags = tags.as_deref().map(checked_tags).transpose()?;
    let changed = change_notes(&app, &row, |notes| {
        let found = notes.comments.iter_mut().find(|known| known.id == comment);
        let found = found.ok_or(Failure::NotFound("comment"))?;
        let (text, tags) = (text.unwrap_or(found.text.clone()), tags.unwrap_or(found.tags.clone()));
        if found.text != text || found.tags != tags {
            *found = checked_comment(Comment { text, tags, edited_at_ms: Some(app.clock.now_ms()), ..found.clone() })?;
        }
        Ok(found.clone())
    });
    Ok(Json(changed.await?.into()))
}

/// Deletes a comment.
#[utoipa::path(
    delete,
    path = "/api/recordings/{id}/comments/{comment}",
    params(("id" = String, Path), ("comment" = String, Path), ProjectParameter),
    responses((status = 204), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn delete_comment(
    State(app): State<Arc<App>>,
    PathParts((id, comment)): PathParts<(String, String)>,
    Parameters(parameter): Parameters<ProjectParameter>,
) -> Result<StatusCode, Failure> {
    let row = find(&app, &id, parameter.project.as_deref()).await?;
    change_notes(&app, &row, |notes| {
        let place = notes.comments.iter().position(|known| known.id == comment);
        notes.comments.remove(place.ok_or(Failure::NotFound("comment"))?);
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The tags that recordings and comments on them have, by name.
#[utoipa::path(
    get,
    path = "/api/tags",
    params(TagsParameters),
    responses((status = 200, body = TagList), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn tags(
    State(app): State<Arc<App>>,
    Parameters(parameters): Parameters<TagsParameters>,
) -> Result<Json<TagList>, Failure> {
    let project = parameters.project.as_deref().filter(|key| !key.is_empty());
    let project = project.map(|key| project_key(&app, key)).transpose()?;
    let tags = app.store.catalog().tags(project.as_ref()).await?;
    let tags = tags.into_iter().map(|of| TagInfo { tag: of.tag, recording_count: of.recording_count });
    Ok(Json(TagList { tags: tags.collect() }))
}

async fn change_notes<T>(
    app: &App,
    row: &RecordingRow,
    change: impl FnOnce(&mut Notes) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let change = |notes: &mut Notes| {
        let changed = change(notes)?;
        if notes.all_tags().len() > TAGS_MAX {
            let message = format!("a recording has {TAGS_MAX} tags at most, those of its comments among them");
            return Err(Failure::BadParameter(message));
        }
        sort_comments(&mut notes.comments);
        Ok(changed)
    };
    app.store.change_notes(&row.project, &row.id, change).await?
}

fn checked_text(text: &str) -> Result<String, Failure> {
    let text = text.trim();
    if !is_comment_text(text) {
        let message = format!(
            "the text of a comment is {COMMENT_CHARACTERS_MAX} characters at most, none of them a control character"
        );
        return Err(Failure::BadParameter(message));
    }
    Ok(text.to_owned())
}

fn checked_comment(comment: Comment) -> Result<Comment, Failure> {
    match comment.says_something() {
        true => Ok(comment),
        false => Err(Failure::BadParameter("a comment has a text, or tags, or both".to_owned())),
    }
}

fn checked_author(author: Option<String>) -> Result<String, Failure> {
    let author = author.unwrap_or_default().trim().to_owned();
    if !is_author(&author) {
        let message = format!("the name of an author is one line of at most {AUTHOR_CHARACTERS_MAX} characters");
        return Err(Failure::BadParameter(message));
    }
    Ok(author)
}

fn checked_tags(tags: &[String]) -> Result<Vec<String>, Failure> {
    let mut checked: Vec<String> = tags.iter().map(|tag| tag.trim().to_owned()).collect();
    checked.sort();
    checked.dedup();
    if !checked.iter().all(|tag| is_tag(tag)) {
        let message = format!("a tag is one line of 1 to {TAG_CHARACTERS_MAX} characters without a comma");
        return Err(Failure::BadParameter(message));
    }
    Ok(checked)
}

impl From<Notes> for NotesInfo {
    fn from(notes: Notes) -> Self {
        Self {
            comments: notes.comments.into_iter().map(CommentInfo::from).collect(),
            tags: notes.tags,
            is_pinned: notes.pinned_at_ms.is_some(),
            seen_at_ms: notes.seen_at_ms,
        }
    }
}

impl From<Comment> for CommentInfo {
    fn from(comment: Comment) -> Self {
        let Comment { id, at_ms, text, tags, author, written_at_ms, edited_at_ms } = comment;
        Self { id, at_ms, text, tags, author, written_at_ms, edited_at_ms }
    }
}
