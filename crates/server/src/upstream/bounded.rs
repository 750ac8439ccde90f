//! A client's body on its way to PostHog: no longer than it may be, and no slower.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::config::Timeouts;
use crate::error::Failure;

const BROKEN: u8 = 1;
const SLOW: u8 = 2;
const LONG: u8 = 3;

/// See the module's page.
pub(super) struct Bounded {
    body: Body,
    bytes_left: usize,
    piece_wait: Duration,
    until: Instant,
    /// Only there while a piece is waited for.
    patience: Option<Pin<Box<Sleep>>>,
    fate: Fate,
}

/// Why a body ended early, for whoever has to answer the client.
#[derive(Debug, Clone, Default)]
pub(super) struct Fate(Arc<AtomicU8>);

/// The body ended early; [`Fate`] says why.
#[derive(Debug, thiserror::Error)]
#[error("the body of the client ended early")]
pub(super) struct EndedEarly;

impl Fate {
    /// What to answer where it was the client's body that failed.
    pub(super) fn failure(&self, limit: usize) -> Option<Failure> {
        match self.0.load(Relaxed) {
            BROKEN => Some(Failure::BrokenBody),
            SLOW => Some(Failure::SlowBody),
            LONG => Some(Failure::BodyTooLarge { limit }),
            _ => None,
        }
    }
}

impl Bounded {
    pub(super) fn new(body: Body, bytes_max: usize, timeouts: &Timeouts) -> (Self, Fate) {
        let fate = Fate::default();
        let until = Instant::now() + timeouts.body;
        let piece_wait = timeouts.body_piece;
        (Self { body, bytes_left: bytes_max, piece_wait, until, patience: None, fate: fate.clone() }, fate)
    }

    fn fail(&self, why: u8) -> Poll<Option<Result<Frame<Bytes>, EndedEarly>>> {
        self.fate.0.store(why, Relaxed);
        Poll::Ready(Some(Err(EndedEarly)))
    }
}

impl http_body::Body for Bounded {
    type Data = Bytes;
    type Error = EndedEarly;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, EndedEarly>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            let wake_at = self.until.min(Instant::now() + self.piece_wait);
            let patience = self.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(wake_at)));
            ready!(patience.as_mut().poll(cx));
            return self.fail(SLOW);
        };
        self.patience = None;
        match frame {
            None => Poll::Ready(None),
            Some(Err(_)) => self.fail(BROKEN),
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                let Some(left) = self.bytes_left.checked_sub(bytes) else { return self.fail(LONG) };
                self.bytes_left = left;
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
