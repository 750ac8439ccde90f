//! Reads a body under three bounds: its own length, the bytes of all bodies in memory, and time.
//!
//! Memory is taken from the budget as bytes arrive, not as they are announced, so that a client that promises much and
//! sends nothing takes nothing from the others. Large bodies never get the last part of it: whoever sends many of them
//! slowly keeps out others of his kind, and not the small uploads that nearly all clients send.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONTENT_LENGTH;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use bytes::{Bytes, BytesMut};
use http_body::Frame;
use http_body_util::BodyExt;
use reelcase_format::upload::is_bomb;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::error::Failure;
use crate::patience::Patience;
use crate::state::App;

/// Bytes of one unit of the budget.
const UNIT_BYTES: usize = 1 << 10;

/// With its first piece a body gets room for as much as is announced, up to so many times the piece: most uploads then
/// grow without being moved, and whoever promises much and sends little takes little.
const FIRST_PIECE_TIMES_MAX: usize = 4;

/// Bodies longer than this are large.
const LARGE_BYTES: usize = 1 << 20;

/// The part of the budget that large bodies leave to others: one in this many bytes.
pub(crate) const SPARED_PART: usize = 4;

/// After this many bytes a body is looked at for a bomb, so that it need not be held to its end.
const PROBE_AT_BYTES: usize = 64 << 10;

/// How many of its bytes are looked at; so few that honest clients do not notice.
const PROBE_BYTES: usize = 4 << 10;

/// Memory that bodies, or what they inflate to, may take all together.
#[derive(Debug)]
pub(crate) struct Budget {
    units: Arc<Semaphore>,
    units_max: usize,
}

/// A part of a budget; given back when dropped.
pub(crate) type Share = OwnedSemaphorePermit;

/// A body in memory, with its share of the budget.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) bytes: Bytes,
    /// Given back when the upload has been answered.
    _share: Option<Share>,
}

impl Held {
    /// Bytes that were counted already.
    pub(crate) fn new(bytes: Bytes, share: Option<Share>) -> Self {
        Self { bytes, _share: share }
    }
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let units_max = (bytes_max / UNIT_BYTES).min(Semaphore::MAX_PERMITS);
        Self { units: Arc::new(Semaphore::new(units_max)), units_max }
    }

    /// Bytes that may still come into memory.
    pub(crate) fn bytes_left(&self) -> usize {
        self.units.available_permits() * UNIT_BYTES
    }

    /// Waits up to `patience` for a share of `bytes`.
    pub(crate) async fn wait_for(&self, bytes: usize, patience: Duration) -> Result<Share, Failure> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).map_err(|_| FULL)?;
        let waiting = timeout(patience, self.units.clone().acquire_many_owned(units));
        waiting.await.map_err(|_| FULL)?.map_err(|_| FULL)
    }

    /// Makes `share` cover `bytes`.
    pub(crate) fn cover(&self, share: &mut Option<Share>, bytes: usize) -> Result<(), Failure> {
        let held = share.as_ref().map_or(0, Share::num_permits);
        let missing = bytes.div_ceil(UNIT_BYTES).saturating_sub(held);
        if missing == 0 {
            return Ok(());
        }
        let spared = if bytes > LARGE_BYTES { self.units_max / SPARED_PART } else { 0 };
        if self.units.available_permits() < missing + spared {
            return Err(FULL);
        }
        let missing = u32::try_from(missing).map_err(|_| FULL)?;
        let more = self.units.clone().try_acquire_many_owned(missing).map_err(|_| FULL)?;
        match share {
            Some(share) => share.merge(more),
            None => *share = Some(more),
        }
        Ok(())
    }
}

/// The client should come back when others are done.
const FULL: Failure = Failure::Busy { what: "too many bytes of uploads are in memory", retry_after_s: 5 };

