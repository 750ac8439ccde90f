//! Sorts uploads that were laid by: copies of what PostHog answered, which nobody had to look into before.
//!
//! It is done when somebody wants to read, when somebody watches, or after [`SORT_AFTER_MS`]: so nobody who reads can
//! tell, and inflating and scanning stay out of the way of requests that go on to PostHog.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use reelcase_store::inbox::Position;
use reelcase_store::{Unsorted, UnsortedFigures};

use super::body::Share;
use super::{Coding, Held, Received, count, decode, file, keep_received, user_agent};
use crate::error::Failure;
use crate::state::App;

/// How long an upload is left as it is when nobody asks for it, ms.
const SORT_AFTER_MS: i64 = 5_000;

/// How often it is looked for those.
const TICK: Duration = Duration::from_millis(250);

/// Bytes of uploads that may be left as they are. Beyond it they are sorted as they come, so that whoever wants to read
/// has not long to wait: a processor sorts some 100 MB in a second.
const UNSORTED_BYTES_MAX: u64 = 256 << 20;

/// Uploads that may be left as they are: small ones take their time too.
const UNSORTED_COUNT_MAX: usize = 16_384;

/// Uploads that may fail before the others are left for the next time. Each goes behind all others, so these get their
/// turn.
const FAILURES_MAX: usize = 32;

/// Makes a copy of an upload durable, and leaves looking into it for later if that can be.
pub(crate) async fn lay_by(
    app: &Arc<App>,
    parts: &Parts,
    pieces: Vec<Bytes>,
    share: Option<Share>,
    received_at_ms: i64,
) -> Result<(), Failure> {
    let is_in_query = pieces.iter().all(Bytes::is_empty);
    if is_in_query || !has_room(app.store.unsorted()) {
        let received = Received::new(parts, Held::new(joined(pieces), share))?;
        return keep_received(app, received, received_at_ms).await;
    }
    app.metrics.body_bytes.fetch_add(pieces.iter().map(|piece| piece.len() as u64).sum(), Relaxed);
    let Coding { content_type, compression } = Coding::of(parts);
    let upload = Unsorted { received_at_ms, content_type, compression, user_agent: user_agent(parts), body: pieces };
    app.store.lay_by(upload).await?;
    drop(share);
    Ok(())
}

fn has_room(unsorted: UnsortedFigures) -> bool {
    unsorted.bytes < UNSORTED_BYTES_MAX && unsorted.count < UNSORTED_COUNT_MAX
}

/// Sorts what is due, until the server is stopping.
pub(crate) async fn run(app: Arc<App>) {
    // What an earlier process left.
    sort_waiting(&app).await;
    loop {
        tokio::select! {
            () = app.store.unsorted_is_due() => {}
            () = tokio::time::sleep(TICK) => {
                let since_ms = app.store.unsorted().since_ms;
                if since_ms.is_none_or(|since_ms| (0..SORT_AFTER_MS).contains(&(app.clock.now_ms() - since_ms))) {
                    continue;
                }
            }
            () = app.stopped() => return,
        }
        sort_waiting(&app).await;
    }
}

/// Middleware in front of whatever tells of recordings: who asks now is told of all that came before.
pub(crate) async fn sort_before(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    sort_waiting(&app).await;
    next.run(request).await
}

/// Sorts what waits at this moment. What cannot be sorted now waits on, and holds up no other.
pub(crate) async fn sort_waiting(app: &Arc<App>) {
    // Most who ask find nothing waiting, and nobody who has taken the last of it and is still at it.
    if app.store.unsorted().count == 0 && app.sorting.try_lock().is_ok() {
        return;
    }
    let app = Arc::clone(app);
    // A task of its own, because whoever asks may leave, and what is taken has to be put somewhere.
    let sorting = tokio::spawn(async move {
        let _turn = app.sorting.lock().await;
        let mut failures = 0;
        for _ in 0..app.store.unsorted().count {
            match sort_next(&app).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(failure) => {
                    failures += 1;
                    if failures == 1 {
                        tracing::warn!(%failure, "a copy of an upload cannot be sorted now; it waits in the inbox");
                    }
                    if failures == FAILURES_MAX {
                        return;
                    }
                }
            }
        }
    });
    if sorting.await.is_err() {
        tracing::error!("sorting what was laid by ended early; the copy at hand is sorted after the next start");
    }
}

/// Sorts the oldest. `false` where there is none, or no room for more. Fails where it may go well another time.
async fn sort_next(app: &Arc<App>) -> Result<bool, Failure> {
    let Some((position, upload)) = app.store.take_unsorted().await? else { return Ok(false) };
    sort_one(app, position, upload).await.map(|()| true)
}

/// Fails where it may go well another time.
async fn sort_one(app: &Arc<App>, position: Position, upload: Unsorted) -> Result<(), Failure> {
    let received_at_ms = upload.received_at_ms;
    let received = Received {
        body: Held::new(joined(upload.body), None),
        coding: Coding { content_type: upload.content_type, compression: upload.compression },
        user_agent: upload.user_agent,
    };
    let sorted = match decode(app, &received).await {
        Ok(mut sorted) => file(app, &mut sorted, received_at_ms, Err).await.map(|()| sorted),
        Err(failure) => Err(failure),
    };
    match sorted {
        Ok(sorted) => {
            app.store.sorted(position, sorted.inflated_bytes as u64, &sorted.by_project);
            count(app, &sorted, received_at_ms);
            Ok(())
        }
        Err(failure) if failure.status().is_server_error() => {
            app.store.not_sorted(position);
            Err(failure)
        }
        Err(failure) => {
            tracing::debug!(%failure, "an upload went to PostHog and was not kept");
            app.drops.count_copy(failure.code());
            app.store.sorted(position, 0, []);
            Ok(())
        }
    }
}

/// One piece, as most uploads are, is taken as it is.
fn joined(mut pieces: Vec<Bytes>) -> Bytes {
    if pieces.len() == 1 {
        return pieces.swap_remove(0);
    }
    pieces.concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_left_unread_up_to_a_number_and_up_to_their_bytes() {
        let unsorted = |count, bytes| UnsortedFigures { count, bytes, since_ms: None };
        assert!(has_room(unsorted(UNSORTED_COUNT_MAX - 1, UNSORTED_BYTES_MAX - 1)));
        assert!(!has_room(unsorted(UNSORTED_COUNT_MAX, 0)), "a flood of tiny ones");
        assert!(!has_room(unsorted(0, UNSORTED_BYTES_MAX)));
    }
}
