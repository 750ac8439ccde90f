//! Tells other programs that a recording has ended.
//!
//! Webhooks lie in one file of the data directory, not beside the objects: a copy of these must call nobody. It holds what
//! somebody set, up to where the catalog was looked through, what was found, what is to be sent again, and what became of
//! the last sendings. It is synced before anything is sent, so that a crash forgets none, and may send one twice under the same
//! id. The catalog is the queue: while [`PENDING_MAX`] wait to be sent again nothing more is looked at, and nothing is
//! ever dropped for want of room.
//!
//! Requests are signed as [Standard Webhooks](https://www.standardwebhooks.com) says, `deliver.rs` sends them.

mod deliver;
mod found;
mod sign;

use std::collections::VecDeque;
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use http::Uri;
use reelcase_format::id::{ProjectKey, RecordingId};
use reelcase_store::catalog::EndedAt;
use reelcase_upstream::Reach;
use serde::{Deserialize, Serialize};

use crate::error::Failure;

pub(crate) use deliver::{Sender, run};
pub(crate) use found::Found;
pub(crate) use sign::{Secret, new_secret};

/// Webhooks that may exist at once.
pub(crate) const WEBHOOKS_MAX: usize = 10;

/// Recordings of one webhook that wait to be sent again. Beyond it no more are looked for.
pub(crate) const PENDING_MAX: usize = 100;

/// Sendings that are remembered of each.
pub(crate) const RECENT_MAX: usize = 20;

/// Longest address, in bytes.
const URL_BYTES_MAX: usize = 2_000;

/// The newest version of the file that this release understands.
const VERSION: u32 = 1;

/// Where webhooks lie, and where they may lead.
#[derive(Debug, Clone, Default)]
pub struct WebhookOptions {
    /// Their file. `None` keeps them in memory alone.
    pub file: Option<PathBuf>,
    /// Whether they may lead to private addresses, and without TLS.
    pub allow_private: bool,
}

/// One webhook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Webhook {
    pub(crate) id: String,
    pub(crate) url: String,
    pub(crate) secret: Secret,
    /// Conditions of the API's list as the query of an address; empty for all recordings.
    pub(crate) query: String,
    /// A recording has ended when nothing was added to it for this long.
    pub(crate) quiet_s: u32,
    pub(crate) is_on: bool,
    pub(crate) created_at_ms: i64,
    /// The recordings that ended up to here were looked at.
    pub(crate) looked_up_to: EndedAt,
    pub(crate) pending: Vec<Pending>,
    #[serde(default)]
    pub(crate) found: Found,
    /// The newest first.
    pub(crate) recent: VecDeque<Attempt>,
    pub(crate) sent_count: u64,
    /// Recordings that were tried for days, or refused for good.
    pub(crate) given_up_count: u64,
}

/// A recording that is to be sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pending {
    /// The same each time it is sent, by which a receiver recognises it.
    pub(crate) id: String,
    pub(crate) project: ProjectKey,
    pub(crate) recording: RecordingId,
    pub(crate) found_at_ms: i64,
    /// Whether it had ended before, and was found then.
    #[serde(default)]
    pub(crate) is_again: bool,
    pub(crate) attempt_count: usize,
    pub(crate) next_at_ms: i64,
}

/// What became of one sending.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    /// Id of what was sent.
    pub(crate) id: String,
    /// `None` for a test.
    pub(crate) recording: Option<RecordingId>,
    pub(crate) at_ms: i64,
    pub(crate) took_ms: i64,
    /// What the receiver answered.
    pub(crate) status: Option<u16>,
    /// Why it was no success.
    pub(crate) error: Option<String>,
}

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Document {
    version: u32,
    webhooks: Vec<Webhook>,
}

/// All webhooks, held in memory and written through.
#[derive(Debug)]
pub(crate) struct Webhooks {
    options: WebhookOptions,
    known: tokio::sync::Mutex<Option<Vec<Webhook>>>,
    /// Rung where there may be something to do.
    pub(crate) bell: tokio::sync::Notify,
}

/// What went wrong with the file of webhooks.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebhookError {
    #[error("the webhooks cannot be read: {0}")]
    Unreadable(String),
    #[error("the webhooks cannot be written")]
    Unwritable(#[source] std::io::Error),
}

