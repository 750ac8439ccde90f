//! Speaks to the PostHog behind a Reelcase: which host a path belongs to, which headers go there and back, over which
//! connection, and what is kept of its scripts and config for when it is away.
//!
//! Nothing here knows what a recording is. Bytes go through as they came; a copy of them is taken on the way.

pub mod cache;
pub mod check;
pub mod client;
pub mod copied;
pub mod headers;
pub mod hosts;
mod resolver;

pub use cache::{Cache, Entry, Found};
pub use check::{CheckError, LOOP_PATH, check};
pub use client::{BoxError, Client, ReplyBody, SendError, TlsError, Waits};
pub use copied::{Copied, Rest, Sink};
pub use headers::Route;
pub use hosts::{Base, Hosts, HostsError};
pub use resolver::Reach;
