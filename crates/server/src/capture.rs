//! Takes uploads: reads the body, finds what is in it, and answers 200 once the store has it.
//!
//! The answer decides what the client does next. 200 means kept; any other 2xx and every 3xx would be sent again; any
//! 4xx is forgotten by the client for good, so those are only for what can never succeed; 503 comes back later.

pub(crate) mod body;
mod sort;
pub(crate) mod sorter;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::Json;
use axum::extract::Request;
use axum::http::HeaderName;
use axum::http::header::{CONTENT_TYPE, USER_AGENT};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use reelcase_format::id::ProjectKey;
use reelcase_format::upload::{DecodeError, INFLATED_BYTES};
use reelcase_store::catalog::{CatalogError, Project};
use reelcase_store::{Accepted, ItemKind, ItemRef, Onward};
use serde::Serialize;

pub(crate) use self::body::{Budget, Held};
use self::sort::{Coding, Sorted, sort};
use crate::drops::DELETED_RECORDING;
use crate::error::Failure;
use crate::state::{App, off_thread};

/// Bodies up to this many bytes are decoded in place; longer ones leave the async threads.
pub(crate) const INLINE_BYTES_MAX: usize = 64 << 10;

/// What an ordinary body may inflate to, as a multiple of its own size. More is possible, in a queue of its own.
const ORDINARY_RATIO: usize = 16;

/// What any ordinary body may inflate to, bytes.
const ORDINARY_BYTES: std::ops::RangeInclusive<usize> = 128 << 10..=4 << 20;

/// How long an upload that inflates to much waits for others of its kind.
const LARGE_PATIENCE: Duration = Duration::from_secs(5);

/// Projects that unknown keys may create, so that nobody fills the catalog with made-up keys.
const PROJECTS_MADE_MAX: usize = 1_000;

const FORM: &str = "application/x-www-form-urlencoded";

/// What PostHog's server answers to a good upload.
#[derive(Debug, Serialize)]
pub(crate) struct Ok200 {
    status: &'static str,
}

impl Default for Ok200 {
    fn default() -> Self {
        Self { status: "Ok" }
    }
}

/// An upload that is in memory, and how to read it.
pub(crate) struct Received {
    pub(crate) body: Held,
    coding: Coding,
    user_agent: Option<String>,
}

impl Received {
    /// An upload as it came. A `GET`, and a `POST` without a body, carry it as `data` in the query.
    pub(crate) fn new(parts: &Parts, mut body: Held) -> Result<Self, Failure> {
        let query = parts.uri.query().unwrap_or_default();
        let mut coding = Coding::of(parts);
        if body.bytes.is_empty() && query_value(query, "data").is_some() {
            body.bytes = query.to_owned().into();
            coding.content_type = Some(FORM.to_owned());
        }
        if body.bytes.is_empty() {
            return Err(Failure::EmptyBody);
        }
        Ok(Self { body, coding, user_agent: user_agent(parts) })
    }
}

impl Coding {
    fn of(parts: &Parts) -> Self {
        let compression = query_value(parts.uri.query().unwrap_or_default(), "compression");
        Self { content_type: header(parts, CONTENT_TYPE), compression }
    }
}

fn user_agent(parts: &Parts) -> Option<String> {
    header(parts, USER_AGENT)
}

