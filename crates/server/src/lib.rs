//! The HTTP side of Reelcase: takes what PostHog clients send, answers the player, and serves the web app.
//!
//! A client is told 200 only after the store has made its upload durable; whatever may succeed later is answered with
//! 503 and `Retry-After`, because browsers drop on any 4xx and send again on any other 2xx. The modules are declared
//! in the order a request travels.

mod access;
pub mod api;
mod capture;
mod collections;
pub mod config;
mod connection;
mod cors;
mod drops;
mod error;
pub mod export;
pub mod import;
pub mod keys;
pub mod listen;
mod metrics;
mod pages;
mod patience;
mod remote_config;
mod router;
pub mod schedules;
mod scripts;
mod share;
pub mod settings;
mod state;
pub mod upstream;
pub mod webhooks;
mod workers;

pub use config::{ConfigError, Secret, ServerOptions, Timeouts};
pub use listen::{BoundServer, ServeError, serve};
pub use state::App;
pub use upstream::{Mode, QuotaLimited, UpstreamOptions};
pub use webhooks::WebhookOptions;