/// How long a body is, as far as its request says.
pub(crate) fn announced_bytes(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Refuses a body that says of itself that it is too long, before any of it has been read.
pub(crate) fn check_announced(headers: &HeaderMap, limit: usize) -> Result<(), Failure> {
    let is_too_long = announced_bytes(headers).is_some_and(|announced| announced > limit);
    if is_too_long { Err(Failure::BodyTooLarge { limit }) } else { Ok(()) }
}

/// Reads the body of an upload. One that comes by `GET` has none.
pub(crate) async fn of(parts: &Parts, body: Body, limit: usize, app: &App) -> Result<Held, Failure> {
    match parts.method {
        Method::GET | Method::HEAD => Ok(Held::default()),
        _ => read(body, &parts.headers, limit, app).await,
    }
}

/// Reads the whole body, or fails without having taken more than the limits allow.
pub(crate) async fn read(body: Body, headers: &HeaderMap, limit: usize, app: &App) -> Result<Held, Failure> {
    check_announced(headers, limit)?;
    read_pieces(body, announced_bytes(headers).unwrap_or(0), limit, app).await
}

async fn read_pieces(mut body: Body, announced_bytes: usize, limit: usize, app: &App) -> Result<Held, Failure> {
    let mut patience = Patience::with_end(app.options.timeouts.body_piece, app.options.timeouts.body);
    let mut share = None;
    let mut bytes = BytesMut::new();
    let mut is_probed = false;
    while let Some(piece) = next_piece(&mut body, &mut patience).await? {
        // The client went away, or a proxy cut the body: whoever still listens may try again.
        let piece = piece.map_err(|_| Failure::BrokenBody)?;
        let Ok(data) = piece.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return Err(Failure::BodyTooLarge { limit });
        }
        app.budget.cover(&mut share, bytes.len() + data.len())?;
        if bytes.is_empty() {
            bytes.reserve(announced_bytes.min(data.len() * FIRST_PIECE_TIMES_MAX));
        }
        bytes.extend_from_slice(&data);
        if bytes.len() >= PROBE_AT_BYTES && !is_probed {
            is_probed = true;
            if is_bomb(&bytes[..PROBE_BYTES], &app.options.limits) {
                drop((bytes, share));
                swallow(body, limit, &mut patience).await;
                return Err(Failure::Bomb { ratio_max: app.options.limits.inflate_ratio_max });
            }
        }
    }
    Ok(Held { bytes: bytes.freeze(), _share: share })
}

async fn next_piece(
    body: &mut Body,
    patience: &mut Patience,
) -> Result<Option<Result<Frame<Bytes>, axum::Error>>, Failure> {
    patience.renew();
    tokio::select! {
        biased;
        piece = body.frame() => Ok(piece),
        () = patience.over() => Err(Failure::SlowBody),
    }
}

/// Lets the rest of a body go by, so that the client reads the answer instead of a broken connection.
async fn swallow(mut body: Body, mut bytes_max: usize, patience: &mut Patience) {
    while let Ok(Some(Ok(piece))) = next_piece(&mut body, patience).await {
        bytes_max = bytes_max.saturating_sub(piece.data_ref().map_or(0, Bytes::len));
        if bytes_max == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_given_back_with_the_body() {
        let budget = Budget::new(4 * UNIT_BYTES);
        let mut share = None;
        budget.cover(&mut share, 1).unwrap();
        budget.cover(&mut share, UNIT_BYTES).unwrap();
        assert_eq!(budget.bytes_left(), 3 * UNIT_BYTES);
        budget.cover(&mut share, 4 * UNIT_BYTES).unwrap();
        assert!(matches!(budget.cover(&mut share, 4 * UNIT_BYTES + 1), Err(Failure::Busy { .. })));
        drop(share);
        assert_eq!(budget.bytes_left(), 4 * UNIT_BYTES);
    }

    #[test]
    fn large_bodies_leave_a_part_to_the_others() {
        let budget = Budget::new(8 * LARGE_BYTES);
        let (mut large, mut small) = (None, None);
        budget.cover(&mut large, 6 * LARGE_BYTES).unwrap();
        assert!(matches!(budget.cover(&mut large, 6 * LARGE_BYTES + 1), Err(Failure::Busy { .. })));
        budget.cover(&mut small, LARGE_BYTES).unwrap();
    }
}
