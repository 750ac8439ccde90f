//! Recordings of any form, brought into the store: one file at a time, as the body of a request.
//!
//! The body goes into a file as it comes, and is looked at when it is whole. So it may be large, and a client that is
//! slow, or goes away, holds up nobody.

use std::io::{self, Write};
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use http_body_util::BodyExt;
use serde::Deserialize;
use tempfile::NamedTempFile;
use tokio::time::timeout;
use utoipa::IntoParams;

use super::parameters::Parameters;
use super::projects::{key_of, project_key};
use crate::capture::body::announced_bytes;
use crate::error::{ErrorBody, Failure};
use crate::import::{self, ImportError, ImportOptions, Imported};
use crate::state::{App, off_thread};

/// Bytes of a file.
const FILE_BYTES_MAX: u64 = 64 << 30;

/// Bytes of a body that are in memory before they are written.
const BUFFER_BYTES: usize = 1 << 20;

/// Where recordings go whose file names no project.
const PROJECT: &str = "imported";

/// How a file is taken.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ImportParameters {
    /// Any key of the project that recordings come into whose file names none. A key that no project has makes one.
    #[param(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_-]+$")]
    project: Option<String>,
    /// The recording's id, where the file does not say it: one that a manifest names beside lines of JSON.
    recording: Option<String>,
    /// Whether to take what can be read of a damaged file. Nothing of one is taken otherwise.
    #[serde(default)]
    keep_partial: bool,
    /// Whether to say what is in the file, and take nothing.
    #[serde(default)]
    dry_run: bool,
}

/// Brings a file into the store: the body, in any form that docs/formats.md lists as read. When the answer says that a
/// recording is new, it is on stable storage. The same file may come again: what is there is not taken twice.
#[utoipa::path(
    post,
    path = "/api/import",
    params(ImportParameters),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, body = Imported),
        (status = 413, description = "The file is too long", body = ErrorBody),
        (status = "default", description = "What went wrong", body = ErrorBody)
    )
)]
pub(super) async fn import(
    State(app): State<Arc<App>>,
    Parameters(parameters): Parameters<ImportParameters>,
    request: Request,
) -> Result<Json<Imported>, Failure> {
    let project = parameters.project.as_deref().unwrap_or(PROJECT);
    let project = project_key(&app, key_of(project)?.as_str())?;
    let recording = parameters.recording.map(|id| id.parse()).transpose().map_err(Failure::bad_parameter)?;
    let name = recording.map(|id| (project.clone(), id));
    let is_dry_run = parameters.dry_run;
    let options = ImportOptions { project, name, keep_partial: parameters.keep_partial, is_dry_run };
    if announced_bytes(request.headers()).is_some_and(|bytes| bytes as u64 > FILE_BYTES_MAX) {
        return Err(Failure::FileTooLarge { limit: FILE_BYTES_MAX });
    }
    let file = received(&app, request.into_body()).await?;
    let _turn = app.importing.lock().await;
    let imported = import::import(&app.store, file.path(), &options).await?;
    if !is_dry_run && !imported.new.is_empty() {
        tracing::info!(recordings = imported.new.len(), events = imported.event_count, "a file was imported");
    }
    Ok(Json(imported))
}

/// The body as a file, once all of it is here.
async fn received(app: &App, mut body: Body) -> Result<NamedTempFile, Failure> {
    let workshop = app.store.workshop()?;
    let mut file = NamedTempFile::new_in(workshop).map_err(ImportError::Write)?;
    let (mut waiting, mut file_bytes) = (Vec::new(), 0);
    loop {
        let piece = timeout(app.options.timeouts.body_piece, body.frame()).await.map_err(|_| Failure::SlowBody)?;
        let is_last = piece.is_none();
        if let Some(piece) = piece {
            let Ok(data) = piece.map_err(|_| Failure::BrokenBody)?.into_data() else { continue };
            file_bytes += data.len() as u64;
            if file_bytes > FILE_BYTES_MAX {
                return Err(Failure::FileTooLarge { limit: FILE_BYTES_MAX });
            }
            waiting.extend_from_slice(&data);
        }
        if is_last || waiting.len() >= BUFFER_BYTES {
            let pieces = std::mem::take(&mut waiting);
            file = off_thread(move || written(file, &pieces)).await?.map_err(ImportError::Write)?;
        }
        if is_last {
            return if file_bytes > 0 { Ok(file) } else { Err(Failure::EmptyBody) };
        }
    }
}

fn written(mut file: NamedTempFile, bytes: &[u8]) -> io::Result<NamedTempFile> {
    file.write_all(bytes)?;
    Ok(file)
}
