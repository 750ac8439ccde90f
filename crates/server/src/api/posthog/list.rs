//! Recordings as PostHog's API lists them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use reelcase_format::id::ProjectKey;
use reelcase_store::catalog::{ListOrder, ListQuery, RecordingRow};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::dates::{End, moment_ms};
use super::figures::{FIGURES, PosthogRecording, figure};
use super::{project, texts};
use crate::api::find;
use crate::api::parameters::{Parameters, PathParts};
use crate::error::Failure;
use crate::state::App;

/// Recordings of an answer, where none are asked for.
const LIMIT_DEFAULT: usize = 50;

/// Recordings of an answer at most; whoever asks for more goes on from the cursor.
const LIMIT_MAX: usize = 1_000;

/// Recordings that may be passed over.
const OFFSET_MAX: usize = 100_000;

/// Recordings that are looked at for one answer. With a filter that few fulfil, an answer may hold none, and a cursor.
const LOOKED_AT_MAX: usize = 10_000;

/// Ids that may be named.
const IDS_MAX: usize = 1_000;

/// How PostHog numbers the form of its list.
const LIST_VERSION: u32 = 4;

/// What chooses recordings by what is not kept here. Empty values are what PostHog's own clients send.
const UNKNOWN: [&str; 9] = [
    "events",
    "actions",
    "properties",
    "console_log_filters",
    "comment_text",
    "filter_test_accounts",
    "person_uuid",
    "session_recording_id",
    "hide_viewed_recordings",
];

/// Which recordings, in PostHog's words. Filters that are not among these are refused.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct PosthogListParameters {
    /// Started at or after this: `-3d` (the default), `2026-11-01`, `2026-11-01T12:00:00Z`, `all`.
    date_from: Option<String>,
    /// Started at or before this.
    date_to: Option<String>,
    /// JSON array of ids. Without `date_from`, they may have started at any time.
    session_ids: Option<String>,
    /// JSON array of ids of persons.
    distinct_ids: Option<String>,
    /// JSON array of `{"key","operator","value"}` with figures such as `duration` or `click_count`; all hold at once.
    having_predicates: Option<String>,
    /// `start_time`.
    order: Option<String>,
    /// `DESC` or `ASC`.
    order_direction: Option<String>,
    /// Most recordings in the answer; at most 1000 come at once.
    limit: Option<usize>,
    /// Recordings to pass over first.
    offset: Option<usize>,
    /// `next_cursor` of the answer before.
    after: Option<String>,
}

/// Some recordings.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct PosthogPage {
    results: Vec<PosthogRecording>,
    has_next: bool,
    version: u32,
    /// What `after` takes. Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// A condition on a figure.
#[derive(Debug, Deserialize)]
struct Predicate {
    key: String,
    #[serde(default)]
    operator: Operator,
    value: Value,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Operator {
    #[default]
    Exact,
    IsNot,
    Gt,
    Gte,
    Lt,
    Lte,
}

/// What the catalog does not filter by itself.
#[derive(Debug, Default)]
struct Choice {
    distinct_ids: Vec<String>,
    predicates: Vec<(String, Operator, f64)>,
}

/// Recordings of a project, as PostHog's API lists them.
#[utoipa::path(
    get,
    path = "/api/projects/{project}/session_recordings",
    params(("project" = String, Path), PosthogListParameters),
    responses(
        (status = 200, body = PosthogPage),
        (status = "default", description = "What went wrong", body = crate::error::ErrorBody)
    )
)]
pub(in crate::api) async fn list(
    State(app): State<Arc<App>>,
    PathParts(named): PathParts<String>,
    Parameters(parameters): Parameters<PosthogListParameters>,
    Parameters(all): Parameters<BTreeMap<String, String>>,
) -> Result<Json<PosthogPage>, Failure> {
    let now_ms = app.clock.now_ms();
    let project = project(&app, &named).await?;
    let choice = parameters.choice(&all)?;
    let query = parameters.query(project, now_ms)?;
    let limit = parameters.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX);
    let offset = parameters.offset.unwrap_or(0);
    if offset > OFFSET_MAX {
        return Err(Failure::BadParameter(format!("offset can be {OFFSET_MAX} at most; go on with after instead")));
    }
    let (rows, next_cursor) = match &parameters.session_ids {
        Some(ids) => (named_rows(&app, &query, &texts("session_ids", ids)?, &choice, offset, limit).await?, None),
        None => walk(&app, query, &choice, offset, limit).await?,
    };
    let results = rows.into_iter().map(|row| PosthogRecording::new(row, now_ms)).collect();
    Ok(Json(PosthogPage { results, has_next: next_cursor.is_some(), version: LIST_VERSION, next_cursor }))
}

