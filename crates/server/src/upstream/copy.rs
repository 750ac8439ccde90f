//! The copy of an upload that goes to PostHog.
//!
//! It is taken of the bytes as they pass, and kept once they have all passed, whatever PostHog says to them. What
//! cannot be kept is counted with its reason, and never changes what the client sees. What is in it is looked into later.

use std::sync::Arc;

use axum::http::request::Parts;
use bytes::Bytes;
use reelcase_upstream::Sink;
use tokio::sync::OwnedSemaphorePermit;

use crate::capture::body::Share;
use crate::capture::sorter;
use crate::state::App;

/// Takes the pieces of an upload, and keeps it at the end.
pub(super) struct UploadCopy {
    app: Arc<App>,
    /// What the request said of its body.
    parts: Option<Parts>,
    received_at_ms: i64,
    pieces: Vec<Bytes>,
    bytes: usize,
    share: Option<Share>,
    /// A place among the copies under way. Given back when this one is kept.
    place: Option<OwnedSemaphorePermit>,
    /// Why there will be no copy.
    failed: Option<&'static str>,
}

impl UploadCopy {
    pub(super) fn new(app: &Arc<App>, parts: Parts) -> Self {
        let copies = app.upstream.as_ref().map(|upstream| Arc::clone(&upstream.copies));
        let place = copies.and_then(|copies| copies.try_acquire_owned().ok());
        let failed = if place.is_some() { None } else { Some("busy") };
        let (app, received_at_ms) = (Arc::clone(app), app.clock.now_ms());
        Self { app, parts: Some(parts), received_at_ms, pieces: Vec::new(), bytes: 0, share: None, place, failed }
    }

    fn fail(&mut self, reason: &'static str) {
        self.failed = Some(reason);
        self.pieces = Vec::new();
        self.share = None;
    }
}

impl Sink for UploadCopy {
    fn piece(&mut self, piece: &Bytes) {
        if self.failed.is_some() {
            return;
        }
        self.bytes += piece.len();
        if self.bytes > self.app.options.limits.body_bytes_max {
            return self.fail("body_too_large");
        }
        match self.app.budget.cover(&mut self.share, self.bytes) {
            Ok(()) => self.pieces.push(piece.clone()),
            Err(_) => self.fail("busy"),
        }
    }

    fn end(&mut self, is_whole: bool) {
        if !is_whole {
            self.failed.get_or_insert("broken_body");
        }
        if let Some(reason) = self.failed {
            return self.app.drops.count_copy(reason);
        }
        let Some(parts) = self.parts.take() else { return };
        let (pieces, share) = (std::mem::take(&mut self.pieces), self.share.take());
        let (app, place, received_at_ms) = (Arc::clone(&self.app), self.place.take(), self.received_at_ms);
        tokio::spawn(async move {
            if let Err(failure) = sorter::lay_by(&app, &parts, pieces, share, received_at_ms).await {
                tracing::debug!(%failure, "an upload went to PostHog and was not kept");
                app.drops.count_copy(failure.code());
            }
            drop(place);
        });
    }
}
