//! The servers that this program can be told to be, each in a process of its own so that its costs are its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;
use axum::Router;
use axum::body::Bytes;
use axum::routing::any;
use reelcase_server::{BoundServer, ServerOptions};
use reelcase_store::{Store, StoreOptions, SystemClock};

use crate::yardstick;

/// What clients of PostHog wait for.
pub(crate) const OK: &str = "{\"status\":\"Ok\"}";

/// Bodies that any of the plain servers takes.
const BODY_BYTES_MAX: usize = 20 << 20;

/// Longer than any run: nothing is sealed.
const NEVER_MS: i64 = 1 << 40;

/// Becomes the server with this name until it is killed.
pub(crate) async fn run(party: &str, data: Option<PathBuf>) -> anyhow::Result<()> {
    match (party, data) {
        ("yardstick", _) => serve(yardstick::router()).await,
        ("bare", _) => serve(bare()).await,
        ("inbox", Some(data)) => inbox(data).await,
        _ => bail!("there is no party {party:?}, or it needs --data"),
    }
}

/// Reads a body and answers.
fn bare() -> Router {
    let take = |_body: Bytes| async { ([("content-type", "application/json")], OK) };
    Router::new().fallback(any(take)).layer(axum::extract::DefaultBodyLimit::max(BODY_BYTES_MAX))
}

async fn serve(router: Router) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    Ok(axum::serve(tcp_nodelay(listener), router).await?)
}

fn tcp_nodelay(listener: tokio::net::TcpListener) -> impl axum::serve::Listener<Addr = SocketAddr> {
    use axum::serve::ListenerExt;

    listener.tap_io(|stream| {
        // Worth a little speed; nothing depends on it.
        let _ = stream.set_nodelay(true);
    })
}

/// Reelcase as it is, but for sealing, which is put off until never: what is measured is the way to the answer.
async fn inbox(data: PathBuf) -> anyhow::Result<()> {
    // As the command does.
    rustix::thread::disable_transparent_huge_pages(true)?;
    let options = StoreOptions {
        seal_age_first_ms: NEVER_MS,
        seal_age_ms: NEVER_MS,
        seal_bytes: u64::MAX,
        ..StoreOptions::new(data)
    };
    let store = Store::open(options, Arc::new(SystemClock)).await?;
    let options = ServerOptions { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..ServerOptions::default() };
    let server = BoundServer::bind(options, store).await?;
    println!("{}", server.login_url());
    server.serve(std::future::pending()).await;
    Ok(())
}
