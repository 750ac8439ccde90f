//! Links to recordings and collections: who has access makes, lists and revokes them.

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
use super::recordings::ProjectParameter;
use crate::capture::body;
use crate::error::{ErrorBody, Failure};
use crate::share::{PICTURE_BYTES_MAX, Share, Target, Terms, hash_password};
use crate::state::App;

/// Longest title, in characters.
const TITLE_CHARACTERS_MAX: usize = 200;

/// Longest password, in bytes. Hashing a longer one would cost more.
const PASSWORD_BYTES_MAX: usize = 200;

/// Sites that one link may be embedded in.
const EMBED_ORIGINS_MAX: usize = 20;

/// A link to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewShare {
    /// What its page is called; seen by whoever has the link, and by programs that show links.
    #[schema(max_length = 200)]
    title: Option<String>,
    /// First moment of a clip; the recording's where there is none. A link to a collection has no clip.
    from_ms: Option<i64>,
    /// Last moment of a clip; the recording's where there is none.
    to_ms: Option<i64>,
    /// Where playback begins.
    start_ms: Option<i64>,
    /// Whether events are listed beside the picture.
    #[serde(default)]
    has_inspector: bool,
    /// Whether the console and exceptions are sent at all; only with the inspector.
    #[serde(default)]
    has_console: bool,
    /// Whether requests are sent at all; only with the inspector.
    #[serde(default)]
    has_network: bool,
    /// Whether comments are sent, with the names of those who wrote them; of a clip, those of its moments.
    #[serde(default)]
    has_comments: bool,
    /// When the link ends; never where there is none.
    expires_at_ms: Option<i64>,
    /// How often it may be opened; as often as one likes where there is none.
    #[schema(minimum = 1)]
    views_max: Option<u64>,
    /// What whoever opens it must know.
    #[schema(min_length = 1, max_length = 200)]
    password: Option<String>,
    /// Origins of pages that may embed it, such as `https://help.example.com` or `https://*.example.com`.
    #[serde(default)]
    #[schema(max_items = 20)]
    embed_origins: Vec<String>,
}

/// A link, without its token.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ShareInfo {
    /// Names it, to revoke it.
    id: String,
    /// Key of the recording's project; null where it leads to a collection.
    project: Option<String>,
    /// The recording that it leads to, all of it or a clip.
    recording: Option<String>,
    /// The collection that it leads to, with whatever is in it when somebody looks.
    collection: Option<String>,
    title: String,
    from_ms: Option<i64>,
    to_ms: Option<i64>,
    start_ms: Option<i64>,
    has_inspector: bool,
    has_console: bool,
    has_network: bool,
    has_comments: bool,
    has_password: bool,
    created_at_ms: i64,
    expires_at_ms: Option<i64>,
    views_max: Option<u64>,
    /// How often it was opened.
    view_count: u64,
    /// Whether programs that show links get a picture of it.
    has_picture: bool,
    /// When something was last asked for through it, to the minute.
    last_used_at_ms: Option<i64>,
    embed_origins: Vec<String>,
}

/// A link that was just made: the only time that its address is told.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MadeShare {
    share: ShareInfo,
    /// Where it leads.
    url: String,
    /// The page to put into a frame; null where nobody may embed it.
    embed_url: Option<String>,
}

/// All links.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ShareList {
    shares: Vec<ShareInfo>,
}

/// Which links to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SharesParameters {
    /// Only those to the recording with this id.
    recording: Option<String>,
    /// Only those to the collection with this id.
    collection: Option<String>,
}

/// Links that were made and not revoked, newest first.
#[utoipa::path(
    get,
    path = "/api/shares",
    params(SharesParameters),
    responses((status = 200, body = ShareList), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Parameters(parameters): Parameters<SharesParameters>,
) -> Result<Json<ShareList>, Failure> {
    let of = parameters.recording.map(|id| id.parse::<RecordingId>()).transpose().map_err(Failure::bad_parameter)?;
    let is_wanted = |target: &Target| match target {
        Target::Recording { recording, .. } => {
            parameters.collection.is_none() && of.as_ref().is_none_or(|of| of == recording)
        }
        Target::Collection { collection } => {
            of.is_none() && parameters.collection.as_ref().is_none_or(|of| of == collection)
        }
    };
    let shares = app.shares.list(&app.store, is_wanted).await?;
    Ok(Json(ShareList { shares: shares.into_iter().map(ShareInfo::from).collect() }))
}

