//! `reelcase settings`: what is recorded of a project, in a store or on a running server.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use reelcase_format::id::ProjectKey;
use reelcase_server::keys;
use reelcase_server::settings::{Change, Field, Kind, change, read};
use serde_json::{Map, Value};

use crate::{Source, local, remote, talk};

/// `reelcase settings`.
#[derive(Debug, Args)]
pub(crate) struct SettingsArgs {
    /// Key of the project.
    project: ProjectKey,
    /// Settings to change: true or false, a number, a text, or a JSON list.
    #[arg(value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, Value)>,
    /// A setting that goes back to its default. May be given several times.
    #[arg(long, value_name = "NAME")]
    reset: Vec<String>,
    /// A JSON file, or - for stdin, whose settings replace all others.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["set", "reset"])]
    file: Option<PathBuf>,
    #[command(flatten)]
    source: Source,
}

/// Shows the settings of a project, after changing some.
pub(crate) async fn settings(args: SettingsArgs) -> anyhow::Result<()> {
    let wanted = wanted(args.set, args.reset, args.file.as_deref())?;
    let now = match args.source.place.data {
        Some(data) => in_store(&data, &args.project, wanted).await?,
        None => {
            on_server(&remote::Remote::new(args.source.place.server, args.source.token)?, &args.project, wanted).await?
        }
    };
    talk::print_json(&now)
}

async fn in_store(data: &Path, project: &ProjectKey, wanted: Option<Change>) -> anyhow::Result<Value> {
    let store = local::open(data, "reelcase settings").await?;
    let project = &keys::project_of(&store, project).await?;
    let kept = match wanted {
        Some(wanted) => change(&store, project, &wanted, None).await,
        None if store.catalog().project(project).await?.is_none() => bail!("no project has the key {project}"),
        None => read(&store, project).await,
    };
    store.close().await?;
    let kept = kept.with_context(|| format!("project {project}"))?;
    Ok(Value::Object(kept.settings.values()))
}

async fn on_server(remote: &remote::Remote, project: &ProjectKey, wanted: Option<Change>) -> anyhow::Result<Value> {
    let path = format!("/api/projects/{project}/settings");
    let mut reply = match wanted {
        None => remote.json(&path).await?,
        Some(Change::Merge(values)) => remote.send(http::Method::PATCH, &path, &Value::Object(values)).await?,
        Some(Change::Replace(values)) => remote.send(http::Method::PUT, &path, &Value::Object(values)).await?,
    };
    Ok(reply["settings"].take())
}

/// What is to be changed; nothing where the settings are only to be shown.
fn wanted(set: Vec<(String, Value)>, reset: Vec<String>, file: Option<&Path>) -> anyhow::Result<Option<Change>> {
    if let Some(file) = file {
        let text = match file.to_str() {
            Some("-") => std::io::read_to_string(std::io::stdin())?,
            _ => std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?,
        };
        let values: Map<String, Value> =
            serde_json::from_str(&text).with_context(|| format!("{} is no JSON object", file.display()))?;
        return Ok(Some(Change::Replace(values)));
    }
    let values: Map<_, _> = set.into_iter().chain(reset.into_iter().map(|name| (name, Value::Null))).collect();
    Ok((!values.is_empty()).then_some(Change::Merge(values)))
}

/// Reads `name=value`. What is a text or a word by its kind needs no quotes.
fn assignment(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    let is_text = Field::named(name).is_some_and(|field| matches!(field.kind, Kind::Text { .. } | Kind::Choice { .. }));
    let value = match serde_json::from_str(value) {
        Ok(value) if !is_text => value,
        _ => Value::String(value.to_owned()),
    };
    Ok((name.to_owned(), value))
}
