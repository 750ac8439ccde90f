//! Whole recordings as files. Both forms are streamed and hold no more in memory than the blocks that overlap.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use reelcase_store::catalog::{BlockRow, RecordingRow};
use reelcase_store::export::ReelExport;
use reelcase_store::merge::LineMerge;
use reelcase_store::{Store, StoreError};
use serde::Deserialize;
use tokio::sync::mpsc;
use utoipa::{IntoParams, ToSchema};

use super::find;
use super::parameters::{Parameters, PathParts};
use crate::error::Failure;
use crate::state::App;

/// Pieces that may wait for a slow reader.
const PIECES_WAITING_MAX: usize = 2;

/// What file to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// Lines of all windows in the order of time.
    Jsonl,
    /// The stored blocks with an index.
    Reel,
}

/// What to export.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ExportParameters {
    /// Key of the project, where two share the id.
    project: Option<String>,
    /// The file's form.
    #[param(inline)]
    format: Format,
}

type Pieces = mpsc::Sender<Result<Bytes, StoreError>>;

/// A recording as a file.
#[utoipa::path(
    get,
    path = "/api/recordings/{id}/export",
    params(("id" = String, Path), ExportParameters),
    responses(
        (status = 200, content((String = "application/x-ndjson"), (Vec<u8> = "application/vnd.reelcase.reel"))),
        (status = 404, body = crate::error::ErrorBody),
        (status = "default", description = "What went wrong", body = crate::error::ErrorBody)
    )
)]
pub(super) async fn export(
    State(app): State<Arc<App>>,
    PathParts(id): PathParts<String>,
    Parameters(parameters): Parameters<ExportParameters>,
) -> Result<Response, Failure> {
    let row = find(&app, &id, parameters.project.as_deref()).await?;
    let blocks = app.store.blocks(&row.project, &row.id).await?;
    let (kind, ending) = match parameters.format {
        Format::Jsonl => ("application/x-ndjson", "jsonl"),
        Format::Reel => ("application/vnd.reelcase.reel", "reel"),
    };
    let name = format!("attachment; filename=\"{}.{ending}\"", row.id);
    let mut reply = stream(app.store.clone(), parameters.format, row, blocks).into_response();
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(CONTENT_DISPOSITION, name);
    }
    Ok(reply)
}

/// Makes the file while it is sent. The task ends with the file, or as soon as the reader is gone.
fn stream(store: Arc<Store>, format: Format, row: RecordingRow, blocks: Vec<BlockRow>) -> Body {
    let (sender, receiver) = mpsc::channel(PIECES_WAITING_MAX);
    tokio::spawn(async move {
        let made = match format {
            Format::Jsonl => send_lines(&store, blocks, &sender).await,
            Format::Reel => send_reel(&store, row, blocks, &sender).await,
        };
        if let Err(error) = made {
            // The head is sent already: breaking off is the only way to say that the file is not whole.
            tracing::error!(error = &error as &dyn std::error::Error, "export broke off");
            let _ = sender.send(Err(error)).await;
        }
    });
    Body::from_stream(futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    }))
}

async fn send_lines(store: &Store, blocks: Vec<BlockRow>, pieces: &Pieces) -> Result<(), StoreError> {
    let mut merge = LineMerge::new(store, blocks);
    while let Some(chunk) = merge.next_chunk().await? {
        if pieces.send(Ok(chunk.into())).await.is_err() {
            break;
        }
    }
    Ok(())
}

async fn send_reel(store: &Store, row: RecordingRow, blocks: Vec<BlockRow>, pieces: &Pieces) -> Result<(), StoreError> {
    let mut export = ReelExport::new(store, row, blocks);
    while let Some(chunk) = export.next_chunk().await? {
        if pieces.send(Ok(chunk.into())).await.is_err() {
            break;
        }
    }
    Ok(())
}
