//! Waiting for somebody who may never come.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// A time limit that is renewed again and again, each time something has come.
///
/// Renewing only notes the time. The timer is set anew when it goes off too early, which is once in a limit at most,
/// however much comes.
#[derive(Debug)]
pub(crate) struct Patience {
    limit: Duration,
    /// When it is over however much comes.
    end: Option<Instant>,
    renewed_at: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Patience {
    /// Waits `limit` from now, and from each renewal.
    pub(crate) fn new(limit: Duration) -> Self {
        let now = Instant::now();
        Self { limit, end: None, renewed_at: now, timer: Box::pin(sleep_until(now + limit)) }
    }

    /// Does as [`Patience::new`], but not longer than `whole` in all.
    pub(crate) fn with_end(limit: Duration, whole: Duration) -> Self {
        Self { end: Some(Instant::now() + whole), ..Self::new(limit.min(whole)) }
    }

    /// Begins the limit anew.
    pub(crate) fn renew(&mut self) {
        self.renewed_at = Instant::now();
    }

    /// Begins anew with another limit.
    pub(crate) fn renew_for(&mut self, limit: Duration) {
        self.limit = limit;
        self.renew();
        let deadline = self.renewed_at + limit;
        // One that goes off too late would not be noticed.
        if deadline < self.timer.deadline() {
            self.timer.as_mut().reset(deadline);
        }
    }

    /// Resolves when nothing was renewed for longer than the limit.
    pub(crate) async fn over(&mut self) {
        poll_fn(|cx| self.poll_over(cx)).await;
    }

    /// Does as [`Patience::over`].
    pub(crate) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let silent_until = self.renewed_at + self.limit;
            let deadline = self.end.map_or(silent_until, |end| end.min(silent_until));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(deadline);
        }
    }
}
