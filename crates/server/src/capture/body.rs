//! Reads a body under three bounds: its own length, the bytes of all bodies in memory, and time.
//!
//! Memory is taken from the budget as bytes arrive, not as they are announced, so that a client that promises much and
//! sends nothing takes nothing from the others.

use std::sync::Arc;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::error::Failure;
use crate::state::App;

/// Bytes of one unit of the budget.
const UNIT_BYTES: usize = 1 << 10;

/// Bytes that are set aside before the first byte came.
const FIRST_BYTES: usize = 16 << 10;

/// Memory that bodies may take, all together.
#[derive(Debug)]
pub(crate) struct Budget {
    units: Arc<Semaphore>,
}

/// A body in memory, with its share of the budget.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) bytes: Bytes,
    /// Given back when the upload has been answered.
    _share: Option<OwnedSemaphorePermit>,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { units: Arc::new(Semaphore::new((bytes_max / UNIT_BYTES).min(Semaphore::MAX_PERMITS))) }
    }

    /// Bytes that may still come into memory.
    pub(crate) fn bytes_left(&self) -> usize {
        self.units.available_permits() * UNIT_BYTES
    }

    /// Makes `share` cover `bytes`.
    fn cover(&self, share: &mut Option<OwnedSemaphorePermit>, bytes: usize) -> Result<(), Failure> {
        let held = share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = bytes.div_ceil(UNIT_BYTES).saturating_sub(held);
        if missing == 0 {
            return Ok(());
        }
        let missing = u32::try_from(missing).map_err(|_| Failure::Busy { retry_after_s: 5 })?;
        let more = self.units.clone().try_acquire_many_owned(missing);
        let more = more.map_err(|_| Failure::Busy { retry_after_s: 5 })?;
        match share {
            Some(share) => share.merge(more),
            None => *share = Some(more),
        }
        Ok(())
    }
}

/// Reads the whole body, or fails without having taken more than the limits allow.
pub(crate) async fn read(body: Body, headers: &HeaderMap, app: &App) -> Result<Held, Failure> {
    let limit = app.options.limits.body_bytes_max;
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|announced| announced > limit) {
        return Err(Failure::BodyTooLarge { limit });
    }
    let reading = read_pieces(body, announced.unwrap_or(0).min(FIRST_BYTES), app);
    timeout(app.options.timeouts.body, reading).await.map_err(|_| Failure::SlowBody)?
}

async fn read_pieces(mut body: Body, first_bytes: usize, app: &App) -> Result<Held, Failure> {
    let limit = app.options.limits.body_bytes_max;
    let mut share = None;
    let mut bytes = BytesMut::with_capacity(first_bytes);
    loop {
        let piece = timeout(app.options.timeouts.body_piece, body.frame()).await.map_err(|_| Failure::SlowBody)?;
        let Some(piece) = piece else { break };
        // The client went away, or a proxy cut the body: whoever still listens may try again.
        let piece = piece.map_err(|_| Failure::BrokenBody)?;
        let Ok(data) = piece.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return Err(Failure::BodyTooLarge { limit });
        }
        app.budget.cover(&mut share, bytes.len() + data.len())?;
        bytes.extend_from_slice(&data);
    }
    Ok(Held { bytes: bytes.freeze(), _share: share })
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
}
