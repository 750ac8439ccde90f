//! `reelcase delete`: deletes recordings, in a store or on a running server.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::{Context, bail};
use clap::Args;
use reelcase_format::id::ProjectKey;
use reqwest::Method;
use serde_json::Value;

use crate::remote::{Remote, encoded};
use crate::{Source, local, terminal};

/// `reelcase delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// Ids of the recordings.
    #[arg(required = true)]
    ids: Vec<String>,
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
    let DeleteArgs { ids, project, yes, source } = args;
    if !yes && !confirm(ids.len())? {
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

fn confirm(count: usize) -> anyhow::Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        bail!("nobody can be asked whether to delete\nhint: --yes deletes without asking");
    }
    let what = if count == 1 { "this recording".to_owned() } else { format!("these {count} recordings") };
    eprint!("delete {what} for good? [y/N] ");
    std::io::stderr().flush()?;
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
