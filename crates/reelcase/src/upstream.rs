//! `reelcase upstream`: the PostHog behind a server, what waits for it, and the modes of projects.

use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, bail};
use clap::Args;
use http::Method;
use reelcase_format::id::ProjectKey;
use reelcase_server::upstream::modes::{Decided, decide, decided};
use reelcase_server::{Mode, keys};
use reelcase_store::Store;
use reelcase_store::catalog::Project;
use serde_json::{Value, json};

use crate::remote::{Remote, encoded};
use crate::{Source, local, talk};

/// `reelcase upstream`.
#[derive(Debug, Args)]
pub(crate) struct UpstreamArgs {
    /// Any key of the project whose mode is shown or changed; without it everything is shown.
    project: Option<ProjectKey>,
    /// The mode that the project gets: store, tee, mirror or pass, or default for that of all others.
    #[arg(long, requires = "project")]
    mode: Option<Choice>,
    #[command(flatten)]
    source: Source,
}

/// A mode, or that of all others.
#[derive(Debug, Clone, Copy)]
struct Choice(Option<Mode>);

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "default" => Ok(Self(None)),
            mode => mode.parse().map(|mode| Self(Some(mode))).map_err(|error| format!("{error}, or default")),
        }
    }
}

/// Shows the PostHog behind a server, or the mode of a project, after changing it.
pub(crate) async fn upstream(args: UpstreamArgs) -> anyhow::Result<()> {
    let UpstreamArgs { project, mode, source } = args;
    let shown = match source.place.data {
        Some(data) => in_store(&data, project.as_ref(), mode).await?,
        None => on_server(&Remote::new(source.place.server, source.token)?, project.as_ref(), mode).await?,
    };
    talk::print_json(&shown)
}

async fn in_store(data: &Path, project: Option<&ProjectKey>, mode: Option<Choice>) -> anyhow::Result<Value> {
    let store = local::open(data, "reelcase upstream").await?;
    let shown = of_store(&store, project, mode).await;
    store.close().await?;
    shown
}

/// What a store knows: where PostHog is, and the mode of all others, are settings of `reelcase serve`.
async fn of_store(store: &Store, project: Option<&ProjectKey>, mode: Option<Choice>) -> anyhow::Result<Value> {
    if let Some(key) = project {
        let key = keys::project_of(store, key).await?;
        let known = store.catalog().project(&key).await?.with_context(|| format!("no project has the key {key}"))?;
        if let Some(Choice(mode)) = mode {
            decide(store, &key, mode).await?;
        }
        return mode_of(store, known).await;
    }
    let mut projects = Vec::new();
    for project in store.catalog().projects().await? {
        projects.push(mode_of(store, project).await?);
    }
    let spool = store.spool_stats();
    let [recordings, events] = spool.records;
    let spool =
        json!({ "recordings": recordings, "events": events, "bytes": spool.bytes, "oldest_ms": spool.oldest_ms });
    Ok(json!({ "spool": spool, "projects": projects }))
}

async fn mode_of(store: &Store, project: Project) -> anyhow::Result<Value> {
    let decided = decided(store, &project.key).await?;
    let mode = match decided {
        Decided::Own(mode) => Some(mode.as_str()),
        Decided::AsOthers | Decided::Lost => None,
    };
    let is_lost = decided == Decided::Lost;
    Ok(json!({ "key": project.key, "mode": mode, "is_own": mode.is_some(), "is_lost": is_lost }))
}

async fn on_server(remote: &Remote, project: Option<&ProjectKey>, mode: Option<Choice>) -> anyhow::Result<Value> {
    if let (Some(key), Some(Choice(mode))) = (project, mode) {
        let path = format!("/api/projects/{}/mode", encoded(key.as_str()));
        let mode = mode.map(Mode::as_str);
        return remote.send(Method::PUT, &path, &json!({ "mode": mode })).await;
    }
    let mut shown = remote.json("/api/upstream").await?;
    if shown.is_null() {
        bail!("there is no PostHog behind this server\nhint: start it with --upstream");
    }
    let Some(key) = project else { return Ok(shown) };
    let known = remote.json(&format!("/api/projects/{}", encoded(key.as_str()))).await?;
    let mut projects = shown["projects"].take();
    let projects = projects.as_array_mut().map(std::mem::take).unwrap_or_default();
    let found = projects.into_iter().find(|project| project["key"] == known["key"]);
    found.with_context(|| format!("no project has the key {key}"))
}
