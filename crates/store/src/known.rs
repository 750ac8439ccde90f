//! Where blocks are that were asked for lately, so that sending one costs no look into the catalog.
//!
//! What a block is never changes, and its object's name is never given to another, so nothing here can be outdated; it
//! is only forgotten, with its object, when that is swept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use reelcase_format::id::{ProjectKey, RecordingId};

use crate::catalog::BlockRow;
use crate::store::locked;

/// Most blocks that are remembered. Beyond it all are forgotten, and remembered anew as they are asked for.
const BLOCKS_MAX: usize = 8_192;

/// Blocks by object and ordinal.
#[derive(Debug, Default)]
pub(crate) struct KnownBlocks {
    objects: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_object: HashMap<String, HashMap<u32, Arc<BlockRow>>>,
    block_count: usize,
}

impl KnownBlocks {
    pub(crate) fn get(&self, object: &str, block: u32) -> Option<Arc<BlockRow>> {
        locked(&self.objects).by_object.get(object)?.get(&block).cloned()
    }

    pub(crate) fn remember(&self, rows: impl IntoIterator<Item = BlockRow>) {
        let mut known = locked(&self.objects);
        for row in rows {
            if known.block_count >= BLOCKS_MAX {
                *known = Known::default();
            }
            let blocks = known.by_object.entry(row.object.clone()).or_default();
            if blocks.insert(row.block, Arc::new(row)).is_none() {
                known.block_count += 1;
            }
        }
    }

    pub(crate) fn forget_recording(&self, project: &ProjectKey, id: &RecordingId) {
        let mut known = locked(&self.objects);
        for blocks in known.by_object.values_mut() {
            blocks.retain(|_, row| row.project != *project || row.recording != *id);
        }
        known.block_count = known.by_object.values().map(HashMap::len).sum();
    }

    pub(crate) fn forget_object(&self, object: &str) {
        let mut known = locked(&self.objects);
        let forgotten = known.by_object.remove(object).map_or(0, |blocks| blocks.len());
        known.block_count -= forgotten;
    }
}
