//! `reelcase delete`: deletes recordings, in a store or on a running server.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::{Context, bail};
use clap::{ArgGroup, Args};
use http::Method;
use reelcase_format::count::{counted, counted_as};
use reelcase_format::id::ProjectKey;
use reelcase_server::api::list_query;
use reelcase_store::{Clock, SystemClock};
use serde_json::Value;

use crate::remote::{Remote, encoded};
use crate::{Source, bulk, local, terminal};

/// `reelcase delete`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("wanted").required(true).multiple(true).args(["ids", "conditions"])))]
pub(crate) struct DeleteArgs {
    /// Ids of the recordings.
    ids: Vec<String>,
    /// All with this, such as tag=spam; the names are the parameters of the API's list. May be repeated: all hold at once.
    #[arg(long = "where", value_name = "NAME=VALUE", conflicts_with_all = ["ids", "project"])]
    conditions: Vec<String>,
    /// Of those, only what started at or after this: 2026-11-01, 2026-11-01T12:00:00Z, or so long ago: 7d, 12h.
    #[arg(long, value_name = "TIME", requires = "conditions")]
    since: Option<String>,
    /// Of those, only what started before this.
    #[arg(long, value_name = "TIME", requires = "conditions")]
    until: Option<String>,
    /// Key of their project, where two projects share an id.
    #[arg(long)]
    project: Option<ProjectKey>,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    source: Source,
}

/// Deletes recordings. One that is not there fails the command, after the others are deleted.
pub(crate) async fn delete(args: DeleteArgs) -> anyhow::Result<()> {
    if args.ids.is_empty() {
        return delete_found(args).await;
    }
    let DeleteArgs { ids, project, yes, source, .. } = args;
    if !yes && !confirm(ids.len() as u64)? {
        bail!("nothing was deleted");
    }
    let missing = match source.place.data {
        Some(data) => in_store(&data, &ids, project.as_ref()).await?,
        None => on_server(&Remote::new(source.place.server, source.token)?, &ids, project.as_ref()).await?,
    };
    if missing.is_empty() {
        return Ok(());
    }
    let missing: Vec<_> = missing.iter().map(|id| terminal::line(id)).collect();
    bail!("there is no recording {}", missing.join(", "))
}

/// Deletes what --where finds, and says how many those were.
async fn delete_found(args: DeleteArgs) -> anyhow::Result<()> {
    let DeleteArgs { conditions, since, until, yes, source, .. } = args;
    let query = bulk::query(&conditions, &since, &until, SystemClock.now_ms())?;
    if conditions.iter().any(|condition| ["limit=", "cursor="].iter().any(|name| condition.starts_with(name))) {
        bail!("limit and cursor are no conditions: all that is found is deleted");
    }
    let may_delete = |count: u64| if count == 0 || yes { Ok(count > 0) } else { confirm(count) };
    let deleted_count = match source.place.data {
        Some(data) => found_in_store(&data, query.trim_start_matches('&'), may_delete).await?,
        None => found_on_server(&Remote::new(source.place.server, source.token)?, &query, may_delete).await?,
    };
    print_line!("deleted {}", counted(deleted_count, "recording"))
}

async fn found_in_store(
    data: &std::path::Path,
    query: &str,
    may_delete: impl Fn(u64) -> anyhow::Result<bool>,
) -> anyhow::Result<u64> {
    let store = local::open(data, "reelcase delete").await?;
    let mut query = list_query(query, SystemClock.now_ms()).map_err(anyhow::Error::msg)?;
    let mut deleted_count = 0;
    if may_delete(store.catalog().count(query.clone()).await?)? {
        loop {
            let page = store.catalog().list(query.clone()).await?;
            for row in page.recordings {
                deleted_count += u64::from(store.delete_recording(&row.project, &row.id).await?);
            }
            let Some(next) = page.next else { break };
            query.cursor = Some(next);
        }
    }
    store.close().await?;
    Ok(deleted_count)
}

async fn found_on_server(
    remote: &Remote,
    query: &str,
    may_delete: impl Fn(u64) -> anyhow::Result<bool>,
) -> anyhow::Result<u64> {
    let found = remote.json(&format!("/api/count?{}", query.trim_start_matches('&'))).await?;
    let (mut deleted_count, mut left_count) = (0, 0);
    if !may_delete(found["recording_count"].as_u64().unwrap_or_default())? {
        return Ok(0);
    }
    let as_of_ms = found["as_of_ms"].as_i64().context("the server does not say when it counted")?;
    let mut cursor = String::new();
    loop {
        let path = format!("/api/recordings?as_of_ms={as_of_ms}{query}{cursor}");
        let step = remote.send(Method::DELETE, &path, &Value::Null).await?;
        deleted_count += step["deleted_count"].as_u64().unwrap_or_default();
        left_count += step["left_count"].as_u64().unwrap_or_default();
        let Some(next) = step["next"].as_str() else { break };
        cursor = format!("&cursor={}", encoded(next));
    }
    if left_count > 0 {
        let one = "was left: something was added to it meanwhile";
        let several = "were left: something was added to them meanwhile";
        say!("{}", counted_as(left_count, one, several));
    }
    Ok(deleted_count)
}

fn confirm(count: u64) -> anyhow::Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        bail!("nobody can be asked whether to delete\nhint: --yes deletes without asking");
    }
    let what = if count == 1 { "this recording".to_owned() } else { format!("these {count} recordings") };
    write!(std::io::stderr(), "delete {what} for good? [y/N] ")?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).context("cannot read the answer")?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}

async fn in_store<'a>(
    data: &std::path::Path,
    ids: &'a [String],
    project: Option<&ProjectKey>,
) -> anyhow::Result<Vec<&'a String>> {
    let store = local::open(data, "reelcase delete").await?;
    let mut missing = Vec::new();
    for id in ids {
        let found = match id.parse() {
            Ok(id) => store.catalog().find(&id).await?,
            Err(_) => Vec::new(),
        };
        match found.into_iter().find(|row| project.is_none_or(|project| row.project == *project)) {
            Some(row) => drop(store.delete_recording(&row.project, &row.id).await?),
            None => missing.push(id),
        }
    }
    store.close().await?;
    Ok(missing)
}

async fn on_server<'a>(
    remote: &Remote,
    ids: &'a [String],
    project: Option<&ProjectKey>,
) -> anyhow::Result<Vec<&'a String>> {
    let query = project.map_or_else(String::new, |project| format!("?project={}", encoded(project.as_str())));
    let mut missing = Vec::new();
    for id in ids {
        let path = format!("/api/recordings/{}{query}", encoded(id));
        if remote.json_if_any(&path).await?.is_none() {
            missing.push(id);
            continue;
        }
        remote.send(Method::DELETE, &path, &Value::Null).await?;
    }
    Ok(missing)
}
