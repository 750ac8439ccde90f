//! What was recorded, as PostHog's API hands it out: the list of blocks, and ranges of them.
//!
//! Like PostHog, this leaves a block that cannot be read out of a range, which whoever counts the blocks of
//! `decompress=false` notices. A block's number is its place among the blocks, so numbers shift while a recording goes on,
//! and once more when it is compacted.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use reelcase_format::block::BlockKind;
use reelcase_store::catalog::BlockRow;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::project;
use crate::api::parameters::{Parameters, PathParts};
use crate::api::{find, iso};
use crate::error::Failure;
use crate::state::App;

/// Blocks of one answer.
const BLOCKS_MAX: usize = 21;

/// The only kind of source there is.
const SOURCE: &str = "blob_v2";

/// Which blocks.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct SnapshotParameters {
    /// `blob_v2` for lines; without it the answer lists the blocks.
    source: Option<String>,
    /// Number of the first block.
    start_blob_key: Option<String>,
    /// Number of the last block, 20 after the first at most.
    end_blob_key: Option<String>,
    /// `false` for each block as raw snappy behind its length, four bytes, big-endian.
    decompress: Option<String>,
}

/// The blocks of a recording.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct Sources {
    sources: Vec<SourceInfo>,
}

/// One block.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct SourceInfo {
    source: &'static str,
    start_timestamp: String,
    end_timestamp: String,
    /// Its number.
    blob_key: String,
}

/// What was recorded, as PostHog's API hands it out.
#[utoipa::path(
    get,
    path = "/api/projects/{project}/session_recordings/{id}/snapshots",
    params(("project" = String, Path), ("id" = String, Path), SnapshotParameters),
    responses(
        (status = 200, content((Sources = "application/json"), (String = "application/jsonl"),
          (Vec<u8> = "application/octet-stream"))),
        (status = 404, description = "No such recording, or no such block", body = crate::error::ErrorBody),
        (status = "default", description = "What went wrong", body = crate::error::ErrorBody)
    )
)]
pub(in crate::api) async fn snapshots(
    State(app): State<Arc<App>>,
    PathParts((named, id)): PathParts<(String, String)>,
    Parameters(parameters): Parameters<SnapshotParameters>,
) -> Result<Response, Failure> {
    let project = project(&app, &named).await?;
    let row = find(&app, &id, Some(project.as_str())).await?;
    let mut blocks = app.store.blocks(&row.project, &row.id).await?;
    blocks.retain(|block| block.kind == BlockKind::Lines);
    match parameters.source.as_deref() {
        None | Some("") => Ok(Json(Sources { sources: sources(&blocks) }).into_response()),
        Some(SOURCE) => {
            let (first, last) = parameters.range(blocks.len())?;
            lines(app, blocks.drain(first..=last).collect(), parameters.form()?).await
        }
        Some(_) => Err(Failure::BadParameter(format!("source can be {SOURCE} only"))),
    }
}

/// What a block is sent as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BlockForm {
    Plain,
    Snappy,
}

impl SnapshotParameters {
    /// The first and the last block, both of which there are.
    fn range(&self, block_count: usize) -> Result<(usize, usize), Failure> {
        let number = |name: &str, given: &Option<String>| {
            let given = given.as_deref().ok_or_else(|| Failure::BadParameter(format!("{name} is missing")))?;
            given.parse::<usize>().map_err(|_| Failure::BadParameter(format!("{name} is no number")))
        };
        let first = number("start_blob_key", &self.start_blob_key)?;
        let last = number("end_blob_key", &self.end_blob_key)?;
        if first > last {
            return Err(Failure::BadParameter("start_blob_key is more than end_blob_key".to_owned()));
        }
        if last - first >= BLOCKS_MAX {
            let most = BLOCKS_MAX - 1;
            return Err(Failure::BadParameter(format!("end_blob_key can be {most} more than start_blob_key")));
        }
        if last >= block_count {
            return Err(Failure::NotFound("block"));
        }
        Ok((first, last))
    }

    fn form(&self) -> Result<BlockForm, Failure> {
        match self.decompress.as_deref().map(str::to_ascii_lowercase).as_deref() {
            None | Some("" | "true" | "1") => Ok(BlockForm::Plain),
            Some("false" | "0") => Ok(BlockForm::Snappy),
            Some(_) => Err(Failure::BadParameter("decompress can be true or false".to_owned())),
        }
    }
}

fn sources(blocks: &[BlockRow]) -> Vec<SourceInfo> {
    let source = |(number, block): (usize, &BlockRow)| SourceInfo {
        source: SOURCE,
        start_timestamp: iso(block.start_ms),
        end_timestamp: iso(block.end_ms),
        blob_key: number.to_string(),
    };
    blocks.iter().enumerate().map(source).collect()
}

/// The blocks that can be read, one after the other. The first is read before the answer begins, so that it can still be
/// a refusal.
async fn lines(app: Arc<App>, blocks: Vec<BlockRow>, form: BlockForm) -> Result<Response, Failure> {
    let mut blocks = blocks.into_iter();
    let first = next_block(&app, &mut blocks, form).await?.ok_or(Failure::BlocksUnavailable)?;
    let state = (app, blocks, Some(first));
    let stream = futures::stream::try_unfold(state, move |(app, mut blocks, ready)| async move {
        let bytes = match ready {
            Some(bytes) => Some(bytes),
            None => next_block(&app, &mut blocks, form).await?,
        };
        Ok::<_, Failure>(bytes.map(|bytes| (bytes, (app, blocks, None))))
    });
    let media_type = match form {
        BlockForm::Plain => "application/jsonl",
        BlockForm::Snappy => "application/octet-stream",
    };
    let mut reply = Body::from_stream(stream).into_response();
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    Ok(reply)
}

/// The next block that can be read.
async fn next_block(
    app: &App,
    blocks: &mut std::vec::IntoIter<BlockRow>,
    form: BlockForm,
) -> Result<Option<Bytes>, Failure> {
    for block in blocks {
        let plain = match app.store.read_lines(&block).await {
            Ok(plain) => plain,
            Err(error) => {
                let BlockRow { recording, object, block, .. } = &block;
                let error = &error as &dyn std::error::Error;
                tracing::error!(%recording, object, block, error, "a block cannot be read, and is left out of a range");
                continue;
            }
        };
        return Ok(Some(match form {
            BlockForm::Plain => plain.into(),
            BlockForm::Snappy => app.heavy_work(move || packed(&plain)).await??.into(),
        }));
    }
    Ok(None)
}

/// A block as raw snappy behind its length.
fn packed(plain: &[u8]) -> Result<Vec<u8>, Failure> {
    let packed = snap::raw::Encoder::new().compress_vec(plain).ok();
    let framed =
        packed.and_then(|packed| Some([&u32::try_from(packed.len()).ok()?.to_be_bytes()[..], &packed].concat()));
    framed.ok_or(Failure::BlocksUnavailable)
}
