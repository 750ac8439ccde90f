//! `reelcase exports`: the exports that a server makes by itself, in a store or on a running server.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use http::Method;
use reelcase_server::schedules::{Schedule, Schedules};
use reelcase_store::SystemClock;
use serde::Deserialize;
use serde_json::Value;

use crate::remote::{Remote, encoded};
use crate::{Source, local, talk};

/// `reelcase exports`.
#[derive(Debug, Args)]
pub(crate) struct ExportsArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List them, and how each went the last time, as JSON.
    #[command(after_help = "Example:\n  reelcase exports ls --data ./data | jq '.[] | {name, last_run}'")]
    Ls {
        #[command(flatten)]
        source: Source,
    },
    /// Make one, or change the one of this name. A server begins at once with one that was never made.
    #[command(
        after_help = "Examples:\n  reelcase exports add nightly --to nightly --every 1d --server http://127.0.0.1:8787 --token …\n  reelcase exports add errors --to s3://bucket/errors --format parquet --where errors_min=1 --every 1h --data ./data"
    )]
    Add {
        /// Its name: 1 to 64 of the characters a to z, 0 to 9 and -.
        name: String,
        #[command(flatten)]
        schedule: ScheduleArgs,
        #[command(flatten)]
        source: Source,
    },
    /// Delete one. What it exported stays.
    #[command(after_help = "Example:\n  reelcase exports rm nightly --data ./data")]
    Rm {
        /// Its name.
        name: String,
        #[command(flatten)]
        source: Source,
    },
    /// Have a server make one now.
    #[command(after_help = "Example:\n  reelcase exports run nightly --server http://127.0.0.1:8787 --token …")]
    Run {
        /// Its name.
        name: String,
        #[command(flatten)]
        source: Source,
    },
    /// Make them those of a JSON file, as `ls` prints it. Others are deleted.
    #[command(
        long_about = "Make them those of a JSON file, as `ls` prints it. Others are deleted.\n\nOf each entry, `name` and `schedule` count: {\"name\": \"nightly\", \"schedule\": {\"to\": \"nightly\", \"format\": \"reel\", \"filter\": {\"errors_min\": \"1\"}, \"every_s\": 86400, \"is_on\": true}}. One that is refused ends it, before any is deleted.",
        after_help = "Example:\n  reelcase exports ls --data ./one > exports.json\n  reelcase exports apply exports.json --data ./other"
    )]
    Apply {
        /// The file; - is stdin.
        file: PathBuf,
        #[command(flatten)]
        source: Source,
    },
}

/// What an export is.
#[derive(Debug, Args)]
struct ScheduleArgs {
    /// Where to: a folder below the server's folder of exports, or s3://bucket/prefix.
    #[arg(long)]
    to: String,
    /// The form of the files, as `reelcase export` has it, or parquet for tables.
    #[arg(long, default_value = "reel")]
    format: String,
    /// Only recordings with this, such as errors_min=1; the names are the parameters of the API's list. May be repeated.
    #[arg(long = "where", value_name = "NAME=VALUE", value_parser = condition)]
    conditions: Vec<(String, String)>,
    /// How long from the beginning of a run to that of the next: 1d, 12h, 90m.
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = seconds)]
    every: u32,
    /// Make it only when somebody asks.
    #[arg(long)]
    off: bool,
}

/// An export of a file, of which the rest does not count.
#[derive(Deserialize)]
struct Kept {
    name: String,
    schedule: Schedule,
}

/// A change, or none.
enum Change {
    Nothing,
    Set(Vec<Kept>),
    /// The same, and no others.
    SetAll(Vec<Kept>),
    Delete(String),
    Run(String),
}

/// Shows the scheduled exports, after changing some.
pub(crate) async fn exports(args: ExportsArgs) -> anyhow::Result<()> {
    let (change, source) = match args.what {
        What::Ls { source } => (Change::Nothing, source),
        What::Add { name, schedule, source } => (Change::Set(vec![Kept { name, schedule: schedule.into() }]), source),
        What::Rm { name, source } => (Change::Delete(name), source),
        What::Run { name, source } => (Change::Run(name), source),
        What::Apply { file, source } => (Change::SetAll(read(&file)?), source),
    };
    let now = match source.place.data {
        Some(data) => in_store(&data, change).await?,
        None => on_server(&Remote::new(source.place.server, source.token)?, change).await?,
    };
    talk::print_json(&now)
}

