//! The server as its clients meet it: a real one, over real sockets. One program, so that it is linked once.
//!
//! Where a test is named for something posthog-js does, the body is what that release of it sends; the browser itself
//! is in `web/e2e`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod site;
mod standin;

mod capture_config;
mod capture_forms;
mod capture_traps;
mod collections;
mod connections;
mod events_and_persons;
mod failures;
mod hostile;
mod keys;
mod limits;
mod lost_modes;
mod mirror;
mod mobile;
mod notes;
mod overrides;
mod posthog_api;
mod reading;
mod settings;
mod share_pictures;
mod shares;
mod smuggling;
mod tee;
mod trial;
mod tunnel;
mod web_surface;
mod webhooks;
