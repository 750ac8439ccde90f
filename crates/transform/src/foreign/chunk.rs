//! Bodies that PostHog cut into pieces to fit them into rows of a table, as it did until 2023.
//!
//! The pieces of one body share an id and may lie anywhere among those of others. Joined they are base64 of gzip of
//! UTF-16 of JSON.

use std::collections::BTreeMap;

use reelcase_format::count::counted;

use super::Limits;
use super::event::Chunk;
use super::input::InputError;

/// The bodies that are not whole yet.
#[derive(Default)]
pub(super) struct Chunks {
    bodies: BTreeMap<String, Body>,
    held_bytes: usize,
}

struct Body {
    /// Where its first piece was found.
    at: u64,
    count: usize,
    pieces: BTreeMap<usize, String>,
}

impl Chunks {
    /// Takes a piece that was found at `at`. Returns its body, if that is whole now.
    pub(super) fn add(&mut self, chunk: Chunk, at: u64, limits: &Limits) -> Result<Option<Vec<u8>>, InputError> {
        let Chunk { id, index, count, data } = chunk;
        self.held_bytes += id.len() + data.len();
        if self.held_bytes > limits.event_bytes_max {
            return Err(InputError::TooLarge);
        }
        let body = self.bodies.entry(id.clone()).or_insert(Body { at, count, pieces: BTreeMap::new() });
        // A row that is there twice says the same twice.
        body.pieces.insert(index, data);
        if body.pieces.len() < body.count {
            return Ok(None);
        }
        let whole: Vec<u8> = body.pieces.values().flat_map(|piece| piece.bytes()).collect();
        self.bodies.remove(&id);
        self.held_bytes = self.held_bytes.saturating_sub(whole.len());
        Ok(Some(whole))
    }

    /// The first body of which pieces are missing, and is forgotten now: where it was found, and what is missing.
    pub(super) fn next_unfinished(&mut self) -> Option<(u64, String)> {
        let (id, body) = self.bodies.pop_first()?;
        let (there_count, chunks) = (body.pieces.len(), counted(body.count as u64, "chunk"));
        let are = if there_count == 1 { "is" } else { "are" };
        Some((body.at, format!("only {there_count} of {chunks} of {id} {are} there")))
    }
}
