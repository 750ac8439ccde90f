//! Segments and their names. The name carries the version of the format and the sequence number.

use super::files::FileHandle;

/// Version of the segment format that this release writes and reads.
pub(super) const FORMAT_VERSION: u32 = 1;

/// Larger sequence numbers are no work of ours, and counting on from one could overflow.
const SEQUENCE_MAX: u64 = 1 << 60;

/// A file that records are, or will be, written into.
pub(super) struct Segment {
    pub(super) sequence: u64,
    pub(super) segment_bytes: u64,
    pub(super) handle: Box<dyn FileHandle>,
}

/// What a file of the inbox is for, said by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Holds records, or is about to.
    Log,
    /// Holds nothing that anybody waits for; to be used again.
    Spare,
    /// Was damaged; everything that could be read of it is sealed. Left to the operator.
    Damaged,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentName {
    pub(super) version: u32,
    pub(super) sequence: u64,
    pub(super) role: Role,
}

impl Role {
    fn suffix(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Spare => "spare",
            Self::Damaged => "damaged",
        }
    }

    /// Names the file of segment `sequence` in this role.
    pub(super) fn name(self, sequence: u64) -> String {
        format!("inbox-{FORMAT_VERSION}-{sequence:020}.{}", self.suffix())
    }
}

impl SegmentName {
    /// Reads a file name. `None` is a file of somebody else.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (version, rest) = name.strip_prefix("inbox-")?.split_once('-')?;
        let (sequence, suffix) = rest.split_once('.')?;
        let role = [Role::Log, Role::Spare, Role::Damaged].into_iter().find(|role| role.suffix() == suffix)?;
        let sequence = sequence.parse().ok().filter(|sequence| *sequence <= SEQUENCE_MAX)?;
        Some(Self { version: version.parse().ok()?, sequence, role })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for role in [Role::Log, Role::Spare, Role::Damaged] {
            let parsed = SegmentName::parse(&role.name(42));
            assert_eq!(parsed, Some(SegmentName { version: FORMAT_VERSION, sequence: 42, role }));
        }
    }

    #[test]
    fn foreign_names_are_left_alone() {
        for name in ["lost+found", "inbox-1-7.tmp", "inbox-1-x.log", "inbox-1-18446744073709551615.log", "inbox-.log"] {
            assert_eq!(SegmentName::parse(name), None, "{name}");
        }
    }
}
