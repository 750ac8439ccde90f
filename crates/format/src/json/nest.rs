//! Which containers are open: a bit each, so that deep nesting is cheap and no nesting is free.

const WORD_BITS: usize = u64::BITS as usize;

/// The containers around a value, innermost last. A set bit is an object, a clear one an array.
#[derive(Default)]
pub(super) struct Nest {
    /// The innermost up to 64 levels, the innermost in the lowest bit.
    word: u64,
    /// Full words further out. Untouched, and so unallocated, below 65 levels.
    outer: Vec<u64>,
    depth: usize,
}

impl Nest {
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Whether the innermost container is an object. `None` when all are closed.
    #[inline]
    pub(super) fn innermost(&self) -> Option<bool> {
        if self.depth == 0 { None } else { Some(self.word & 1 == 1) }
    }

    #[inline]
    pub(super) fn open(&mut self, is_object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(WORD_BITS) {
            self.outer.push(self.word);
        }
        self.word = self.word << 1 | u64::from(is_object);
        self.depth += 1;
    }

    #[inline]
    pub(super) fn close(&mut self) {
        self.word >>= 1;
        self.depth -= 1;
        if self.depth > 0 && self.depth.is_multiple_of(WORD_BITS) {
            self.word = self.outer.pop().unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_close_in_reverse_order() {
        let is_object = |level: usize| level.is_multiple_of(3) || level.is_multiple_of(7);
        let mut nest = Nest::default();
        (0..1_000).for_each(|level| nest.open(is_object(level)));
        for level in (0..1_000).rev() {
            assert_eq!((nest.depth(), nest.innermost()), (level + 1, Some(is_object(level))));
            nest.close();
        }
        assert_eq!(nest.innermost(), None);
    }
}
