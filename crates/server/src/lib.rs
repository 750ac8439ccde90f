//! The HTTP side of Reelcase: takes what PostHog clients send, answers the player, and serves the web app.
//!
//! A client is told 200 only after the store has made its upload durable; whatever may succeed later is answered with
//! 503 and `Retry-After`, because browsers drop on any 4xx and send again on any other 2xx. The modules are declared
//! in the order a request travels.

pub mod config;
pub mod listen;
mod state;
mod router;
mod cors;
mod access;
mod error;
mod metrics;
mod capture;
mod remote_config;
mod scripts;
pub mod api;
mod pages;

pub use config::{ConfigError, Secret, ServerOptions, Timeouts};
pub use listen::{BoundServer, ServeError, serve};
pub use router::router;
pub use state::App;
