//! What whoever has a link may ask for. None of it needs access, sets a cookie or reads one.

use std::sync::Arc;

use axum::extract::{Path, Query, RawQuery, Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reelcase_store::catalog::{BlockRow, RecordingRow};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::picture::leads_somewhere;
use super::{Clip, Picture, Refusal, Share, Target, opens};
use crate::api::json_of;
use crate::collections::Member;
use crate::error::Failure;
use crate::pages;
use crate::state::App;

/// What the recording is called in addresses below a link, which do not name the session.
const SHOWN_ID: &str = "shown";

/// What a page is called whose link has no title, or none that may be told.
const NO_TITLE: &str = "Session replay";

/// Size of a frame that nobody wants smaller, in pixels.
const FRAME_WIDTH: u32 = 960;
const FRAME_HEIGHT: u32 = 600;

/// What a page sends to open its link.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Opening {
    password: Option<String>,
}

/// What a page learns of what it is to show.
#[derive(Debug, Serialize)]
struct Opened {
    /// To be sent with each request for the recording, as a bearer token.
    pass: String,
    title: String,
    /// What the recording is called below the link; nothing where it leads to a collection.
    recording: Option<&'static str>,
    /// Those of a collection, in order.
    recordings: Option<Vec<Listed>>,
    /// Where playback begins, from the first moment.
    start_ms: i64,
    has_inspector: bool,
    has_console: bool,
    has_network: bool,
    has_comments: bool,
}

/// A recording of a collection, as its page lists it: who was recorded is not told.
#[derive(Debug, Serialize)]
struct Listed {
    /// What it is called below the link.
    id: String,
    start_ms: i64,
    duration_ms: i64,
}

/// Pages and answers below the tokens of links.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/share/{token}", get(page))
        .route("/share/{token}/open", post(open))
        .route("/share/{token}/picture.jpg", get(picture))
        .route("/share/{token}/api/recordings", get(recordings))
        .route("/share/{token}/api/recordings/{shown}", get(summary))
        .route("/share/{token}/api/recordings/{shown}/comments", get(comments))
        .route("/share/{token}/api/recordings/{shown}/blocks", get(blocks))
        .route("/share/{token}/api/recordings/{shown}/blocks/{object}/{block}", get(block))
        .route("/embed/{token}", get(embedded))
        .route("/embed/{token}/frame", get(frame))
        .route("/oembed", get(oembed))
        .route_layer(middleware::from_fn(unkept))
}

