//! Webhooks: who is told that a recording has ended.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use reelcase_store::catalog::EndedAt;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::parameters::PathParts;
use super::projects::json_of;
use super::recordings::list_query;
use crate::error::{ErrorBody, Failure};
use crate::share::random_text;
use crate::state::App;
use crate::webhooks::{Attempt, Found, Secret, WEBHOOKS_MAX, Webhook, new_secret};

/// Random bytes of an id.
const ID_BYTES: usize = 8;

/// Longest query of a webhook, in bytes.
const QUERY_BYTES_MAX: usize = 2_000;

/// How long nothing must have been added to a recording, unless somebody says otherwise, and what may be said.
const QUIET_S: u32 = 300;
const QUIET_S_MIN: u32 = 5;
const QUIET_S_MAX: u32 = 7_200;

/// A webhook to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewWebhook {
    /// Where recordings are sent: `https://`, and to a public address unless the server allows others.
    #[schema(max_length = 2_000)]
    url: String,
    /// What requests are signed with: `whsec_` and 24 to 64 bytes in base64. Without one, the server makes one up.
    secret: Option<String>,
    /// Which recordings: parameters of the list as the query of an address, such as `errors_min=1&url=/checkout`.
    #[serde(default)]
    #[schema(max_length = 2_000)]
    query: String,
    /// A recording has ended when nothing was added to it for so many seconds; 300 unless it says otherwise.
    #[schema(minimum = 5, maximum = 7_200)]
    quiet_s: Option<u32>,
}

/// What is to change. What is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookChange {
    #[schema(max_length = 2_000)]
    url: Option<String>,
    secret: Option<String>,
    #[schema(max_length = 2_000)]
    query: Option<String>,
    #[schema(minimum = 5, maximum = 7_200)]
    quiet_s: Option<u32>,
    /// Off, it sends nothing; what ends meanwhile is sent when it is on again.
    is_on: Option<bool>,
}

/// A webhook, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WebhookInfo {
    id: String,
    url: String,
    query: String,
    quiet_s: u32,
    is_on: bool,
    created_at_ms: i64,
    /// Recordings that wait to be sent, or sent again.
    pending_count: usize,
    /// When the next of them is tried.
    next_at_ms: Option<i64>,
    /// Recordings that were taken.
    sent_count: u64,
    /// Recordings that were not taken in three days, or refused for good.
    given_up_count: u64,
    /// The last sendings, newest first.
    recent: Vec<AttemptInfo>,
}

/// What became of one sending.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AttemptInfo {
    /// What stood in `webhook-id`.
    id: String,
    /// The recording; null for a test.
    recording: Option<String>,
    at_ms: i64,
    took_ms: i64,
    /// What was answered; null where nothing was.
    status: Option<u16>,
    /// Why it was no success; null where it was one.
    error: Option<String>,
}

/// A webhook that was just made: the only time that its secret is told.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MadeWebhook {
    webhook: WebhookInfo,
    secret: String,
}

/// All webhooks.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WebhookList {
    webhooks: Vec<WebhookInfo>,
}

