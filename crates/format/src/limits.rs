//! The bounds on what one upload may be. Each has a name, so that whoever meets it is told which one.

/// What one upload may hold. Past any of these the upload, or the part of it that is too much, is refused by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a body as it comes over the wire.
    pub body_bytes_max: usize,
    /// Bytes of a body once its outer coding is undone.
    pub inflated_bytes_max: usize,
    /// Bytes that one compressed field of an event (`cv`) may inflate to.
    pub field_bytes_max: usize,
    /// Bytes that all compressed fields of one upload may inflate to.
    pub fields_bytes_max: usize,
    /// How many times its own size a body or field may inflate to, once past [`INFLATE_FREE_BYTES`].
    pub inflate_ratio_max: usize,
    /// Levels of nested arrays and objects. A page nested `n` deep needs about `2n + 8`.
    pub nesting_max: usize,
    /// Events of the client protocol (`$snapshot`, `$pageview`, …) in one upload.
    pub items_max: usize,
    /// rrweb events in one upload.
    pub events_max: usize,
    /// Bytes of a window id.
    pub window_id_bytes_max: usize,
}

/// Below this inflated size the ratio is not looked at: small bodies of blanks compress a thousandfold.
pub const INFLATE_FREE_BYTES: usize = 1 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 20 << 20,
            inflated_bytes_max: 64 << 20,
            field_bytes_max: 64 << 20,
            fields_bytes_max: 128 << 20,
            inflate_ratio_max: 200,
            nesting_max: 1_000,
            items_max: 10_000,
            events_max: 50_000,
            window_id_bytes_max: 128,
        }
    }
}

impl Limits {
    /// These limits without what decides whether an upload is taken at all: for uploads that were taken already,
    /// whatever the limits were then. What they inflate to is known, and is `inflated_bytes_max`.
    pub fn for_taken(&self, inflated_bytes_max: usize) -> Self {
        Self {
            body_bytes_max: usize::MAX,
            inflated_bytes_max,
            inflate_ratio_max: usize::MAX,
            nesting_max: usize::MAX,
            items_max: usize::MAX,
            events_max: usize::MAX,
            window_id_bytes_max: usize::MAX,
            ..self.clone()
        }
    }

    /// The most that `stored_bytes` compressed bytes may inflate to under the ratio alone.
    pub fn inflated_bytes_for(&self, stored_bytes: usize) -> usize {
        stored_bytes.saturating_mul(self.inflate_ratio_max).max(INFLATE_FREE_BYTES)
    }
}
