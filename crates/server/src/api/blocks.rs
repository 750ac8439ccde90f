//! Blocks of a recording: which there are, and their lines as they are stored.
//!
//! A block never changes, so browsers keep it for good. A recording that goes on is followed by asking for the list
//! again with the `version` last seen: the answer comes as soon as there is another one.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reelcase_format::id::{ProjectKey, RecordingId};
use reelcase_store::catalog::{BlockRow, RecordingRow};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, sleep_until};
use utoipa::{IntoParams, ToSchema};

use super::parameters::{Parameters, PathParts};
use super::recordings::ProjectParameter;
use super::{find, is_live};
use crate::error::Failure;
use crate::scripts::accepts;
use crate::state::App;

/// Longest that a request for news may wait.
const WAIT_MS_MAX: u64 = 30_000;

/// After the first news, how long to wait for more, so that a busy page does not become an object per upload.
const NEWS_PAUSE: Duration = Duration::from_millis(300);

/// What of a path part stays as it is.
const PATH_PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Which blocks, and whether to wait for new ones.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct BlocksParameters {
    /// Key of the project, where two share the id.
    project: Option<String>,
    /// `version` last seen; with `wait_ms`, the answer waits for another one.
    after: Option<String>,
    /// How long to wait, up to 30 seconds.
    #[param(maximum = 30_000)]
    wait_ms: Option<u64>,
}

/// The blocks of a recording.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Blocks {
    blocks: Vec<Block>,
    /// Whether it is being recorded now.
    is_live: bool,
    /// Changes whenever the blocks do.
    version: String,
}

/// One block.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Block {
    /// Position in this list.
    index: usize,
    /// `lines` for recorded events, `events` for analytics events.
    kind: &'static str,
    start_ms: i64,
    end_ms: i64,
    event_count: u64,
    plain_bytes: u64,
    stored_bytes: u64,
    windows: Vec<String>,
    keyframes: Vec<Keyframe>,
    /// Where its lines are.
    url: String,
}

/// A full snapshot, where playback may start.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Keyframe {
    window: String,
    timestamp_ms: i64,
    /// Offset of its line in the uncompressed block.
    plain_offset: u64,
}

/// The blocks of a recording, at once or as soon as there are new ones.
#[utoipa::path(
    get,
    path = "/api/recordings/{id}/blocks",
    params(("id" = String, Path), BlocksParameters),
    responses(
        (status = 200, body = Blocks),
        (status = 404, body = crate::error::ErrorBody),
        (status = "default", description = "What went wrong", body = crate::error::ErrorBody)
    )
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    PathParts(id): PathParts<String>,
    Parameters(parameters): Parameters<BlocksParameters>,
) -> Result<Json<Blocks>, Failure> {
    let wait = wait_of(parameters.wait_ms)?;
    let row = find(&app, &id, parameters.project.as_deref()).await?;
    let blocks = blocks_after(&app, &row.project, &row.id, parameters.after.as_deref(), wait).await?;
    // It may have gone on, or ended, while this waited.
    let row = if wait > Duration::ZERO { find(&app, &id, Some(row.project.as_str())).await? } else { row };
    let version = version_of(&blocks);
    Ok(Json(describe(&app, &row, &blocks, version)))
}

/// How long a request may wait for news.
pub(crate) fn wait_of(wait_ms: Option<u64>) -> Result<Duration, Failure> {
    match wait_ms.unwrap_or(0) {
        wait_ms if wait_ms > WAIT_MS_MAX => Err(Failure::BadParameter(format!("wait_ms can be {WAIT_MS_MAX} at most"))),
        wait_ms => Ok(Duration::from_millis(wait_ms)),
    }
}

/// The blocks of a recording: at once, or, where their version is `after`, as soon as there are others; after `wait` at
/// the latest.
pub(crate) async fn blocks_after(
    app: &App,
    project: &ProjectKey,
    id: &RecordingId,
    after: Option<&str>,
    wait: Duration,
) -> Result<Vec<BlockRow>, Failure> {
    let deadline = Instant::now() + wait;
    let news = app.store.subscribe(project, id);
    loop {
        // Registered before the blocks are read, so that nothing that comes in between is missed.
        let mut woken = std::pin::pin!(news.notified());
        woken.as_mut().enable();
        let blocks = app.store.blocks(project, id).await?;
        if after.is_none_or(|after| after != version_of(&blocks)) || Instant::now() >= deadline {
            return Ok(blocks);
        }
        tokio::select! {
            () = woken => sleep(NEWS_PAUSE.min(deadline.saturating_duration_since(Instant::now()))).await,
            () = sleep_until(deadline) => {}
            () = app.stopped() => return Err(Failure::Stopping),
        }
    }
}

