//! Reads the blocks of recordings.

use bytes::Bytes;
use reelcase_format::block::{BlockError, BlockHash, BlockLimits, check_frame, decode_block};

use super::{Store, StoreError, head_of};
use crate::catalog::BlockRow;
use crate::objects::ObjectError;

impl Store {
    /// Reads the zstd frame of a block as it is stored, not verified: the reader's hash is in the row.
    pub async fn read_frame(&self, row: &BlockRow) -> Result<Bytes, StoreError> {
        Ok(self.objects.read(&row.object, row.offset, row.stored_bytes).await?)
    }

    /// Reads the frame of a block and compares it with its hash: what it says is what was stored.
    pub(crate) async fn check_block(&self, row: &BlockRow) -> Result<(), StoreError> {
        let frame = self.read_frame(row).await?;
        check_frame(&frame, &head_of(row), &BlockLimits::default()).map_err(|source| damaged(row, source))
    }

    /// Does as [`Store::read_frame`], from memory where the block is small and was asked for lately.
    pub async fn frame(&self, row: &BlockRow) -> Result<Bytes, StoreError> {
        if let Some(frame) = self.recent_frames.get(&row.object, row.offset) {
            return Ok(frame);
        }
        let frame = self.read_frame(row).await?;
        // What the disk got wrong once is not to be told for as long as it is asked for.
        if BlockHash::of(&frame) == row.hash {
            self.recent_frames.remember(&row.object, row.offset, &frame);
        }
        Ok(frame)
    }

    /// Reads, verifies and decompresses the lines of a block.
    pub async fn read_lines(&self, row: &BlockRow) -> Result<Vec<u8>, StoreError> {
        let frame = self.read_frame(row).await?;
        let head = head_of(row);
        let decoded = tokio::task::spawn_blocking(move || decode_block(&frame, &head, &BlockLimits::default())).await;
        let decoded = decoded.map_err(|error| ObjectError::Sync(std::io::Error::other(error)))?;
        decoded.map_err(|source| damaged(row, source))
    }
}

/// The error of a block that is not what its row says.
pub(crate) fn damaged(row: &BlockRow, source: BlockError) -> StoreError {
    StoreError::Block { object: row.object.clone(), block: row.block, source }
}