async fn in_store(data: &Path, change: Change) -> anyhow::Result<Value> {
    if matches!(change, Change::Run(_)) {
        bail!("a server makes them\nhint: --server says which, or `reelcase export --to` exports at once");
    }
    let store = local::open(data, "reelcase exports").await?;
    let folder = std::path::absolute(data.join("exports"))?;
    let schedules = Schedules::new(Arc::clone(&store), Arc::new(SystemClock), folder);
    let changed = change_in(&schedules, change).await;
    store.close().await?;
    changed
}

async fn change_in(schedules: &Schedules, change: Change) -> anyhow::Result<Value> {
    let (set, is_all) = match change {
        Change::Set(set) => (set, false),
        Change::SetAll(set) => (set, true),
        Change::Delete(name) => {
            schedules.delete(&name).await.with_context(|| name)?;
            (Vec::new(), false)
        }
        Change::Nothing | Change::Run(_) => (Vec::new(), false),
    };
    let names: BTreeSet<String> = set.iter().map(|kept| kept.name.clone()).collect();
    for Kept { name, schedule } in set {
        schedules.set(&name, schedule).await.with_context(|| name)?;
    }
    for other in schedules.list().await?.into_iter().filter(|state| is_all && !names.contains(&state.name)) {
        schedules.delete(&other.name).await?;
    }
    Ok(serde_json::to_value(schedules.list().await?)?)
}

async fn on_server(remote: &Remote, change: Change) -> anyhow::Result<Value> {
    let path_of = |name: &str| format!("/api/exports/{}", encoded(name));
    let (set, is_all) = match change {
        Change::Set(set) => (set, false),
        Change::SetAll(set) => (set, true),
        Change::Delete(name) => {
            remote.send(Method::DELETE, &path_of(&name), &Value::Null).await.with_context(|| name)?;
            (Vec::new(), false)
        }
        Change::Run(name) => {
            let path = format!("{}/run", path_of(&name));
            remote.send(Method::POST, &path, &Value::Null).await.with_context(|| name)?;
            (Vec::new(), false)
        }
        Change::Nothing => (Vec::new(), false),
    };
    let names: BTreeSet<String> = set.iter().map(|kept| kept.name.clone()).collect();
    for Kept { name, schedule } in set {
        let sent = remote.send(Method::PUT, &path_of(&name), &serde_json::to_value(schedule)?).await;
        sent.with_context(|| name)?;
    }
    let list = remote.json("/api/exports").await?["exports"].take();
    let others = list.as_array().into_iter().flatten().filter_map(|state| state["name"].as_str());
    let others: Vec<_> = others.filter(|name| is_all && !names.contains(*name)).collect();
    if others.is_empty() {
        return Ok(list);
    }
    for name in others {
        remote.send(Method::DELETE, &path_of(name), &Value::Null).await?;
    }
    Ok(remote.json("/api/exports").await?["exports"].take())
}

fn read(file: &Path) -> anyhow::Result<Vec<Kept>> {
    let text = match file.to_str() {
        Some("-") => std::io::read_to_string(std::io::stdin())?,
        _ => std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?,
    };
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON list of exports", file.display()))
}

impl From<ScheduleArgs> for Schedule {
    fn from(args: ScheduleArgs) -> Self {
        let ScheduleArgs { to, format, conditions, every, off } = args;
        let filter: BTreeMap<_, _> = conditions.into_iter().collect();
        Self { to, format, filter, every_s: every, is_on: !off }
    }
}

fn condition(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Reads a time in days, hours, minutes or seconds.
fn seconds(text: &str) -> Result<u32, String> {
    const UNITS: [(char, u32); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];
    let found = UNITS.iter().find_map(|(unit, unit_s)| {
        let count: u32 = text.strip_suffix(*unit)?.parse().ok()?;
        count.checked_mul(*unit_s)
    });
    found.ok_or_else(|| "must be a time such as 1d, 12h or 90m".to_owned())
}
