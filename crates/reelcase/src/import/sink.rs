//! Where imported recordings go: into a store that no server holds, or to a running server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::BytesMut;
use clap::Args;
use futures::stream::try_unfold;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body::Frame;
use http_body_util::StreamBody;
use reelcase_format::id::{ProjectKey, RecordingId};
use reelcase_server::import::{ImportOptions, Imported, import};
use reelcase_server::keys;
use reelcase_store::{Clock, SystemClock};
use reelcase_upstream::headers::retry_after_ms;
use serde_json::Value;
use tempfile::TempDir;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::time::sleep;

use crate::bulk::Origin;
use crate::remote::{Remote, checked, encoded};
use crate::{Source, local, terminal};

/// How often a file may fail to be sent for a reason that may pass.
const FAILURES_MAX: u32 = 8;

/// After so many failures of a file somebody who watches wants to know why nothing goes on.
const FAILURES_TOLD: u32 = 3;

/// The first pause after a failure. Each is twice as long as the one before, up to a minute.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Bytes of a file that are sent at once.
const PIECE_BYTES: usize = 256 << 10;

/// Where recordings are to go.
#[derive(Debug, Args)]
pub(crate) struct SinkArgs {
    #[command(flatten)]
    source: Source,
    /// Where is kept how far an import came, with --server. With --data that is the data directory.
    #[arg(long, value_name = "DIR", default_value = "reelcase-import")]
    work: PathBuf,
}

/// See the module's page.
pub(crate) struct Sink {
    place: Origin,
    /// Where files take shape.
    workshop: Workshop,
}

enum Workshop {
    OfStore(PathBuf),
    Own(TempDir),
}

impl SinkArgs {
    /// A store.
    pub(crate) fn of_data(data: PathBuf) -> Self {
        let place = crate::Place { data: Some(data), server: None };
        Self { source: Source { place, token: None }, work: PathBuf::new() }
    }

    /// Where is kept how far an import came.
    pub(crate) fn work(&self) -> &Path {
        self.source.place.data.as_deref().unwrap_or(&self.work)
    }

    /// Opens the store, or prepares to speak to the server.
    pub(crate) async fn open(self) -> anyhow::Result<Sink> {
        let Source { place, token } = self.source;
        Ok(match place.data {
            Some(data) => {
                let store = local::open(&data, "reelcase import").await?;
                store.clear_workshop()?;
                Sink { workshop: Workshop::OfStore(store.workshop()?), place: Origin::Local(store) }
            }
            None => {
                let workshop = tempfile::tempdir().context("cannot write in the directory for temporary files")?;
                let place = Origin::Remote(Remote::new(place.server, token)?);
                Sink { place, workshop: Workshop::Own(workshop) }
            }
        })
    }
}

impl Sink {
    /// Where files may take shape.
    pub(crate) fn workshop(&self) -> &Path {
        match &self.workshop {
            Workshop::OfStore(path) => path,
            Workshop::Own(dir) => dir.path(),
        }
    }

    /// The project that a key is of.
    pub(crate) async fn project_of(&self, key: &ProjectKey) -> anyhow::Result<ProjectKey> {
        match &self.place {
            Origin::Local(store) => Ok(keys::project_of(store, key).await?),
            // It knows by itself.
            Origin::Remote(_) => Ok(key.clone()),
        }
    }

    /// A recording that is there already, as the API shows it.
    pub(crate) async fn recording(&self, project: &ProjectKey, id: &RecordingId) -> anyhow::Result<Option<Value>> {
        self.place.row(project.as_str(), id.as_str()).await
    }

    /// Takes a file in. What is said to be new is on stable storage.
    pub(crate) async fn take(&self, path: &Path, options: &ImportOptions) -> anyhow::Result<Imported> {
        match &self.place {
            Origin::Local(store) => Ok(import(store, path, options).await?),
            // There is nothing to send.
            Origin::Remote(_) if path.metadata().is_ok_and(|file| file.len() == 0) => Ok(Imported::default()),
            Origin::Remote(remote) => remote.import(path, options).await,
        }
    }

    pub(crate) async fn close(&self) -> anyhow::Result<()> {
        if let Origin::Local(store) = &self.place {
            store.clear_workshop()?;
            store.close().await?;
        }
        Ok(())
    }
}

impl Remote {
    /// Sends a file until the server says what became of it.
    async fn import(&self, path: &Path, options: &ImportOptions) -> anyhow::Result<Imported> {
        let ImportOptions { project, name, keep_partial, is_dry_run } = options;
        let (project, recording) = match name {
            Some((project, id)) => (project, format!("&recording={}", encoded(id.as_str()))),
            None => (project, String::new()),
        };
        let project = encoded(project.as_str());
        let query = format!("project={project}{recording}&keep_partial={keep_partial}&dry_run={is_dry_run}");
        let (mut pause, mut failures) = (PAUSE_MIN, 0);
        loop {
            let (error, wait) = match self.send_file(path, &query).await {
                Ok(reply) if !is_passing(reply.status) => {
                    return Ok(serde_json::from_slice(&checked(reply).await?.bytes().await?)?);
                }
                Ok(reply) => {
                    let wait_ms = retry_after_ms(&reply.headers, SystemClock.now_ms());
                    let wait = wait_ms.map(|wait_ms| Duration::from_millis(wait_ms.unsigned_abs()));
                    let Err(error) = checked(reply).await else { bail!("the server answered nothing") };
                    (error, wait)
                }
                Err(error) => (error, None),
            };
            failures += 1;
            if failures > FAILURES_MAX {
                return Err(error);
            }
            if failures == FAILURES_TOLD {
                say!("{}", terminal::message(&format!("{error:#}; it is tried again for some minutes")));
            }
            sleep(wait.unwrap_or(pause).min(PAUSE_MAX)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn send_file(&self, path: &Path, query: &str) -> anyhow::Result<crate::web::Reply> {
        let file = File::open(path).await.with_context(|| format!("cannot read {}", path.display()))?;
        let file_bytes = file.metadata().await?.len();
        let pieces = try_unfold(file, |mut file| async move {
            let mut piece = BytesMut::with_capacity(PIECE_BYTES);
            let read_bytes = file.read_buf(&mut piece).await?;
            std::io::Result::Ok((read_bytes > 0).then(|| (Frame::data(piece.freeze()), file)))
        });
        let request = self.request(http::Method::POST, &format!("/api/import?{query}"));
        let request = request.header(CONTENT_TYPE, "application/octet-stream").header(CONTENT_LENGTH, file_bytes);
        self.send_body(request.body(StreamBody::new(Box::pin(pieces)))?).await
    }
}

/// Whether the same request may be answered otherwise later.
fn is_passing(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}