/// All webhooks, with what became of their last sendings.
#[utoipa::path(
    get,
    path = "/api/webhooks",
    responses((status = 200, body = WebhookList), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn list(State(app): State<Arc<App>>) -> Result<Json<WebhookList>, Failure> {
    let webhooks = app.webhooks.list().await?;
    Ok(Json(WebhookList { webhooks: webhooks.into_iter().map(WebhookInfo::from).collect() }))
}

/// Makes a webhook, which sends what ends from now on.
#[utoipa::path(
    post,
    path = "/api/webhooks",
    request_body = NewWebhook,
    responses((status = 201, body = MadeWebhook), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn create(State(app): State<Arc<App>>, request: Request) -> Result<Response, Failure> {
    let new: NewWebhook = json_of(&app, request).await?;
    let secret = match new.secret {
        Some(text) => Secret::of(&text).map_err(Failure::BadParameter)?,
        None => new_secret()?,
    };
    let now_ms = app.clock.now_ms();
    let made = Webhook {
        id: random_text(ID_BYTES)?,
        url: app.webhooks.checked_url(&new.url)?,
        secret: secret.clone(),
        query: checked_query(&new.query, now_ms)?,
        quiet_s: checked_quiet(new.quiet_s.unwrap_or(QUIET_S))?,
        is_on: true,
        created_at_ms: now_ms,
        looked_up_to: EndedAt { updated_at_ms: now_ms, ..EndedAt::default() },
        pending: Vec::new(),
        found: Found::default(),
        recent: VecDeque::new(),
        sent_count: 0,
        given_up_count: 0,
    };
    let add = |all: &mut Vec<Webhook>| {
        if all.len() >= WEBHOOKS_MAX {
            return Err(Failure::TooMany(format!("there are {WEBHOOKS_MAX} webhooks: delete one first")));
        }
        all.push(made.clone());
        Ok(())
    };
    app.webhooks.change(add).await?;
    tracing::info!(webhook = made.id, "a webhook was made");
    let made = MadeWebhook { webhook: made.into(), secret: secret.expose().to_owned() };
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

/// Changes a webhook.
#[utoipa::path(
    patch,
    path = "/api/webhooks/{webhook}",
    params(("webhook" = String, Path)),
    request_body = WebhookChange,
    responses((status = 200, body = WebhookInfo), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn change(
    State(app): State<Arc<App>>,
    PathParts(id): PathParts<String>,
    request: Request,
) -> Result<Json<WebhookInfo>, Failure> {
    let WebhookChange { url, secret, query, quiet_s, is_on } = json_of(&app, request).await?;
    let url = url.map(|url| app.webhooks.checked_url(&url)).transpose()?;
    let secret = secret.map(|text| Secret::of(&text)).transpose().map_err(Failure::BadParameter)?;
    let query = query.map(|query| checked_query(&query, app.clock.now_ms())).transpose()?;
    let quiet_s = quiet_s.map(checked_quiet).transpose()?;
    let change = |all: &mut Vec<Webhook>| {
        let known = all.iter_mut().find(|known| known.id == id).ok_or(Failure::NotFound("webhook"))?;
        known.url = url.unwrap_or_else(|| known.url.clone());
        known.secret = secret.unwrap_or_else(|| known.secret.clone());
        known.query = query.unwrap_or_else(|| known.query.clone());
        known.quiet_s = quiet_s.unwrap_or(known.quiet_s);
        known.is_on = is_on.unwrap_or(known.is_on);
        Ok(known.clone())
    };
    Ok(Json(app.webhooks.change(change).await?.into()))
}

/// Deletes a webhook, and what waits to be sent by it.
#[utoipa::path(
    delete,
    path = "/api/webhooks/{webhook}",
    params(("webhook" = String, Path)),
    responses((status = 204), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    PathParts(id): PathParts<String>,
) -> Result<StatusCode, Failure> {
    let delete = |all: &mut Vec<Webhook>| {
        let count = all.len();
        all.retain(|known| known.id != id);
        if all.len() < count { Ok(()) } else { Err(Failure::NotFound("webhook")) }
    };
    app.webhooks.change(delete).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends a test, once, and says what became of it.
#[utoipa::path(
    post,
    path = "/api/webhooks/{webhook}/test",
    params(("webhook" = String, Path)),
    responses((status = 200, body = AttemptInfo), (status = "default", description = "What went wrong", body = ErrorBody))
)]
pub(super) async fn test(
    State(app): State<Arc<App>>,
    PathParts(id): PathParts<String>,
) -> Result<Json<AttemptInfo>, Failure> {
    let webhooks = app.webhooks.list().await?;
    let webhook = webhooks.iter().find(|known| known.id == id).ok_or(Failure::NotFound("webhook"))?;
    Ok(Json(app.sender.test(&app, webhook).await?.into()))
}

fn checked_query(query: &str, now_ms: i64) -> Result<String, Failure> {
    let query = query.trim().trim_start_matches('?');
    if query.len() > QUERY_BYTES_MAX {
        return Err(Failure::BadParameter(format!("query has {QUERY_BYTES_MAX} bytes at most")));
    }
    let read = list_query(query, now_ms).map_err(Failure::BadParameter)?;
    if read.limit.is_some() || read.cursor.is_some() {
        return Err(Failure::BadParameter("limit and cursor are no conditions".to_owned()));
    }
    Ok(query.to_owned())
}

fn checked_quiet(quiet_s: u32) -> Result<u32, Failure> {
    if (QUIET_S_MIN..=QUIET_S_MAX).contains(&quiet_s) {
        return Ok(quiet_s);
    }
    Err(Failure::BadParameter(format!("quiet_s is from {QUIET_S_MIN} to {QUIET_S_MAX}")))
}

impl From<Webhook> for WebhookInfo {
    fn from(webhook: Webhook) -> Self {
        let Webhook { id, url, query, quiet_s, is_on, created_at_ms, sent_count, given_up_count, .. } = webhook;
        Self {
            id,
            url,
            query,
            quiet_s,
            is_on,
            created_at_ms,
            pending_count: webhook.pending.len(),
            next_at_ms: webhook.pending.iter().map(|pending| pending.next_at_ms).min(),
            sent_count,
            given_up_count,
            recent: webhook.recent.into_iter().map(AttemptInfo::from).collect(),
        }
    }
}

impl From<Attempt> for AttemptInfo {
    fn from(attempt: Attempt) -> Self {
        let Attempt { id, recording, at_ms, took_ms, status, error } = attempt;
        Self { id, recording: recording.map(|id| id.to_string()), at_ms, took_ms, status, error }
    }
}
