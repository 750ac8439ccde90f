//! `reelcase keys`: the capture keys of a project, in a store or on a running server.

use std::path::Path;

use anyhow::Context;
use clap::Args;
use http::Method;
use reelcase_format::id::ProjectKey;
use reelcase_server::keys::{self, CaptureKey};
use serde_json::{Value, json};

use crate::remote::{Remote, encoded};
use crate::{Source, local, talk};

/// `reelcase keys`.
#[derive(Debug, Args)]
pub(crate) struct KeysArgs {
    /// Any key of the project.
    project: ProjectKey,
    #[command(flatten)]
    change: KeyChange,
    #[command(flatten)]
    source: Source,
}

#[derive(Debug, Args)]
struct KeyChange {
    /// Add a key that records into the same project; without KEY, one that is made up.
    #[arg(long, value_name = "KEY", num_args = 0..=1, conflicts_with = "delete")]
    add: Option<Option<ProjectKey>>,
    /// Delete a key: uploads that come with it are refused from then on, and pages lose them.
    #[arg(long, value_name = "KEY")]
    delete: Option<ProjectKey>,
    /// Delete it although it is the last one, after which nothing is recorded any more.
    #[arg(long, requires = "delete")]
    even_last: bool,
}

/// Shows the keys of a project, after adding or deleting one.
pub(crate) async fn keys(args: KeysArgs) -> anyhow::Result<()> {
    let KeysArgs { project, change, source } = args;
    let now = match source.place.data {
        Some(data) => serde_json::to_value(in_store(&data, &project, &change).await?)?,
        None => on_server(&Remote::new(source.place.server, source.token)?, &project, &change).await?,
    };
    if let Some(key) = &change.delete {
        say!("what pages still send with {key} is refused from now on");
    }
    talk::print_json(&now)
}

async fn in_store(data: &Path, project: &ProjectKey, change: &KeyChange) -> anyhow::Result<Vec<CaptureKey>> {
    let store = local::open(data, "reelcase keys").await?;
    let changed = async {
        let project = keys::project_of(&store, project).await?;
        if let Some(key) = &change.add {
            keys::add(&store, &project, key.clone()).await?;
        }
        if let Some(key) = &change.delete {
            keys::delete(&store, &project, key, change.even_last).await?;
        }
        keys::list(&store, &project).await
    };
    let now = changed.await;
    store.close().await?;
    now.with_context(|| format!("project {project}"))
}

async fn on_server(remote: &Remote, project: &ProjectKey, change: &KeyChange) -> anyhow::Result<Value> {
    let path = format!("/api/projects/{}/keys", encoded(project.as_str()));
    if let Some(key) = &change.add {
        remote.send(Method::POST, &path, &json!({ "key": key })).await?;
    }
    if let Some(key) = &change.delete {
        let even_last = if change.even_last { "?even_last=true" } else { "" };
        let path = format!("{path}/{}{even_last}", encoded(key.as_str()));
        remote.send(Method::DELETE, &path, &Value::Null).await?;
    }
    remote.json(&path).await
}
