//! Small blocks that were asked for lately, as they are stored: a link that goes round a team, or a frame on somebody's
//! page, is asked for the same ones over and over.
//!
//! Two generations, each of half the room: what is asked for moves to the young one, and when that is full, the old one
//! is forgotten and the young one grows old. What a block is never changes; it is only forgotten with its object.

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;

use crate::store::locked;

/// Longer frames are read from the disk, where their bytes cost more than finding them.
const FRAME_BYTES_MAX: usize = 128 << 10;

/// Most bytes of one generation.
const GENERATION_BYTES_MAX: usize = 8 << 20;

/// Frames by object and offset.
#[derive(Debug, Default)]
pub(crate) struct RecentFrames(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: Frames,
    young_bytes: usize,
    old: Frames,
}

type Frames = HashMap<String, HashMap<u64, Bytes>>;

impl RecentFrames {
    pub(crate) fn get(&self, object: &str, offset: u64) -> Option<Bytes> {
        let mut generations = locked(&self.0);
        if let Some(frame) = generations.young.get(object).and_then(|frames| frames.get(&offset)) {
            return Some(frame.clone());
        }
        let frame = generations.old.get_mut(object)?.remove(&offset)?;
        generations.insert(object, offset, frame.clone());
        Some(frame)
    }

    pub(crate) fn remember(&self, object: &str, offset: u64, frame: &Bytes) {
        if frame.len() <= FRAME_BYTES_MAX {
            locked(&self.0).insert(object, offset, frame.clone());
        }
    }

    pub(crate) fn forget_object(&self, object: &str) {
        let mut generations = locked(&self.0);
        let forgotten = generations.young.remove(object).unwrap_or_default();
        generations.young_bytes -= forgotten.values().map(Bytes::len).sum::<usize>();
        generations.old.remove(object);
    }
}

impl Generations {
    fn insert(&mut self, object: &str, offset: u64, frame: Bytes) {
        if self.young_bytes + frame.len() > GENERATION_BYTES_MAX {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += frame.len();
        let replaced = self.young.entry(object.to_owned()).or_default().insert(offset, frame);
        self.young_bytes -= replaced.map_or(0, |frame| frame.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Bytes = Bytes::from_static(&[7; 100 << 10]);

    fn bytes_held(frames: &RecentFrames) -> usize {
        let generations = locked(&frames.0);
        [&generations.young, &generations.old]
            .into_iter()
            .flat_map(HashMap::values)
            .flat_map(HashMap::values)
            .map(Bytes::len)
            .sum()
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_makes_room() {
        let frames = RecentFrames::default();
        for offset in 0..10_000 {
            frames.remember("one", offset, &FRAME);
            assert!(frames.get("one", 0).is_some(), "at {offset}");
        }
        assert!(frames.get("one", 1).is_none());
        assert!(bytes_held(&frames) <= 2 * GENERATION_BYTES_MAX);
    }

    #[test]
    fn a_swept_object_leaves_nothing() {
        let frames = RecentFrames::default();
        for offset in 0..100 {
            frames.remember("one", offset, &FRAME);
        }
        frames.remember("other", 0, &FRAME);
        frames.forget_object("one");
        assert_eq!((frames.get("one", 99), bytes_held(&frames)), (None, FRAME.len()));
        assert_eq!(locked(&frames.0).young_bytes, FRAME.len());
    }

    #[test]
    fn one_that_comes_twice_counts_once_and_a_long_one_not_at_all() {
        let frames = RecentFrames::default();
        frames.remember("one", 0, &FRAME);
        frames.remember("one", 0, &FRAME);
        frames.remember("one", 1, &Bytes::from(vec![0; FRAME_BYTES_MAX + 1]));
        assert_eq!(locked(&frames.0).young_bytes, FRAME.len());
        assert!(frames.get("one", 1).is_none());
    }
}
