//! Looks for recordings that have ended, and sends them.

use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, USER_AGENT};
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Full;
use reelcase_store::catalog::{EndedAt, ListQuery, RecordingRow};
use reelcase_upstream::{Client, SendError, TlsError, Waits};
use serde_json::{Value, json};

use super::{Attempt, PENDING_MAX, Pending, RECENT_MAX, Webhook, may_reach};
use crate::api::{Recording, iso, list_query};
use crate::error::Failure;
use crate::share::random_text;
use crate::state::App;

/// How often it is looked whether a recording has ended, or is to be sent again.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Pause after the file of webhooks could not be read.
const PAUSE: Duration = Duration::from_secs(60);

/// Recordings that are looked at in one go.
const LOOK_MAX: usize = 200;

/// Sendings of one webhook in one go.
const SEND_MAX: usize = 20;

/// After which times a sending is tried again, as Standard Webhooks suggests: for three days, and then no more.
const RETRY_AFTER_S: [i64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];

/// How long a receiver may take.
const WAITS: Waits =
    Waits { connect: Duration::from_secs(10), reply: Duration::from_secs(15), piece: Duration::from_secs(15) };

/// Sends requests to receivers.
#[derive(Debug)]
pub(crate) struct Sender {
    client: Client,
}

impl Sender {
    pub(crate) fn new(reach: reelcase_upstream::Reach) -> Result<Self, TlsError> {
        Ok(Self { client: Client::reaching(reach, WAITS, None)? })
    }

    /// Sends a test, and says what became of it.
    pub(crate) async fn test(&self, app: &App, webhook: &Webhook) -> Result<Attempt, Failure> {
        let at_ms = app.clock.now_ms();
        let body = json!({ "type": "webhook.test", "timestamp": iso(at_ms), "data": {} });
        let id = format!("msg_{}", random_text(12)?);
        let attempt = self.send(app, webhook, &id, &body).await;
        app.webhooks.change(|all| with(all, &webhook.id, |known| remember(known, attempt.clone()))).await?;
        Ok(attempt)
    }

    async fn send(&self, app: &App, webhook: &Webhook, id: &str, body: &Value) -> Attempt {
        let at_ms = app.clock.now_ms();
        let outcome = self.answer_to(app, webhook, id, body, at_ms / 1_000).await;
        let (status, error) = match outcome {
            Ok(status) if (200..300).contains(&status) => (Some(status), None),
            Ok(status) if (300..400).contains(&status) => {
                (Some(status), Some("it leads elsewhere, and redirects are not followed".to_owned()))
            }
            Ok(status) => (Some(status), Some(format!("it was answered {status}"))),
            Err(error) => (None, Some(error)),
        };
        let took_ms = app.clock.now_ms().saturating_sub(at_ms);
        Attempt { id: id.to_owned(), recording: None, at_ms, took_ms, status, error }
    }

    async fn answer_to(
        &self,
        app: &App,
        webhook: &Webhook,
        id: &str,
        body: &Value,
        timestamp_s: i64,
    ) -> Result<u16, String> {
        let uri: Uri = webhook.url.parse().map_err(|_| "its url is no address".to_owned())?;
        // It may have been set when private addresses were allowed.
        if !may_reach(app.webhooks.reach(), &uri) {
            return Err("its url is a private address, which --webhooks-allow-private would allow".to_owned());
        }
        let body = serde_json::to_vec(body).unwrap_or_default();
        let request = Request::post(uri)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("reelcase/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp_s)
            .header("webhook-signature", webhook.secret.signature(id, timestamp_s, &body))
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())?;
        // What is answered beside the status is of no interest, and not read.
        let reply = self.client.send(request).await;
        reply.map(|reply| reply.status().as_u16()).map_err(|error| match error {
            SendError::Unreachable(error) => format!("there is no connection: {}", chain_of(&error)),
            SendError::Slow(wait) => format!("nothing came within {} s", wait.as_secs()),
        })
    }
}

/// Looks and sends until the server stops.
pub(crate) async fn run(app: Arc<App>) {
    loop {
        tokio::select! {
            () = app.stopped() => return,
            () = app.webhooks.bell.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let webhooks = match app.webhooks.list().await {
            Ok(webhooks) => webhooks,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "webhooks are not called");
                tokio::select! {
                    () = app.stopped() => return,
                    () = tokio::time::sleep(PAUSE) => continue,
                }
            }
        };
        let calls = webhooks.into_iter().filter(|webhook| webhook.is_on).map(|webhook| call(&app, webhook));
        // What was begun when the server stops is in the file, and is sent anew under the same id.
        tokio::select! {
            () = app.stopped() => return,
            _ = futures::future::join_all(calls) => {}
        }
    }
}

async fn call(app: &App, webhook: Webhook) {
    let id = webhook.id.clone();
    let work = async {
        look(app, &webhook).await?;
        send_due(app, &webhook.id).await
    };
    if let Err(error) = work.await {
        tracing::warn!(webhook = id, error = &error as &dyn std::error::Error, "a webhook has to wait");
    }
}

