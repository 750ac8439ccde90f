//! Uploads that are durable before anybody has looked into them.
//!
//! Whoever answers without having to know what is in an upload lays it by here, which costs a write, and sorts it when
//! there is time, when somebody wants to read, or after a restart. Until then nobody knows what recordings it is of.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use reelcase_format::id::ProjectKey;
use tokio::task::spawn_blocking;

use super::{AcceptError, Store, StoreError, locked};
use crate::inbox::{InboxError, Position};
use crate::record::{self, ItemRef, RecordHead, Unsorted};

/// What was laid by and is not being sorted, oldest first, and behind it what could not be sorted.
#[derive(Debug, Default)]
pub(super) struct UnsortedQueue {
    waiting: VecDeque<(Position, i64)>,
    bytes: u64,
}

/// How much was laid by and is not being sorted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UnsortedFigures {
    /// Uploads.
    pub count: usize,
    /// Bytes of them, as they came.
    pub bytes: u64,
    /// Since when the oldest waits, milliseconds since the epoch, server clock.
    pub since_ms: Option<i64>,
}

impl UnsortedQueue {
    pub(super) fn push(&mut self, position: Position, now_ms: i64) {
        self.waiting.push_back((position, now_ms));
        self.bytes += u64::from(position.len);
    }

    fn take(&mut self) -> Option<Position> {
        let (position, _) = self.waiting.pop_front()?;
        self.bytes = self.bytes.saturating_sub(u64::from(position.len));
        Some(position)
    }

    fn figures(&self) -> UnsortedFigures {
        let since_ms = self.waiting.front().map(|(_, since_ms)| *since_ms);
        UnsortedFigures { count: self.waiting.len(), bytes: self.bytes, since_ms }
    }
}

impl Store {
    /// Makes an upload durable that nobody has looked into. Whoever drops the future may have laid it by, or not.
    pub async fn lay_by(&self, upload: Unsorted) -> Result<(), AcceptError> {
        if self.pending().item_count() >= self.options.pending_items_max {
            return Err(AcceptError::Busy { retry_after_s: 5 });
        }
        let position = self.inbox.append_at_leisure(record::encode_unsorted(upload)).await?;
        locked(&self.unsorted).push(position, self.clock.now_ms());
        if !locked(&self.watchers).is_empty() {
            // One of those who watch may be waiting for it.
            self.unsorted_due.notify_one();
        }
        Ok(())
    }

    /// How much was laid by and is not being sorted.
    pub fn unsorted(&self) -> UnsortedFigures {
        locked(&self.unsorted).figures()
    }

    /// Resolves when something that was laid by is wanted at once.
    pub async fn unsorted_is_due(&self) {
        self.unsorted_due.notified().await;
    }

    /// Takes the oldest upload that was laid by. Whoever takes it says what became of it, with [`Store::sorted`] or
    /// [`Store::not_sorted`]. `None` where there is none, or no room for its events; one that is damaged is passed over,
    /// and reported. Fails where the oldest cannot be read now: it waits behind all others then.
    pub async fn take_unsorted(&self) -> Result<Option<(Position, Unsorted)>, StoreError> {
        while self.pending().item_count() < self.options.pending_items_max {
            let Some(position) = locked(&self.unsorted).take() else { return Ok(None) };
            let inbox = Arc::clone(&self.inbox);
            let read = spawn_blocking(move || inbox.read(position)).await;
            match read.map(|read| read.map(|record| opened(Bytes::from(record)))) {
                Ok(Ok(Some(upload))) => return Ok(Some((position, upload))),
                Ok(Ok(None)) => tracing::error!(?position, "an inbox record cannot be read"),
                Ok(Err(error @ (InboxError::Corrupt { .. } | InboxError::NotFound { .. }))) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "an upload that was laid by is lost");
                }
                Ok(Err(error)) => {
                    self.not_sorted(position);
                    return Err(error.into());
                }
                Err(_) => {
                    self.not_sorted(position);
                    return Err(StoreError::Stopping);
                }
            }
        }
        Ok(None)
    }

    /// Files the events of an upload that was laid by: they wait to be sealed like others. Without any the upload is
    /// let go.
    pub fn sorted<'a>(
        &self,
        position: Position,
        inflated_bytes: u64,
        by_project: impl IntoIterator<Item = (&'a ProjectKey, &'a Vec<ItemRef>)>,
    ) {
        let heads = by_project.into_iter().map(|(project, items)| RecordHead {
            project: project.clone(),
            received_at_ms: 0,
            content_type: None,
            compression: None,
            user_agent: None,
            inflated_bytes,
            items: Some(items.clone()),
            onward: None,
        });
        let heads: Vec<_> = heads.collect();
        let now_ms = self.clock.now_ms();
        // Under one lock: the first project's events must not be sealed, and the record let go, before the next are in.
        let is_to_seal = {
            let mut pending = self.pending();
            heads.iter().filter(|head| pending.insert(head, position, now_ms)).count() > 0
        };
        if !is_to_seal {
            self.inbox.release(position);
        }
        heads.iter().for_each(|head| self.wake_watchers(head));
    }

    /// Puts an upload back that could not be sorted now: behind all others, so that it holds up none of them.
    pub fn not_sorted(&self, position: Position) {
        locked(&self.unsorted).push(position, self.clock.now_ms());
    }
}

fn opened(record: Bytes) -> Option<Unsorted> {
    let (head, body) = record::decode(&record).ok()?;
    let body = vec![record.slice_ref(body)];
    let RecordHead { received_at_ms, content_type, compression, user_agent, .. } = head;
    Some(Unsorted { received_at_ms, content_type, compression, user_agent, body })
}
