//! The analytics events of a recording, as PostHog's query endpoint answers for them.
//!
//! Events are kept with recordings, so of all queries there is one: `EventsQuery` for the events of one `$session_id`.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use reelcase_format::block::BlockKind;
use reelcase_format::line::lines;
use reelcase_store::merge::LineMerge;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::dates::{End, moment_ms};
use super::project;
use crate::api::parameters::PathParts;
use crate::api::projects::json_of;
use crate::api::{find, iso};
use crate::error::Failure;
use crate::state::App;

/// Events of an answer, where none are asked for.
const LIMIT_DEFAULT: usize = 100;

/// Events of an answer at most.
const LIMIT_MAX: usize = 10_000;

/// Events that may be passed over.
const OFFSET_MAX: usize = 10_000_000;

/// The property that names a recording.
const SESSION: &str = "$session_id";

/// A query.
#[derive(Debug, Deserialize, ToSchema)]
pub(in crate::api) struct QueryBody {
    query: EventsQuery,
}

/// Asks for the events of one recording. `HogQLQuery` and all others are refused.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::api) struct EventsQuery {
    kind: EventsQueryKind,
    /// Among `uuid`, `event`, `timestamp`, `distinct_id`, `properties` and `properties.NAME`.
    select: Vec<String>,
    /// One of them must be `{"key": "$session_id", "value": ID}`.
    properties: Vec<PropertyFilter>,
    /// Only events of this name.
    event: Option<String>,
    /// Only events after this.
    after: Option<String>,
    /// Only events before this.
    before: Option<String>,
    /// `["timestamp ASC"]` or `["timestamp DESC"]`, which is the default.
    order_by: Option<Vec<String>>,
    limit: Option<usize>,
    offset: Option<usize>,
}

/// The only query there is.
#[derive(Debug, Deserialize, ToSchema)]
enum EventsQueryKind {
    EventsQuery,
}

/// A condition on a property of events.
#[derive(Debug, Deserialize, ToSchema)]
pub(in crate::api) struct PropertyFilter {
    key: String,
    /// One text, or an array of one.
    #[schema(value_type = Object)]
    value: Value,
    #[serde(default)]
    operator: Option<String>,
}

/// Events as rows.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct QueryReply {
    columns: Vec<String>,
    types: Vec<&'static str>,
    #[schema(value_type = Vec<Vec<Object>>)]
    results: Vec<Vec<Value>>,
    has_more: bool,
    limit: usize,
    offset: usize,
}

/// Which events, once all of the query is understood.
struct Wanted {
    event: Option<String>,
    after_ms: Option<i64>,
    before_ms: Option<i64>,
}

/// The analytics events of one recording, as PostHog's API answers an `EventsQuery`.
#[utoipa::path(
    post,
    path = "/api/projects/{project}/query",
    params(("project" = String, Path)),
    request_body = QueryBody,
    responses(
        (status = 200, body = QueryReply),
        (status = "default", description = "What went wrong", body = crate::error::ErrorBody)
    )
)]
pub(in crate::api) async fn query(
    State(app): State<Arc<App>>,
    PathParts(named): PathParts<String>,
    request: Request,
) -> Result<Json<QueryReply>, Failure> {
    let project = project(&app, &named).await?;
    let QueryBody { query } = json_of(&app, request).await?;
    let (id, is_ascending, wanted) = (query.recording()?, query.is_ascending()?, query.wanted(app.clock.now_ms())?);
    if let Some(unknown) = query.select.iter().find(|column| !is_column(column)) {
        return Err(Failure::BadParameter(format!("select: {unknown} is not known here")));
    }
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX);
    let offset = query.offset.unwrap_or(0);
    if offset > OFFSET_MAX {
        return Err(Failure::BadParameter(format!("offset can be {OFFSET_MAX} at most")));
    }
    let (found, has_more) = match find(&app, &id, Some(project.as_str())).await {
        Ok(row) => {
            let blocks = app.store.blocks(&row.project, &row.id).await?;
            let events = LineMerge::of_kind(&app.store, blocks, BlockKind::Events);
            if is_ascending {
                first(events, &wanted, offset, limit).await?
            } else {
                last(events, &wanted, offset, limit).await?
            }
        }
        Err(Failure::NotFound(_)) => (Vec::new(), false),
        Err(failure) => return Err(failure),
    };
    let results = found.iter().map(|event| query.select.iter().map(|column| cell(event, column)).collect()).collect();
    let types = query.select.iter().map(|column| if column == "timestamp" { "DateTime64" } else { "String" }).collect();
    Ok(Json(QueryReply { columns: query.select, types, results, has_more, limit, offset }))
}

