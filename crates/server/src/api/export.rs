//! Whole recordings as files. All forms are streamed and hold no more in memory than the blocks that overlap.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, TE, TRAILER, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use reelcase_store::catalog::{BlockRow, RecordingRow};
use reelcase_store::export::Gap;
use reelcase_store::notes::said::Said;
use reelcase_store::{Store, StoreError};
use reelcase_transform::format::{FORMATS, Format, FormatInfo};
use reelcase_transform::stream::LeftOut;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use utoipa::IntoParams;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

use super::find;
use super::parameters::{Parameters, PathParts};
use crate::error::Failure;
use crate::export::{FileExport, holds_said};
use crate::state::App;

/// Pieces that may wait for a slow reader.
const PIECES_WAITING_MAX: usize = 2;

/// Header of an export of which something is missing: JSON, `{"count":…,"gaps":[…]}`.
pub const GAPS_HEADER: &str = "reelcase-gaps";

/// Trailer of an export, for whoever takes one (`TE: trailers`): what the form has no place for, which is known once the
/// file is whole. JSON, `[{"count":…,"one":…,"several":…}]`.
pub const LEFT_OUT_TRAILER: &str = "reelcase-left-out";

/// Gaps that the header names. More might make it longer than proxies take; the file names all of them.
const GAPS_NAMED_MAX: usize = 16;

/// What to export.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ExportParameters {
    /// Key of the project, where two share the id.
    project: Option<String>,
    /// The file's form.
    #[serde(deserialize_with = "by_name")]
    #[param(schema_with = names)]
    format: Format,
    /// Whether its comments and tags are in it, with the names of those who wrote them; only `reel` and `html` have a
    /// place for them, and other forms are refused.
    #[serde(default)]
    comments: bool,
}

fn by_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Format, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

fn names() -> Object {
    let names = FORMATS.map(|info| info.name);
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).build()
}

type Pieces = mpsc::Sender<Result<Frame<Bytes>, StoreError>>;

/// What is missing from the file, once that is known.
type Found = oneshot::Receiver<Result<Vec<Gap>, StoreError>>;

/// What the header [`GAPS_HEADER`] says.
#[derive(Debug, Serialize, Deserialize)]
pub struct Gaps {
    /// How many blocks are missing.
    pub count: usize,
    /// The first of them.
    pub gaps: Vec<Gap>,
}

/// A recording as a file.
#[utoipa::path(
    get,
    path = "/api/recordings/{id}/export",
    params(("id" = String, Path), ExportParameters),
    responses(
        (status = 200, content((String = "application/x-ndjson"), (Vec<u8> = "application/vnd.reelcase.reel"),
          (serde_json::Value = "application/json"), (String = "text/csv"), (String = "text/html"),
          (Vec<u8> = "application/gzip"), (Vec<u8> = "application/zstd")),
         headers(("reelcase-gaps" = String, description = "Only where damaged blocks are missing from the file: JSON, \
          `{\"count\":…,\"gaps\":[{\"object\":…,\"block\":…,\"start_ms\":…,\"end_ms\":…,\"event_count\":…}]}`, \
          with the first 16 of them"))),
        (status = 404, body = crate::error::ErrorBody),
        (status = "default", description = "What went wrong", body = crate::error::ErrorBody)
    )
)]
pub(super) async fn export(
    State(app): State<Arc<App>>,
    PathParts(id): PathParts<String>,
    Parameters(parameters): Parameters<ExportParameters>,
    request: HeaderMap,
) -> Result<Response, Failure> {
    if parameters.comments && !holds_said(parameters.format) {
        let name = parameters.format.info().name;
        return Err(Failure::BadParameter(format!("{name} has no place for comments and tags: reel has, and html")));
    }
    let row = find(&app, &id, parameters.project.as_deref()).await?;
    let blocks = app.store.blocks(&row.project, &row.id).await?;
    let FormatInfo { media_type, ending, .. } = parameters.format.info();
    let name = format!("attachment; filename=\"{}.{ending}\"", row.id);
    let said = match parameters.comments {
        true => app.store.notes(&row.project, &row.id).await?.into(),
        false => Said::default(),
    };
    let takes_trailers = request.get(TE).and_then(|te| te.to_str().ok()).is_some_and(|te| te.contains("trailers"));
    let (found, body) = stream(app.store.clone(), parameters.format, row, blocks, said);
    let gaps = found.await.map_err(|_| Failure::Stopping)??;
    let mut reply = body.into_response();
    let headers = reply.headers_mut();
    if let Some(gaps) = header_of(&gaps).filter(|_| !gaps.is_empty()) {
        headers.insert(GAPS_HEADER, gaps);
    }
    if takes_trailers {
        headers.insert(TRAILER, HeaderValue::from_static(LEFT_OUT_TRAILER));
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(CONTENT_DISPOSITION, name);
    }
    Ok(reply)
}

/// Makes the file while it is sent. The task ends with the file, or as soon as the reader is gone.
fn stream(store: Arc<Store>, format: Format, row: RecordingRow, blocks: Vec<BlockRow>, said: Said) -> (Found, Body) {
    let (pieces, receiver) = mpsc::channel(PIECES_WAITING_MAX);
    let (tell, found) = oneshot::channel();
    tokio::spawn(async move {
        let mut export = match FileExport::new(&store, row, blocks, format) {
            Ok(export) => export,
            Err(error) => return drop(tell.send(Err(error))),
        };
        export.add_said(said);
        match export.find_gaps().await {
            Ok(gaps) => drop(tell.send(Ok(gaps.to_vec()))),
            Err(error) => return drop(tell.send(Err(error))),
        }
        if let Err(error) = send(&mut export, &pieces).await {
            // The head is sent already: breaking off is the only way to say that the file is not whole.
            tracing::error!(error = &error as &dyn std::error::Error, "export broke off");
            let _ = pieces.send(Err(error)).await;
        }
    });
    let pieces = futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    (found, Body::new(StreamBody::new(pieces)))
}

async fn send(export: &mut FileExport<'_>, pieces: &Pieces) -> Result<(), StoreError> {
    while let Some(chunk) = export.next_chunk().await? {
        if pieces.send(Ok(Frame::data(chunk.into()))).await.is_err() {
            return Ok(());
        }
    }
    // Whoever takes no trailers is sent none.
    if let Some(trailer) = trailer_of(export.left_out()).filter(|_| !export.left_out().is_empty()) {
        let _ = pieces.send(Ok(Frame::trailers(HeaderMap::from_iter([trailer])))).await;
    }
    Ok(())
}

/// What a reader is told behind the file.
fn trailer_of(left_out: &[LeftOut]) -> Option<(HeaderName, HeaderValue)> {
    let said = Value::from_iter(left_out.iter().map(LeftOut::said));
    Some((HeaderName::from_static(LEFT_OUT_TRAILER), HeaderValue::from_str(&said.to_string()).ok()?))
}

/// What a reader is told of gaps before the file.
fn header_of(gaps: &[Gap]) -> Option<HeaderValue> {
    let first = &gaps[..gaps.len().min(GAPS_NAMED_MAX)];
    let named = serde_json::to_string(&Gaps { count: gaps.len(), gaps: first.to_vec() }).ok()?;
    HeaderValue::from_str(&named).ok()
}