/// Makes a link to a recording, or to a clip of it.
#[utoipa::path(
    post,
    path = "/api/recordings/{id}/shares",
    params(("id" = String, Path), ProjectParameter),
    request_body = NewShare,
    responses((status = 201, body = MadeShare), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    PathParts(id): PathParts<String>,
    Parameters(parameter): Parameters<ProjectParameter>,
    request: Request,
) -> Result<Response, Failure> {
    let new: NewShare = json_of(&app, request).await?;
    let row = find(&app, &id, parameter.project.as_deref()).await?;
    let is_before = new.to_ms.is_some_and(|to_ms| to_ms < row.summary.start_ms);
    if is_before || new.from_ms.is_some_and(|from_ms| from_ms > row.summary.end_ms) {
        return Err(Failure::BadParameter("the clip lies outside of the recording".to_owned()));
    }
    make(&app, Target::Recording { project: row.project, recording: row.id }, new).await
}

/// Makes a link to a collection. Whoever has it sees what is in the collection whenever they look.
#[utoipa::path(
    post,
    path = "/api/collections/{collection}/shares",
    params(("collection" = String, Path)),
    request_body = NewShare,
    responses((status = 201, body = MadeShare), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn create_of_collection(
    State(app): State<Arc<App>>,
    PathParts(id): PathParts<String>,
    request: Request,
) -> Result<Response, Failure> {
    let new: NewShare = json_of(&app, request).await?;
    app.collections.read(&app.store).await?.find(&id)?;
    if new.from_ms.or(new.to_ms).or(new.start_ms).is_some() {
        return Err(Failure::BadParameter("a link to a collection has no from_ms, to_ms or start_ms".to_owned()));
    }
    make(&app, Target::Collection { collection: id }, new).await
}

async fn make(app: &Arc<App>, target: Target, new: NewShare) -> Result<Response, Failure> {
    let now_ms = app.clock.now_ms();
    let password = checked_password(new.password.as_deref())?;
    let terms = checked_terms(new, now_ms)?;
    let password = match password {
        Some(password) => Some(app.heavy_work(move || hash_password(&password)).await??),
        None => None,
    };
    let (share, token) = app.shares.create(&app.store, target, password, terms, now_ms).await?;
    let base = app.public_url();
    let embed_url = (!share.terms.embed_origins.is_empty()).then(|| format!("{base}/embed/{token}"));
    tracing::info!(share = share.id, "a link was made");
    let made = MadeShare { share: share.into(), url: format!("{base}/share/{token}"), embed_url };
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

/// Gives a link to a recording the picture that programs which show links are to get: a JPEG, best of 1200 by 630
/// pixels. A link with a password has none.
#[utoipa::path(
    put,
    path = "/api/shares/{share}/picture",
    params(("share" = String, Path)),
    request_body(content = Vec<u8>, content_type = "image/jpeg"),
    responses((status = 204), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn set_picture(
    State(app): State<Arc<App>>,
    PathParts(share): PathParts<String>,
    request: Request,
) -> Result<StatusCode, Failure> {
    let (parts, sent) = request.into_parts();
    let picture = body::read(sent, &parts.headers, PICTURE_BYTES_MAX, &app).await?;
    if !app.shares.set_picture(&app.store, &share, picture.bytes).await? {
        return Err(Failure::NotFound("link"));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Revokes a link. Whoever has it open gets nothing more.
#[utoipa::path(
    delete,
    path = "/api/shares/{share}",
    params(("share" = String, Path)),
    responses((status = 204), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn revoke(
    State(app): State<Arc<App>>,
    PathParts(share): PathParts<String>,
) -> Result<StatusCode, Failure> {
    if !app.shares.revoke(&app.store, &share).await? {
        return Err(Failure::NotFound("link"));
    }
    tracing::info!(share, "a link was revoked");
    Ok(StatusCode::NO_CONTENT)
}

fn checked_password(given: Option<&str>) -> Result<Option<String>, Failure> {
    match given {
        Some(password) if password.is_empty() || password.len() > PASSWORD_BYTES_MAX => {
            Err(Failure::BadParameter(format!("a password has 1 to {PASSWORD_BYTES_MAX} bytes")))
        }
        given => Ok(given.map(str::to_owned)),
    }
}

fn checked_terms(new: NewShare, now_ms: i64) -> Result<Terms, Failure> {
    let bad = |message: String| Err(Failure::BadParameter(message));
    let title = new.title.unwrap_or_default().trim().to_owned();
    if title.chars().count() > TITLE_CHARACTERS_MAX || title.contains(char::is_control) {
        return bad(format!("a title is one line of at most {TITLE_CHARACTERS_MAX} characters"));
    }
    if new.from_ms.zip(new.to_ms).is_some_and(|(from_ms, to_ms)| from_ms >= to_ms) {
        return bad("a clip ends after it begins".to_owned());
    }
    if new.expires_at_ms.is_some_and(|expires_at_ms| expires_at_ms <= now_ms) {
        return bad("expires_at_ms is past".to_owned());
    }
    if new.views_max == Some(0) {
        return bad("views_max is at least 1".to_owned());
    }
    if !new.has_inspector && (new.has_console || new.has_network) {
        return bad("console and network are shown in the inspector: set has_inspector, too".to_owned());
    }
    if new.embed_origins.len() > EMBED_ORIGINS_MAX {
        return bad(format!("there can be {EMBED_ORIGINS_MAX} embed_origins at most"));
    }
    if let Some(origin) = new.embed_origins.iter().find(|origin| !is_origin(origin)) {
        return bad(format!("{origin:?} is no origin such as https://help.example.com"));
    }
    Ok(Terms {
        title,
        from_ms: new.from_ms,
        to_ms: new.to_ms,
        start_ms: new.start_ms,
        has_inspector: new.has_inspector,
        has_console: new.has_console,
        has_network: new.has_network,
        has_comments: new.has_comments,
        expires_at_ms: new.expires_at_ms,
        views_max: new.views_max,
        embed_origins: new.embed_origins,
    })
}

/// Whether a text is an origin as a policy names it, and nothing besides: it becomes part of a header.
fn is_origin(text: &str) -> bool {
    let Some(host) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else { return false };
    let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    let name = name.strip_prefix("*.").unwrap_or(name);
    let is_label =
        |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    host.len() <= 253 && name.split('.').all(is_label) && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

impl From<Share> for ShareInfo {
    fn from(share: Share) -> Self {
        let has_password = share.has_password();
        let Terms { title, from_ms, to_ms, start_ms, has_inspector, has_console, has_network, has_comments, .. } =
            share.terms.clone();
        let (project, recording, collection) = match share.target {
            Target::Recording { project, recording } => (Some(project.to_string()), Some(recording.to_string()), None),
            Target::Collection { collection } => (None, None, Some(collection)),
        };
        Self {
            id: share.id,
            project,
            recording,
            collection,
            title,
            from_ms,
            to_ms,
            start_ms,
            has_inspector,
            has_console,
            has_network,
            has_comments,
            has_password,
            created_at_ms: share.created_at_ms,
            expires_at_ms: share.terms.expires_at_ms,
            views_max: share.terms.views_max,
            view_count: share.view_count,
            has_picture: share.picture.is_some(),
            last_used_at_ms: share.last_used_at_ms,
            embed_origins: share.terms.embed_origins,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_origin;

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_port() {
        for text in ["https://a.example", "http://localhost:8080", "https://*.a.example", "https://a-b.example:8443"] {
            assert!(is_origin(text), "{text}");
        }
        for text in [
            "",
            "*",
            "https://",
            "https://*",
            "https://a.example/",
            "https://a.example/x",
            "https://a;b",
            "https://a b",
            "https://u@a.example",
            "a.example",
            "javascript:1",
            "https://a.example:",
            "https://a.example:99999",
            "https://a..example",
            "https://a.example 'self'",
            "https://a.example,https://b.example",
        ] {
            assert!(!is_origin(text), "{text}");
        }
    }
}