impl EventsQuery {
    /// The recording that the query is about.
    fn recording(&self) -> Result<String, Failure> {
        let EventsQueryKind::EventsQuery = self.kind;
        let [PropertyFilter { key, value, operator }] = self.properties.as_slice() else {
            return Err(Failure::BadParameter(format!("properties must name one {SESSION}, and nothing else")));
        };
        if key != SESSION || operator.as_deref().is_some_and(|operator| operator != "exact") {
            return Err(Failure::BadParameter(format!("properties must say which {SESSION}, exactly")));
        }
        let value = value.as_array().filter(|values| values.len() == 1).map_or(value, |values| &values[0]);
        let id = value.as_str().ok_or_else(|| Failure::BadParameter(format!("{SESSION} is no text")))?;
        Ok(id.to_owned())
    }

    fn is_ascending(&self) -> Result<bool, Failure> {
        match self.order_by.as_deref().unwrap_or_default() {
            [] => Ok(false),
            [order] if order == "timestamp DESC" => Ok(false),
            [order] if order == "timestamp" || order == "timestamp ASC" => Ok(true),
            _ => Err(Failure::BadParameter("orderBy can be timestamp ASC or timestamp DESC".to_owned())),
        }
    }

    fn wanted(&self, now_ms: i64) -> Result<Wanted, Failure> {
        let moment = |name: &str, text: &Option<String>, end| match text {
            Some(text) => moment_ms(name, text, end, now_ms),
            None => Ok(None),
        };
        Ok(Wanted {
            event: self.event.clone(),
            after_ms: moment("after", &self.after, End::From)?,
            before_ms: moment("before", &self.before, End::To)?,
        })
    }
}

impl Wanted {
    /// The event, if it is one of those that were asked for.
    fn read(&self, line: &[u8]) -> Option<Value> {
        let event: Value = serde_json::from_slice(line).ok()?;
        let name = event.get("event")?.as_str()?;
        let time_ms = event.get("timestamp")?.as_i64()?;
        let is_wanted = self.event.as_ref().is_none_or(|wanted| wanted == name)
            && self.after_ms.is_none_or(|after_ms| time_ms > after_ms)
            && self.before_ms.is_none_or(|before_ms| time_ms < before_ms);
        is_wanted.then_some(event)
    }
}

/// The first events after an offset, and whether there are more.
async fn first(
    mut events: LineMerge<'_>,
    wanted: &Wanted,
    mut offset: usize,
    limit: usize,
) -> Result<(Vec<Value>, bool), Failure> {
    let mut found = Vec::new();
    while let Some(chunk) = events.next_chunk().await? {
        for event in lines(&chunk).filter_map(|line| wanted.read(line)) {
            match offset.checked_sub(1) {
                Some(rest) => offset = rest,
                None if found.len() == limit => return Ok((found, true)),
                None => found.push(event),
            }
        }
    }
    Ok((found, false))
}

/// The last events before an offset, the last first, and whether there are more.
async fn last(
    mut events: LineMerge<'_>,
    wanted: &Wanted,
    offset: usize,
    limit: usize,
) -> Result<(Vec<Value>, bool), Failure> {
    let (mut found, mut count) = (VecDeque::new(), 0);
    while let Some(chunk) = events.next_chunk().await? {
        for event in lines(&chunk).filter_map(|line| wanted.read(line)) {
            count += 1;
            found.push_back(event);
            if found.len() > offset + limit {
                found.pop_front();
            }
        }
    }
    Ok((found.into_iter().rev().skip(offset).take(limit).collect(), count > offset + limit))
}

fn is_column(name: &str) -> bool {
    matches!(name, "uuid" | "event" | "timestamp" | "distinct_id" | "properties") || name.starts_with("properties.")
}

fn cell(event: &Value, column: &str) -> Value {
    match column {
        "timestamp" => event["timestamp"].as_i64().map(iso).into(),
        "uuid" => {
            let known = event["uuid"].as_str().and_then(|hex| uuid::Uuid::try_parse(hex).ok());
            known.map(|uuid| uuid.to_string()).into()
        }
        // PostHog keeps properties as a text of JSON, and hands out that text.
        "properties" => event.get("properties").map(Value::to_string).into(),
        _ => match column.strip_prefix("properties.") {
            Some(name) => event["properties"][name].clone(),
            None => event[column].clone(),
        },
    }
}