fn header(parts: &Parts, name: HeaderName) -> Option<String> {
    parts.headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// Answers one upload.
pub(crate) async fn capture(app: &Arc<App>, request: Request) -> Result<Response, Failure> {
    match keep(app, request).await {
        Ok(()) => {
            app.metrics.count_answer(200);
            Ok(Json(Ok200::default()).into_response())
        }
        Err(failure) => {
            app.metrics.count_answer(failure.status().as_u16());
            if failure.status().is_client_error() {
                app.drops.count_upload(failure.code());
            }
            tracing::debug!(%failure, "upload refused");
            Err(failure)
        }
    }
}

async fn keep(app: &Arc<App>, request: Request) -> Result<(), Failure> {
    let received_at_ms = app.clock.now_ms();
    let received = receive(app, request).await?;
    keep_received(app, received, received_at_ms).await
}

/// The project that a request with a body is of.
pub(crate) async fn key_of(app: &Arc<App>, received: &Received) -> Option<ProjectKey> {
    let (body, coding, limits) = (received.body.bytes.clone(), received.coding.clone(), app.options.limits.clone());
    app.heavy_work(move || sort::key_of(&body, &coding, &limits)).await.ok().flatten()
}

/// Makes what is to be kept of an upload durable.
pub(crate) async fn keep_received(app: &Arc<App>, received: Received, received_at_ms: i64) -> Result<(), Failure> {
    app.metrics.body_bytes.fetch_add(received.body.bytes.len() as u64, Relaxed);
    let mut sorted = decode(app, &received).await?;
    file(app, &mut sorted, received_at_ms, Err).await?;
    accept(app, &received, &sorted, received_at_ms, None).await
}

/// Makes an upload durable: a record for each project that it is of, and what PostHog is to be told with the first.
async fn accept(
    app: &App,
    received: &Received,
    sorted: &Sorted,
    received_at_ms: i64,
    mut onward: Option<Onward>,
) -> Result<(), Failure> {
    let record = |project: &ProjectKey, items: &[ItemRef], onward| Accepted {
        project: project.clone(),
        received_at_ms,
        content_type: received.coding.content_type.clone(),
        compression: received.coding.compression.clone(),
        user_agent: received.user_agent.clone(),
        inflated_bytes: sorted.inflated_bytes as u64,
        body: received.body.bytes.clone(),
        items: items.to_vec(),
        onward,
    };
    for (project, items) in &sorted.by_project {
        // One record of it is enough for PostHog: the body is the same.
        app.store.accept(record(project, items, onward.take())).await?;
    }
    if onward.is_some() {
        // None of its events is kept: it is for PostHog only.
        app.store.accept(record(&ProjectKey::nobody(), &[], onward)).await?;
    }
    // Counted only now: an upload that is asked to come back would be counted twice.
    count(app, sorted, received_at_ms);
    Ok(())
}

/// Brings the body into memory.
async fn receive(app: &App, request: Request) -> Result<Received, Failure> {
    let (parts, body) = request.into_parts();
    let held = body::of(&parts, body, app.options.limits.body_bytes_max, app).await?;
    Received::new(&parts, held)
}

/// Undoes the coding and sorts the events. What inflates to much takes its memory from a budget first; which uploads
/// those are is only known once they have passed what an ordinary one may take.
async fn decode(app: &Arc<App>, received: &Received) -> Result<Sorted, Failure> {
    let bytes_max = app.options.limits.inflated_bytes_max;
    let bytes = received.body.bytes.len();
    let ordinary = (bytes * ORDINARY_RATIO).clamp(*ORDINARY_BYTES.start(), *ORDINARY_BYTES.end()).min(bytes_max);
    let sorted = if bytes <= INLINE_BYTES_MAX {
        sort(&received.body.bytes, &received.coding, &app.options, ordinary)
    } else {
        let (body, coding, worker) = (received.body.bytes.clone(), received.coding.clone(), app.clone());
        app.heavy_work(move || sort(&body, &coding, &worker.options, ordinary)).await?
    };
    match sorted {
        Err(Failure::Decode(DecodeError::TooLarge { what: INFLATED_BYTES, limit }))
            if limit == ordinary && limit < bytes_max =>
        {
            decode_large(app, received, bytes_max).await
        }
        sorted => sorted,
    }
}

async fn decode_large(app: &Arc<App>, received: &Received, bytes_max: usize) -> Result<Sorted, Failure> {
    let _share = app.inflating.wait_for(bytes_max, LARGE_PATIENCE).await?;
    let (body, coding, worker) = (received.body.bytes.clone(), received.coding.clone(), app.clone());
    off_thread(move || sort(&body, &coding, &worker.options, bytes_max)).await?
}

/// Puts what came with a key to the project that the key records into. `refused` says what becomes of a key that none
/// has: an error refuses the whole upload, else what came with it alone is left out.
async fn file(
    app: &App,
    sorted: &mut Sorted,
    now_ms: i64,
    refused: impl Fn(Failure) -> Result<(), Failure>,
) -> Result<(), Failure> {
    for (key, items) in std::mem::take(&mut sorted.by_project) {
        match admit(app, &key, now_ms).await {
            Ok(project) => {
                let of_deleted =
                    |item: &ItemRef| item.recording.as_ref().is_some_and(|id| app.store.is_deleted(&project, id));
                let (deleted, items): (Vec<_>, Vec<_>) = items.into_iter().partition(of_deleted);
                sorted.drops.extend(deleted.iter().map(|_| DELETED_RECORDING));
                let filed = sorted.by_project.entry(project).or_default();
                filed.extend(items);
                // Two keys of one project may stand in one upload.
                filed.sort_by_key(|item| item.index);
            }
            Err(failure) => refused(failure)?,
        }
    }
    Ok(())
}

/// Finds the project that a key records into; makes one of an unknown key where that is allowed.
pub(crate) async fn admit(app: &App, key: &ProjectKey, now_ms: i64) -> Result<ProjectKey, Failure> {
    let project = app.keys.recording(key)?;
    let is_known = || app.known_projects.read().map(|known| (known.contains(&project), known.len()));
    if is_known().is_ok_and(|(known, _)| known) {
        return Ok(project);
    }
    if app.store.catalog().project(&project).await?.is_none() {
        if app.store.is_catching_up() && !app.options.accepts_any_key() {
            // Its project may be one of those that are not entered yet, and a refusal would be for good.
            return Err(Failure::Busy { what: "the catalog is being made anew", retry_after_s: 5 });
        }
        if app.store.settings_lost().await?.is_some() {
            // It may be another key of a project, or a deleted one.
            return Err(Failure::Busy { what: "which keys record was lost with the settings", retry_after_s: 60 });
        }
        let made = is_known().map_or(0, |(_, count)| count);
        if !app.options.accepts_any_key() || made >= PROJECTS_MADE_MAX {
            return Err(Failure::UnknownKey(project));
        }
        create_project(app, &project, now_ms).await?;
        tracing::info!("a new project key arrived and got its project");
    }
    if let Ok(mut known) = app.known_projects.write() {
        known.insert(project.clone());
    }
    Ok(project)
}

/// Makes the project of a key, if there is none.
pub(crate) async fn create_project(app: &App, key: &ProjectKey, now_ms: i64) -> Result<(), CatalogError> {
    let project = Project { key: key.clone(), name: key.to_string(), created_at_ms: now_ms };
    app.store.create_project(project).await.map(drop)
}

/// Makes an upload durable that PostHog is to get too, whatever we make of it: an upload is never refused because we
/// cannot keep it. What would be refused elsewhere is counted as not kept.
pub(crate) async fn mirror(app: &Arc<App>, parts: &Parts, held: Held, onward: Onward) -> Result<Response, Failure> {
    let received_at_ms = app.clock.now_ms();
    let received = Received::new(parts, held)?;
    app.metrics.body_bytes.fetch_add(received.body.bytes.len() as u64, Relaxed);
    let sorted = match decode(app, &received).await {
        Ok(mut sorted) => {
            file(app, &mut sorted, received_at_ms, |failure| not_kept(app, failure)).await?;
            sorted
        }
        Err(failure) => {
            not_kept(app, failure)?;
            Sorted::default()
        }
    };
    accept(app, &received, &sorted, received_at_ms, Some(onward)).await?;
    app.metrics.count_answer(200);
    Ok(Json(Ok200::default()).into_response())
}

/// Counts what no retry could help, and hands on what it could.
fn not_kept(app: &App, failure: Failure) -> Result<(), Failure> {
    if failure.status().is_server_error() {
        return Err(failure);
    }
    tracing::debug!(%failure, "an upload is for PostHog only");
    app.drops.count_copy(failure.code());
    Ok(())
}

fn count(app: &App, sorted: &Sorted, now_ms: i64) {
    for reason in &sorted.drops {
        app.drops.count_item(reason);
    }
    for item in sorted.by_project.values().flatten() {
        let kept = match item.kind {
            ItemKind::Snapshot => &app.metrics.snapshots_kept,
            ItemKind::Event => &app.metrics.events_kept,
            ItemKind::Person => &app.metrics.persons_kept,
        };
        kept.fetch_add(1, Relaxed);
    }
    if !sorted.by_project.is_empty() {
        app.metrics.kept_at_ms.store(now_ms.unsigned_abs(), Relaxed);
    }
}

/// One value of a query string, its percent signs undone.
pub(crate) fn query_value(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.into_iter().find(|(key, value)| *key == name && !value.is_empty())?;
    Some(percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned())
}
