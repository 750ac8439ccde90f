//! The store as seen by whoever sends on what it holds for PostHog.

use std::sync::MutexGuard;

use bytes::Bytes;

use super::{Store, locked};
use crate::inbox::{InboxError, Position};
use crate::record;
use crate::spool::{self, Due, Lane, Onward, Spool, SpoolStats};

/// A record that is to be sent on.
#[derive(Debug, Clone)]
pub struct Parcel {
    /// What to tell PostHog beside the body.
    pub onward: Onward,
    /// When it arrived, milliseconds since the epoch, server clock.
    pub received_at_ms: i64,
    /// The body as it came.
    pub body: Bytes,
}

impl Store {
    /// Takes the next record of a lane that may be sent now. Whoever takes it says what became of it, with
    /// [`Store::sent`] or [`Store::not_sent`].
    pub fn next_to_send(&self, lane: Lane, now_ms: i64) -> Option<Due> {
        self.spool().take(lane, now_ms)
    }

    /// Reads a record that is to be sent. Blocks on the disk. `None` where it holds nothing to send.
    pub fn parcel(&self, position: Position) -> Result<Option<Parcel>, InboxError> {
        let record = Bytes::from(self.inbox.read(position)?);
        let Ok((head, body)) = record::decode(&record) else { return Ok(None) };
        let body = record.slice_ref(body);
        Ok(head.onward.map(|onward| Parcel { onward, received_at_ms: head.received_at_ms, body }))
    }

    /// Notes that a record was sent, or never can be.
    pub fn sent(&self, position: Position) {
        let is_done_with = self.spool().done(position);
        if is_done_with {
            self.inbox.release(position);
        }
    }

    /// Notes that a record could not be sent, and is to be tried again.
    pub fn not_sent(&self, position: Position, not_before_ms: i64) {
        self.spool().retry(position, not_before_ms);
    }

    /// Resolves when something is to be sent that was not there before.
    pub async fn more_to_send(&self) {
        self.spooled.notified().await;
    }

    /// Gives up what has waited too long or takes too much, and writes down what was sent. Blocks on the disk.
    pub fn tidy_spool(&self) {
        let Some(options) = &self.options.spool else { return };
        let now_ms = self.now_ms();
        let released = self.spool().give_up(options, self.options.inbox.segment_bytes, now_ms);
        released.into_iter().for_each(|position| self.inbox.release(position));
        let file = {
            let mut spool = self.spool();
            let file = spool.changed_file();
            // Only after the file was made: a segment that is gone now may come back if we end before it is renamed.
            spool.keep_segments(|segment| self.inbox.holds_segment(segment));
            file
        };
        if let Some(file) = file
            && let Err(error) = spool::write(&self.options.dir, &file)
        {
            tracing::warn!(%error, "cannot write down what was sent to PostHog; after a crash it is sent again");
        }
    }

    /// Whether nothing waits to be sent.
    pub fn spool_is_empty(&self) -> bool {
        self.spool().is_empty()
    }

    /// How much waits to be sent.
    pub fn spool_stats(&self) -> SpoolStats {
        self.spool().stats()
    }

    /// Lets go of a record that is sealed, unless it is still to be sent.
    pub(super) fn let_go_sealed(&self, position: Position) {
        let is_done_with = self.spool().sealed(position);
        if is_done_with {
            self.inbox.release(position);
        }
    }

    pub(super) fn spool(&self) -> MutexGuard<'_, Spool> {
        locked(&self.spool)
    }
}