/// A link may end at any moment, and then nothing of it is to be left in a cache.
async fn unkept(request: Request, next: Next) -> Response {
    let mut reply = next.run(request).await;
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

async fn page(State(app): State<Arc<App>>, Path(token): Path<String>) -> Result<Response, Failure> {
    let share = find(&app, &token).await?.filter(Share::has_views_left);
    let policy = pages::SHARE_POLICY.replace("{ancestors}", "'none'");
    Ok(pages::shared(&app, &head_of(&app, &token, share.as_ref()), &policy, status_of(share.is_some())))
}

/// The same page for frames of the sites that were named.
async fn embedded(State(app): State<Arc<App>>, Path(token): Path<String>) -> Result<Response, Failure> {
    let share = embeddable(&app, &token).await?.filter(Share::has_views_left);
    let policy = pages::SHARE_POLICY.replace("{ancestors}", &ancestors_of(share.as_ref()));
    Ok(pages::shared(&app, &head_of(&app, &token, share.as_ref()), &policy, status_of(share.is_some())))
}

/// What programs ask that put links into their pages (oEmbed 1.0).
#[derive(Debug, Deserialize)]
struct OembedQuery {
    url: String,
    maxwidth: Option<u32>,
    maxheight: Option<u32>,
}

/// The markup that puts a link's recording into a page, for those of the sites that were named.
async fn oembed(State(app): State<Arc<App>>, Query(query): Query<OembedQuery>) -> Result<Json<Value>, Failure> {
    let base = app.public_url();
    let of_path = |how: &str| query.url.strip_prefix(&format!("{base}/{how}/")).map(str::to_owned);
    let rest = of_path("share").or_else(|| of_path("embed")).ok_or(Failure::Link(Refusal::NoLink))?;
    let token = rest.split(['?', '#', '/']).next().unwrap_or_default();
    let share = embeddable(&app, token).await?.filter(Share::has_views_left);
    let share = share.ok_or(Failure::Link(Refusal::NoLink))?;
    let title = title_of(&share).to_owned();
    let width = query.maxwidth.unwrap_or(FRAME_WIDTH).min(FRAME_WIDTH);
    let height = query.maxheight.unwrap_or(FRAME_HEIGHT).min(FRAME_HEIGHT);
    // The token was found, so it is hexadecimal digits.
    let html = format!(
        "<iframe src=\"{}/embed/{token}\" title=\"{}\" width=\"{width}\" height=\"{height}\" style=\"border:0\" \
         allow=\"fullscreen\"></iframe>",
        pages::escaped(&base),
        pages::escaped(&title),
    );
    let mut answer = json!({
        "version": "1.0", "type": "rich", "provider_name": "Reelcase", "provider_url": base, "title": title,
        "width": width, "height": height, "html": html,
    });
    if let Some(Picture { width, height, .. }) = share.picture {
        answer["thumbnail_url"] = picture_address(&app, token).into();
        answer["thumbnail_width"] = width.into();
        answer["thumbnail_height"] = height.into();
    }
    Ok(Json(answer))
}

/// What the link looks like, for programs that show links. That is no view.
async fn picture(State(app): State<Arc<App>>, Path(token): Path<String>) -> Result<Response, Failure> {
    let share = find(&app, &token).await?.filter(Share::has_views_left).ok_or(Failure::Link(Refusal::NoLink))?;
    let bytes = match &share.picture {
        Some(picture) if leads_somewhere(&app.store, &share.target).await? => picture.read(&app.store, &share).await?,
        _ => None,
    };
    let kind = [(CONTENT_TYPE, "image/jpeg"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    Ok((kind, bytes.ok_or(Failure::Link(Refusal::NoLink))?).into_response())
}

fn picture_address(app: &App, token: &str) -> String {
    format!("{}/share/{token}/picture.jpg", app.public_url())
}

/// The player's shell, which names the same sites: a policy looks at all documents around it.
async fn frame(
    State(app): State<Arc<App>>,
    Path(token): Path<String>,
    query: RawQuery,
    request: HeaderMap,
) -> Result<Response, Failure> {
    let share = embeddable(&app, &token).await?.ok_or(Failure::Link(Refusal::NoLink))?;
    Ok(pages::player_frame_in(query, &request, &format!("'self' {}", ancestors_of(Some(&share)))))
}

/// Opens a link: counts a view and hands out a pass.
async fn open(
    State(app): State<Arc<App>>,
    Path(token): Path<String>,
    request: Request,
) -> Result<Json<Opened>, Failure> {
    let Opening { password } = json_of(&app, request).await?;
    let now_ms = app.clock.now_ms();
    let share = find(&app, &token).await?.ok_or(Failure::Link(Refusal::NoLink))?;
    if share.has_password() {
        check_password(&app, &share, password, now_ms).await?;
    }
    let (recordings, start_ms) = match &share.target {
        Target::Recording { .. } => {
            let (_, clip) = clip_of(&app, &share, SHOWN_ID).await?;
            (None, share.terms.start_ms.map_or(0, |start_ms| start_ms.saturating_sub(clip.from_ms).max(0)))
        }
        Target::Collection { .. } => (Some(listed(&app, &share).await?), 0),
    };
    if !app.shares.count_view(&app.store, &share.id, now_ms).await? {
        return Err(Failure::Link(Refusal::NoLink));
    }
    let (has_inspector, has_console, has_network) =
        (share.terms.has_inspector, share.terms.has_console, share.terms.has_network);
    Ok(Json(Opened {
        pass: app.passes.make(&share, now_ms),
        title: share.terms.title.clone(),
        recording: recordings.is_none().then_some(SHOWN_ID),
        recordings,
        start_ms,
        has_inspector,
        has_console: has_inspector && has_console,
        has_network: has_inspector && has_network,
        has_comments: share.terms.has_comments,
    }))
}

async fn check_password(app: &Arc<App>, share: &Share, given: Option<String>, now_ms: i64) -> Result<(), Failure> {
    let Some(password) = given else { return Err(Failure::Link(Refusal::Password { was_given: false })) };
    if !app.shares.take_try(share, now_ms) {
        return Err(Failure::Link(Refusal::TooManyTries));
    }
    let asked = share.clone();
    if !app.heavy_work(move || opens(&asked, &password)).await? {
        return Err(Failure::Link(Refusal::Password { was_given: true }));
    }
    app.shares.note_right(share);
    Ok(())
}

/// The recordings of a collection, for a page that was open before.
async fn recordings(
    State(app): State<Arc<App>>,
    Path(token): Path<String>,
    request: HeaderMap,
) -> Result<Json<Value>, Failure> {
    let share = passed(&app, &token, &request).await?;
    Ok(Json(json!({ "recordings": listed(&app, &share).await? })))
}

/// What the player asks of any recording; only when it was and how long.
async fn summary(
    State(app): State<Arc<App>>,
    Path((token, shown)): Path<(String, String)>,
    request: HeaderMap,
) -> Result<Json<Value>, Failure> {
    let share = passed(&app, &token, &request).await?;
    let (_, clip) = clip_of(&app, &share, &shown).await?;
    Ok(Json(json!({
        "id": shown, "start_ms": clip.from_ms, "end_ms": clip.to_ms,
        "duration_ms": clip.to_ms.saturating_sub(clip.from_ms).max(0), "is_live": goes_on(&app, &share, &shown).await?,
    })))
}

/// What people said of the recording, where the link tells of it; of a clip, what was said of its moments alone.
async fn comments(
    State(app): State<Arc<App>>,
    Path((token, shown)): Path<(String, String)>,
    request: HeaderMap,
) -> Result<Json<Value>, Failure> {
    let share = passed(&app, &token, &request).await?;
    if !share.terms.has_comments {
        return Err(Failure::NotFound("comment"));
    }
    let (_, clip) = clip_of(&app, &share, &shown).await?;
    let is_whole = share.terms.from_ms.or(share.terms.to_ms).is_none();
    let is_shown = |at_ms: Option<i64>| at_ms.is_some_and(|at_ms| (clip.from_ms..=clip.to_ms).contains(&at_ms));
    let Member { project, recording } = member_of(&app, &share, &shown).await?;
    let mut said = app.store.notes(&project, &recording).await?.comments;
    said.retain(|comment| is_whole || is_shown(comment.at_ms));
    Ok(Json(json!({ "comments": said })))
}

/// Which blocks a page knows, and how long it waits for others.
#[derive(Debug, Deserialize)]
struct Followed {
    after: Option<String>,
    wait_ms: Option<u64>,
}

async fn blocks(
    State(app): State<Arc<App>>,
    Path((token, shown)): Path<(String, String)>,
    Query(followed): Query<Followed>,
    request: HeaderMap,
) -> Result<Json<Value>, Failure> {
    let mut share = passed(&app, &token, &request).await?;
    let wait = crate::api::wait_of(followed.wait_ms)?;
    app.shares.note_use(&app.store, &share, app.clock.now_ms()).await?;
    if let (true, Some(after)) = (share.terms.to_ms.is_none(), followed.after) {
        let Member { project, recording } = member_of(&app, &share, &shown).await?;
        crate::api::blocks_after(&app, &project, &recording, Some(&after), wait).await?;
        // The link may have been taken back meanwhile.
        share = passed(&app, &token, &request).await?;
    }
    let is_live = goes_on(&app, &share, &shown).await?;
    let (blocks, clip) = clip_of(&app, &share, &shown).await?;
    let base = format!("{}/share/{token}/api/recordings/{shown}/blocks", app.options.path_prefix);
    let kept = blocks.iter().filter(|block| clip.has(block)).enumerate();
    let kept: Vec<_> = kept.map(|(index, block)| described(&base, &clip, index, block)).collect();
    let version = crate::api::version_of(&blocks);
    Ok(Json(json!({
        "blocks": kept, "is_live": is_live, "version": version, "from_ms": clip.from_ms, "to_ms": clip.to_ms,
    })))
}

fn described(base: &str, clip: &Clip, index: usize, block: &BlockRow) -> Value {
    let keyframes: Vec<_> = block.keyframes.iter().filter(|keyframe| clip.has_keyframe(keyframe)).collect();
    let keyframes: Vec<_> = keyframes
        .iter()
        .map(|of| json!({ "window": of.window, "timestamp_ms": of.timestamp_ms, "plain_offset": 0 }))
        .collect();
    let object = crate::api::in_path(&block.object);
    json!({
        "index": index, "kind": block.kind.as_str(), "start_ms": block.start_ms, "end_ms": block.end_ms.min(clip.to_ms),
        "event_count": block.event_count, "plain_bytes": block.plain_bytes, "stored_bytes": block.stored_bytes,
        "windows": block.windows, "keyframes": keyframes,
        "url": format!("{base}/{object}/{}", block.block),
    })
}

async fn block(
    State(app): State<Arc<App>>,
    Path((token, shown, object, block)): Path<(String, String, String, u32)>,
    request: HeaderMap,
) -> Result<Response, Failure> {
    let share = passed(&app, &token, &request).await?;
    let (blocks, clip) = clip_of(&app, &share, &shown).await?;
    let row = blocks.into_iter().find(|row| row.object == object && row.block == block && clip.has(row));
    let row = row.ok_or(Failure::NotFound("block"))?;
    let plain = app.store.read_lines(&row).await?;
    let kept = app.heavy_work(move || clip.cut(row.kind, &plain)).await?;
    let mut reply = crate::api::packed(&app, kept, &request).await?;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(reply)
}

/// Whether more of the recording will come to be shown: it is being made, and the link has no last moment.
async fn goes_on(app: &App, share: &Share, shown: &str) -> Result<bool, Failure> {
    let Member { project, recording } = member_of(app, share, shown).await?;
    let row = app.store.catalog().get(&project, &recording).await?;
    let is_live = row.is_some_and(|row| crate::api::is_live(&row, app.clock.now_ms()));
    Ok(is_live && share.terms.to_ms.is_none())
}

/// The link of a token, as long as it works.
async fn find(app: &App, token: &str) -> Result<Option<Share>, Failure> {
    Ok(app.shares.find(&app.store, token, app.clock.now_ms()).await?)
}

async fn embeddable(app: &App, token: &str) -> Result<Option<Share>, Failure> {
    Ok(find(app, token).await?.filter(|share| !share.terms.embed_origins.is_empty()))
}

/// The link of a request that shows a pass for it.
async fn passed(app: &App, token: &str, request: &HeaderMap) -> Result<Share, Failure> {
    let share = find(app, token).await?.ok_or(Failure::Link(Refusal::NoLink))?;
    let pass = request.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let holds = pass.is_some_and(|pass| app.passes.holds(&share, pass, app.clock.now_ms()));
    if holds { Ok(share) } else { Err(Failure::Link(Refusal::NoLink)) }
}

/// What a link leads to now, with what that is called below it. A link to what is gone is one that does not work.
async fn members_of(app: &App, share: &Share) -> Result<Vec<(String, Member)>, Failure> {
    let collection = match &share.target {
        Target::Recording { project, recording } => {
            let member = Member { project: project.clone(), recording: recording.clone() };
            return Ok(vec![(SHOWN_ID.to_owned(), member)]);
        }
        Target::Collection { collection } => collection,
    };
    let all = app.collections.read(&app.store).await?;
    let found = all.find(collection).map_err(|_| Failure::Link(Refusal::NoLink))?;
    Ok(found.members.iter().map(|member| (app.passes.name_of(share, member), member.clone())).collect())
}

/// The recording that is called so below a link.
async fn member_of(app: &App, share: &Share, shown: &str) -> Result<Member, Failure> {
    let found = members_of(app, share).await?.into_iter().find(|(name, _)| name == shown);
    Ok(found.ok_or(Failure::Link(Refusal::NoLink))?.1)
}

async fn listed(app: &App, share: &Share) -> Result<Vec<Listed>, Failure> {
    let mut listed = Vec::new();
    for (id, Member { project, recording }) in members_of(app, share).await? {
        let row: Option<RecordingRow> = app.store.catalog().get(&project, &recording).await?;
        listed.extend(row.map(|row| Listed {
            id,
            start_ms: row.summary.start_ms,
            duration_ms: row.summary.end_ms.saturating_sub(row.summary.start_ms).max(0),
        }));
    }
    Ok(listed)
}

async fn clip_of(app: &Arc<App>, share: &Share, shown: &str) -> Result<(Vec<BlockRow>, Clip), Failure> {
    let Member { project, recording } = member_of(app, share, shown).await?;
    let row: Option<RecordingRow> = app.store.catalog().get(&project, &recording).await?;
    row.ok_or(Failure::Link(Refusal::NoLink))?;
    let blocks = app.store.blocks(&project, &recording).await?;
    let clip = Clip::new(&share.terms, &blocks);
    Ok((blocks, clip))
}

fn status_of(is_there: bool) -> StatusCode {
    if is_there { StatusCode::OK } else { StatusCode::NOT_FOUND }
}

fn ancestors_of(share: Option<&Share>) -> String {
    share.map_or_else(|| "'none'".to_owned(), |share| share.terms.embed_origins.join(" "))
}

/// What a link is called by whoever has not opened it. Of what a password protects, nothing is told.
fn title_of(share: &Share) -> &str {
    if share.has_password() || share.terms.title.is_empty() { NO_TITLE } else { &share.terms.title }
}

/// What programs that show links are told.
fn head_of(app: &App, token: &str, share: Option<&Share>) -> String {
    let title = pages::escaped(share.map_or(NO_TITLE, title_of));
    let embedded = share.filter(|share| !share.terms.embed_origins.is_empty()).map(|_| {
        let base = app.public_url();
        let asked = utf8_percent_encode(&format!("{base}/share/{token}"), NON_ALPHANUMERIC).to_string();
        let address = pages::escaped(&format!("{base}/oembed?url={asked}"));
        format!("<link rel=\"alternate\" type=\"application/json+oembed\" href=\"{address}\" title=\"{title}\">\n")
    });
    let embedded = embedded.unwrap_or_default();
    let picture = share.and_then(|share| share.picture.as_ref()).map(|Picture { width, height, .. }| {
        let address = pages::escaped(&picture_address(app, token));
        format!(
            "<meta property=\"og:image\" content=\"{address}\">\n<meta property=\"og:image:type\" content=\"image/jpeg\">\n\
             <meta property=\"og:image:width\" content=\"{width}\">\n\
             <meta property=\"og:image:height\" content=\"{height}\">\n\
             <meta name=\"twitter:card\" content=\"summary_large_image\">\n"
        )
    });
    let picture = picture.unwrap_or_default();
    format!(
        "<title>{title} – Reelcase</title>\n<meta property=\"og:type\" content=\"website\">\n\
         <meta property=\"og:site_name\" content=\"Reelcase\">\n<meta property=\"og:title\" content=\"{title}\">\n\
         <meta property=\"og:description\" content=\"A recording of a visit, to be played.\">\n\
         <meta name=\"robots\" content=\"noindex\">\n{picture}{embedded}"
    )
}
