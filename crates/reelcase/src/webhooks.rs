//! `reelcase webhooks`: who is told by a running server that a recording has ended.

use clap::{Args, Subcommand};
use http::Method;
use reelcase_store::{Clock, SystemClock};
use serde_json::{Value, json};

use crate::remote::{Remote, encoded};
use crate::{bulk, talk, terminal};

/// `reelcase webhooks`.
#[derive(Debug, Args)]
pub(crate) struct WebhooksArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List them, with what became of their last sendings, as JSON.
    #[command(
        after_help = "Example:\n  reelcase webhooks ls --server http://127.0.0.1:8787 --token … | jq '.[].recent'"
    )]
    Ls {
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Make one. Prints the secret that its requests are signed with, which is told only now.
    #[command(
        after_help = "Example:\n  reelcase webhooks add https://hooks.example.com/replays --where errors_min=1 --server http://127.0.0.1:8787 --token …"
    )]
    Add {
        /// Where recordings are sent: https://, and to a public address unless the server allows others.
        url: String,
        /// Only recordings with this, such as errors_min=1; the names are the parameters of the API's list. May be repeated.
        #[arg(long = "where", value_name = "NAME=VALUE")]
        conditions: Vec<String>,
        /// A recording has ended when nothing was added to it for so many seconds [default: 300].
        #[arg(long, value_name = "SECONDS")]
        quiet: Option<u32>,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Delete one, and what waits to be sent by it.
    #[command(after_help = "Example:\n  reelcase webhooks rm ID --server http://127.0.0.1:8787 --token …")]
    Rm {
        /// Its id.
        id: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Send a test, once, and say what became of it. Exits with 1 where it was not taken.
    #[command(after_help = "Example:\n  reelcase webhooks test ID --server http://127.0.0.1:8787 --token …")]
    Test {
        /// Its id.
        id: String,
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// The server that sends them.
#[derive(Debug, Args)]
struct ServerArgs {
    /// A running server.
    #[arg(long)]
    server: String,
    /// What opens the server.
    #[arg(long, env = "REELCASE_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

impl ServerArgs {
    fn remote(self) -> anyhow::Result<Remote> {
        Remote::new(Some(self.server), self.token)
    }
}

/// Shows webhooks, makes, deletes or tries one.
pub(crate) async fn webhooks(args: WebhooksArgs) -> anyhow::Result<()> {
    let shown = match args.what {
        What::Ls { server } => server.remote()?.json("/api/webhooks").await?["webhooks"].take(),
        What::Add { url, conditions, quiet, server } => {
            let query = bulk::query(&conditions, &None, &None, SystemClock.now_ms())?;
            let new = json!({ "url": url, "query": query.trim_start_matches('&'), "quiet_s": quiet });
            server.remote()?.send(Method::POST, "/api/webhooks", &new).await?
        }
        What::Rm { id, server } => {
            let remote = server.remote()?;
            remote.send(Method::DELETE, &format!("/api/webhooks/{}", encoded(&id)), &Value::Null).await?;
            remote.json("/api/webhooks").await?["webhooks"].take()
        }
        What::Test { id, server } => {
            let path = format!("/api/webhooks/{}/test", encoded(&id));
            let sent = server.remote()?.send(Method::POST, &path, &Value::Null).await?;
            if let Some(error) = sent["error"].as_str() {
                anyhow::bail!("the test was not taken: {}", terminal::line(error));
            }
            sent
        }
    };
    talk::print_json(&shown)
}