impl Webhooks {
    pub(crate) fn new(options: WebhookOptions) -> Self {
        Self { options, known: tokio::sync::Mutex::new(None), bell: tokio::sync::Notify::new() }
    }

    /// How far they may reach.
    pub(crate) fn reach(&self) -> Reach {
        if self.options.allow_private { Reach::Anywhere } else { Reach::Public }
    }

    pub(crate) async fn list(&self) -> Result<Vec<Webhook>, WebhookError> {
        let mut known = self.known.lock().await;
        let webhooks = self.take_or_read(&mut known)?;
        Ok(known.insert(webhooks).clone())
    }

    /// Changes them, unless `change` refuses. What was changed is on stable storage when this returns.
    pub(crate) async fn change<R>(
        &self,
        change: impl FnOnce(&mut Vec<Webhook>) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        let mut known = self.known.lock().await;
        let before = self.take_or_read(&mut known)?;
        let mut changed = before.clone();
        let outcome = change(&mut changed);
        if outcome.is_err() || changed == before {
            *known = Some(before);
            return outcome;
        }
        if let Some(file) = self.options.file.clone() {
            let document = Document { version: VERSION, webhooks: changed.clone() };
            let written = tokio::task::spawn_blocking(move || write(&file, &document)).await;
            written.map_err(std::io::Error::other).flatten().map_err(WebhookError::Unwritable)?;
        }
        *known = Some(changed);
        self.bell.notify_one();
        outcome
    }

    fn take_or_read(&self, known: &mut Option<Vec<Webhook>>) -> Result<Vec<Webhook>, WebhookError> {
        match (known.take(), &self.options.file) {
            (Some(webhooks), _) => Ok(webhooks),
            (None, Some(file)) => read(file),
            (None, None) => Ok(Vec::new()),
        }
    }

    /// Takes an address to which webhooks may lead.
    pub(crate) fn checked_url(&self, text: &str) -> Result<String, Failure> {
        let bad = |why: &str| Failure::BadParameter(format!("{text:?} cannot be the url of a webhook: {why}"));
        if text.len() > URL_BYTES_MAX {
            return Err(Failure::BadParameter(format!("the url of a webhook has {URL_BYTES_MAX} bytes at most")));
        }
        let uri: Uri = text.parse().map_err(|_| bad("it is no address"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(bad("it does not begin with https://"));
        };
        if authority.as_str().contains('@') {
            return Err(bad("it names somebody before its host; receivers tell us apart by the signature"));
        }
        match (scheme, self.options.allow_private) {
            ("https", _) | ("http", true) => {}
            ("http", false) => return Err(bad("it is not https, which --webhooks-allow-private would allow")),
            _ => return Err(bad("it does not begin with https://")),
        }
        if !may_reach(self.reach(), &uri) {
            return Err(bad("it is a private address, which --webhooks-allow-private would allow"));
        }
        Ok(text.to_owned())
    }
}

/// Whether an address is one to connect to, as far as it is written in numbers. What its name leads to is looked at when
/// it is resolved.
fn may_reach(reach: Reach, uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host.parse::<IpAddr>().map_or(true, |address| reach.allows(address))
}

fn read(file: &Path) -> Result<Vec<Webhook>, WebhookError> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(WebhookError::Unreadable(error.to_string())),
    };
    let flawed = |error: serde_json::Error| WebhookError::Unreadable(format!("webhooks.json: {error}"));
    let Version { version } = serde_json::from_slice(&bytes).map_err(flawed)?;
    if version > VERSION {
        let why = format!("webhooks.json has version {version}, newer than the newest supported, {VERSION}");
        return Err(WebhookError::Unreadable(why));
    }
    Ok(serde_json::from_slice::<Document>(&bytes).map_err(flawed)?.webhooks)
}

/// Writes the file so that its name stands for all of its bytes. It holds secrets: nobody else may read it.
fn write(file: &Path, document: &Document) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;

    let unfinished = file.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let mut written = options.create(true).truncate(true).write(true).mode(0o600).open(&unfinished)?;
    written.write_all(&serde_json::to_vec_pretty(document)?)?;
    written.sync_all()?;
    std::fs::rename(&unfinished, file)?;
    std::fs::File::open(file.parent().unwrap_or(Path::new(".")))?.sync_all()
}