/// Finds what has ended since it was looked last, and takes note of what fits.
async fn look(app: &App, webhook: &Webhook) -> Result<(), Failure> {
    let room = PENDING_MAX.saturating_sub(webhook.pending.len());
    if room == 0 {
        return Ok(());
    }
    let now_ms = app.clock.now_ms();
    let until_ms = now_ms - i64::from(webhook.quiet_s) * 1_000;
    let ended = app.store.catalog().ended(webhook.looked_up_to.clone(), until_ms, LOOK_MAX.min(room)).await?;
    let Some(last) = ended.last().cloned() else { return Ok(()) };
    let mut wanted = list_query(&webhook.query, now_ms).map_err(Failure::BadParameter)?;
    wanted.project = wanted.project.map(|key| app.keys.project_of(key));
    let mut found = Vec::new();
    for EndedAt { updated_at_ms, recording, project } in ended {
        let (Ok(recording), Ok(project)) = (recording.parse(), project.parse()) else { continue };
        // What waits to be sealed says that it goes on: then it is found again once it has ended.
        app.store.seal_recording(&project, &recording).await?;
        let query = ListQuery { recording: Some(recording), ..wanted.clone() };
        let fits = |row: &RecordingRow| {
            let is_it = row.project == project && row.updated_at_ms == updated_at_ms;
            is_it && project.as_str() != crate::api::TRIAL_KEY
        };
        let page = app.store.catalog().list(query).await?;
        found.extend(page.recordings.into_iter().find(fits).map(|row| {
            let name = format!("{}\n{project}\n{}\n{updated_at_ms}", webhook.id, row.id);
            let id = format!("msg_{}", &blake3::hash(name.as_bytes()).to_hex()[..24]);
            Pending {
                id,
                project: row.project,
                recording: row.id,
                found_at_ms: now_ms,
                is_again: false,
                attempt_count: 0,
                next_at_ms: now_ms,
            }
        }));
    }
    let note = |known: &mut Webhook| {
        known.looked_up_to = last;
        for mut found in found {
            found.is_again = known.found.note(&found.project, &found.recording);
            known.pending.push(found);
        }
    };
    app.webhooks.change(|all| with(all, &webhook.id, note)).await
}

/// Sends what is due, until a sending fails: then the receiver is given time.
async fn send_due(app: &App, id: &str) -> Result<(), Failure> {
    for _ in 0..SEND_MAX {
        let webhooks = app.webhooks.list().await?;
        let Some(webhook) = webhooks.iter().find(|known| known.id == id && known.is_on) else { return Ok(()) };
        let now_ms = app.clock.now_ms();
        let due = webhook.pending.iter().filter(|pending| pending.next_at_ms <= now_ms);
        let Some(due) = due.min_by_key(|pending| (pending.next_at_ms, pending.found_at_ms)).cloned() else {
            return Ok(());
        };
        let Some(row) = app.store.catalog().get(&due.project, &due.recording).await? else {
            // It was deleted meanwhile: nobody is told of it.
            app.webhooks.change(|all| with(all, id, |known| known.pending.retain(|of| of.id != due.id))).await?;
            continue;
        };
        let body = body_of(app, row, &due);
        let attempt = app.sender.send(app, webhook, &due.id, &body).await;
        let attempt = Attempt { recording: Some(due.recording.clone()), ..attempt };
        let is_sent = attempt.error.is_none();
        app.webhooks.change(|all| with(all, id, |known| settle(known, &due, attempt))).await?;
        if !is_sent {
            return Ok(());
        }
    }
    // There may be more.
    app.webhooks.bell.notify_one();
    Ok(())
}

fn body_of(app: &App, row: RecordingRow, due: &Pending) -> Value {
    let url = format!("{}/recordings/{}", app.public_url(), row.id);
    let mut data = serde_json::to_value(Recording::new(row, app.clock.now_ms())).unwrap_or_default();
    if let Some(data) = data.as_object_mut() {
        data.insert("url".to_owned(), url.into());
    }
    let what = if due.is_again { "recording.extended" } else { "recording.ended" };
    json!({ "type": what, "timestamp": iso(due.found_at_ms), "data": data })
}

/// Takes note of what became of a sending.
fn settle(webhook: &mut Webhook, due: &Pending, attempt: Attempt) {
    let is_gone = attempt.status == Some(410);
    let is_sent = attempt.error.is_none();
    let at_ms = attempt.at_ms;
    remember(webhook, attempt);
    if let Some(pending) = webhook.pending.iter_mut().find(|pending| pending.id == due.id) {
        let retry_after_s = RETRY_AFTER_S.get(pending.attempt_count);
        pending.attempt_count += 1;
        match retry_after_s {
            Some(after_s) if !is_sent && !is_gone => {
                pending.next_at_ms = at_ms + after_s * 1_000;
                return;
            }
            _ => webhook.pending.retain(|pending| pending.id != due.id),
        }
    }
    if is_sent {
        webhook.sent_count += 1;
    } else {
        webhook.given_up_count += 1;
    }
    if is_gone {
        // The receiver says that it wants nothing more, ever.
        webhook.is_on = false;
    }
}

fn remember(webhook: &mut Webhook, attempt: Attempt) {
    webhook.recent.push_front(attempt);
    webhook.recent.truncate(RECENT_MAX);
}

/// Changes one that may be gone by now.
fn with(all: &mut [Webhook], id: &str, change: impl FnOnce(&mut Webhook)) -> Result<(), Failure> {
    if let Some(known) = all.iter_mut().find(|known| known.id == id) {
        change(known);
    }
    Ok(())
}

/// An error and what it comes of, on one line.
fn chain_of(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}