/// The lines of one block.
#[utoipa::path(
    get,
    path = "/api/recordings/{id}/blocks/{object}/{block}",
    params(("id" = String, Path), ("object" = String, Path), ("block" = u32, Path), ProjectParameter),
    responses(
        (status = 200, body = String, content_type = "application/x-ndjson"),
        (status = 404, description = "No such block; it may have been merged with others, so ask for the list again",
         body = crate::error::ErrorBody),
        (status = "default", description = "What went wrong", body = crate::error::ErrorBody)
    )
)]
pub(super) async fn one(
    State(app): State<Arc<App>>,
    PathParts((id, object, block)): PathParts<(String, String, u32)>,
    Parameters(parameter): Parameters<ProjectParameter>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let id = id.parse().map_err(|_| Failure::NotFound("recording"))?;
    let is_project = |key: &ProjectKey| parameter.project.as_ref().is_none_or(|asked| key.as_str() == asked);
    let known = app.store.known_block(&object, block);
    if let Some(row) = known.filter(|row| row.recording == id && is_project(&row.project)) {
        return lines(&app, &row, &headers).await;
    }
    let recordings = app.store.catalog().find(&id).await?;
    for recording in recordings.iter().filter(|recording| is_project(&recording.project)) {
        if let Some(row) = app.store.block(&recording.project, &id, &object, block).await? {
            return lines(&app, &row, &headers).await;
        }
    }
    Err(Failure::NotFound("block"))
}

/// The stored bytes to whoever takes zstd; otherwise gzip, or plain lines.
async fn lines(app: &App, row: &BlockRow, request: &HeaderMap) -> Result<Response, Failure> {
    let mut reply = if accepts(request, "zstd") {
        let mut reply = app.store.frame(row).await?.into_response();
        reply.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("zstd"));
        reply
    } else {
        packed(app, app.store.read_lines(row).await?, request).await?
    };
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, max-age=31536000, immutable"));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(reply)
}

/// Lines in gzip to whoever takes that, or as they are.
pub(crate) async fn packed(app: &App, plain: Vec<u8>, request: &HeaderMap) -> Result<Response, Failure> {
    if !accepts(request, "gzip") {
        return Ok(Bytes::from(plain).into_response());
    }
    let mut reply = app.heavy_work(move || gzip(&plain)).await??.into_response();
    reply.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Ok(reply)
}

fn gzip(plain: &[u8]) -> Result<Bytes, Failure> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    let packed = encoder.write_all(plain).and_then(|()| encoder.finish());
    packed.map(Bytes::from).map_err(|_| Failure::Stopping)
}

fn describe(app: &App, row: &RecordingRow, blocks: &[BlockRow], version: String) -> Blocks {
    let blocks = blocks.iter().enumerate().map(|(index, block)| Block {
        index,
        kind: block.kind.as_str(),
        start_ms: block.start_ms,
        end_ms: block.end_ms,
        event_count: block.event_count,
        plain_bytes: block.plain_bytes,
        stored_bytes: block.stored_bytes,
        windows: block.windows.clone(),
        keyframes: block.keyframes.iter().map(keyframe).collect(),
        url: url_of(app, block),
    });
    Blocks { blocks: blocks.collect(), is_live: is_live(row, app.clock.now_ms()), version }
}

fn keyframe(keyframe: &reelcase_format::block::Keyframe) -> Keyframe {
    Keyframe {
        window: keyframe.window.clone(),
        timestamp_ms: keyframe.timestamp_ms,
        plain_offset: keyframe.plain_offset,
    }
}

fn url_of(app: &App, block: &BlockRow) -> String {
    let object = in_path(&block.object);
    let BlockRow { recording, block, .. } = block;
    format!("{}/api/recordings/{recording}/blocks/{object}/{block}", app.options.path_prefix)
}

/// An object's name as part of a path.
pub(crate) fn in_path(object: &str) -> String {
    utf8_percent_encode(object, PATH_PART).to_string()
}

pub(crate) fn version_of(blocks: &[BlockRow]) -> String {
    let mut hasher = blake3::Hasher::new();
    for block in blocks {
        hasher.update(block.object.as_bytes()).update(&[0]).update(&block.block.to_le_bytes());
    }
    hasher.finalize().to_hex().chars().take(16).collect()
}