/// One recording, as PostHog's API shows it.
#[utoipa::path(
    get,
    path = "/api/projects/{project}/session_recordings/{id}",
    params(("project" = String, Path), ("id" = String, Path)),
    responses(
        (status = 200, body = PosthogRecording),
        (status = 404, body = crate::error::ErrorBody),
        (status = "default", description = "What went wrong", body = crate::error::ErrorBody)
    )
)]
pub(in crate::api) async fn one(
    State(app): State<Arc<App>>,
    PathParts((named, id)): PathParts<(String, String)>,
) -> Result<Json<PosthogRecording>, Failure> {
    let project = project(&app, &named).await?;
    let row = find(&app, &id, Some(project.as_str())).await?;
    Ok(Json(PosthogRecording::new(row, app.clock.now_ms())))
}

impl PosthogListParameters {
    fn query(&self, project: ProjectKey, now_ms: i64) -> Result<ListQuery, Failure> {
        if self.order.as_deref().is_some_and(|order| order != "start_time") {
            return Err(Failure::BadParameter("order can be start_time only".to_owned()));
        }
        let order = match self.order_direction.as_deref() {
            None | Some("DESC") => ListOrder::NewestFirst,
            Some("ASC") => ListOrder::OldestFirst,
            Some(_) => return Err(Failure::BadParameter("order_direction can be ASC or DESC".to_owned())),
        };
        let from = match (&self.date_from, &self.session_ids) {
            (Some(from), _) => moment_ms("date_from", from, End::From, now_ms)?,
            (None, Some(_)) => None,
            (None, None) => moment_ms("date_from", "-3d", End::From, now_ms)?,
        };
        let to = self.date_to.as_deref().map(|to| moment_ms("date_to", to, End::To, now_ms)).transpose()?.flatten();
        let cursor = self.after.clone().filter(|cursor| !cursor.is_empty());
        let to_ms = to.map(|to_ms| to_ms.saturating_add(1));
        Ok(ListQuery { order, project: Some(project), from_ms: from, to_ms, cursor, ..ListQuery::default() })
    }

    fn choice(&self, all: &BTreeMap<String, String>) -> Result<Choice, Failure> {
        let is_empty = |value: &str| matches!(value, "" | "[]" | "{}" | "null" | "false" | "False" | "0");
        if let Some(unknown) = UNKNOWN.iter().find(|name| all.get(**name).is_some_and(|value| !is_empty(value))) {
            return Err(Failure::BadParameter(format!("{unknown} is not known here, and would choose recordings")));
        }
        let given = self.having_predicates.as_deref().unwrap_or("[]");
        let predicates: Vec<Predicate> = serde_json::from_str(given).map_err(|error| {
            Failure::BadParameter(format!("having_predicates is no JSON array of {{key, operator, value}}: {error}"))
        })?;
        if predicates.len() > 1 && all.get("operand").is_some_and(|operand| operand == "OR") {
            return Err(Failure::BadParameter("operand can be AND only".to_owned()));
        }
        let distinct_ids = self.distinct_ids.as_deref().map(|ids| texts("distinct_ids", ids)).transpose()?;
        Ok(Choice {
            distinct_ids: distinct_ids.unwrap_or_default(),
            predicates: predicates.into_iter().map(Predicate::checked).collect::<Result<_, _>>()?,
        })
    }
}

