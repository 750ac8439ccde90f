//! Writes a file while what comes next of it is being read.

use std::io::{self, Write};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Pieces that wait to be written. A piece is a block, or a mebibyte of lines.
const PIECES_WAITING_MAX: usize = 4;

/// A writer on a thread of its own.
pub(crate) struct Aside<W> {
    pieces: mpsc::Sender<Vec<u8>>,
    writing: JoinHandle<io::Result<W>>,
}

impl<W: Write + Send + 'static> Aside<W> {
    /// Has `to` be written to by another thread.
    pub(crate) fn new(mut to: W) -> Self {
        let (pieces, mut waiting) = mpsc::channel::<Vec<u8>>(PIECES_WAITING_MAX);
        let writing = tokio::task::spawn_blocking(move || {
            while let Some(piece) = waiting.blocking_recv() {
                to.write_all(&piece)?;
            }
            Ok(to)
        });
        Self { pieces, writing }
    }

    /// Hands over a piece. Returns whether to go on: where not, [`Self::finish`] says why.
    pub(crate) async fn write(&self, piece: Vec<u8>) -> bool {
        self.pieces.send(piece).await.is_ok()
    }

    /// Waits for the last piece and hands the writer back. Fails as its writing did.
    pub(crate) async fn finish(self) -> io::Result<W> {
        drop(self.pieces);
        self.writing.await.map_err(io::Error::other)?
    }
}