impl Predicate {
    fn checked(self) -> Result<(String, Operator, f64), Failure> {
        if !FIGURES.contains(&self.key.as_str()) {
            return Err(Failure::BadParameter(format!("having_predicates know {} only", FIGURES.join(", "))));
        }
        let value = match &self.value {
            Value::Array(values) if values.len() == 1 => &values[0],
            value => value,
        };
        let number = value.as_f64().or_else(|| value.as_str()?.parse().ok());
        let number = number.ok_or_else(|| Failure::BadParameter(format!("the value of {} is no number", self.key)))?;
        Ok((self.key, self.operator, number))
    }
}

impl Choice {
    fn takes(&self, row: &RecordingRow) -> bool {
        let is_of = |id: &String| {
            let known = row.person.as_ref().is_some_and(|person| person.distinct_ids.contains(id));
            known || row.summary.distinct_ids.contains(id)
        };
        if !self.distinct_ids.is_empty() && !self.distinct_ids.iter().any(is_of) {
            return false;
        }
        self.predicates.iter().all(|(key, operator, value)| {
            let figure = figure(row, key);
            match operator {
                Operator::Exact => figure == *value,
                Operator::IsNot => figure != *value,
                Operator::Gt => figure > *value,
                Operator::Gte => figure >= *value,
                Operator::Lt => figure < *value,
                Operator::Lte => figure <= *value,
            }
        })
    }
}

/// Walks the list until the answer is full, and returns the cursor of what follows.
async fn walk(
    app: &App,
    mut query: ListQuery,
    choice: &Choice,
    mut offset: usize,
    limit: usize,
) -> Result<(Vec<RecordingRow>, Option<String>), Failure> {
    let (mut rows, mut looked_at) = (Vec::new(), 0);
    loop {
        // A page never reaches beyond what the answer takes, so that its cursor is the answer's.
        query.limit = Some(offset.saturating_add(limit - rows.len()));
        let page = app.store.catalog().list(query.clone()).await?;
        looked_at += page.recordings.len();
        for row in page.recordings {
            if choice.takes(&row) {
                match offset.checked_sub(1) {
                    Some(rest) => offset = rest,
                    None => rows.push(row),
                }
            }
        }
        query.cursor = page.next;
        if query.cursor.is_none() || rows.len() == limit || (looked_at >= LOOKED_AT_MAX && offset == 0) {
            return Ok((rows, query.cursor));
        }
    }
}

/// The recordings of these ids, in the order that was asked for.
async fn named_rows(
    app: &App,
    query: &ListQuery,
    ids: &[String],
    choice: &Choice,
    offset: usize,
    limit: usize,
) -> Result<Vec<RecordingRow>, Failure> {
    if ids.len() > IDS_MAX {
        return Err(Failure::BadParameter(format!("session_ids can be {IDS_MAX} at most")));
    }
    let mut rows = Vec::new();
    for id in ids {
        let (Some(project), Ok(id)) = (&query.project, id.parse()) else { continue };
        let Some(row) = app.store.catalog().get(project, &id).await? else { continue };
        let start_ms = row.summary.start_ms;
        let is_within =
            query.from_ms.is_none_or(|from_ms| start_ms >= from_ms) && query.to_ms.is_none_or(|to_ms| start_ms < to_ms);
        if is_within && choice.takes(&row) {
            rows.push(row);
        }
    }
    rows.sort_by(|a, b| (b.summary.start_ms, &a.id).cmp(&(a.summary.start_ms, &b.id)));
    rows.dedup_by(|a, b| a.id == b.id);
    if query.order == ListOrder::OldestFirst {
        rows.reverse();
    }
    Ok(rows.into_iter().skip(offset).take(limit).collect())
}
