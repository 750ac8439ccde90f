//! Which recordings a webhook has told of, as far as that is remembered: by this the notice of one that goes on after
//! its end is told apart from that of another one.

use std::collections::VecDeque;

use reelcase_format::id::{ProjectKey, RecordingId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Recordings that are remembered. Whoever goes on does so within the hour, most often.
const FOUND_MAX: usize = 5_000;

/// Bytes of a recording's mark: among as many as are remembered, two recordings with one mark are a matter of ages.
const MARK_BYTES: usize = 6;

type Mark = [u8; MARK_BYTES];

/// See the module's page. In the file it is one text, the marks in hexadecimal one after the other.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Found(VecDeque<Mark>);

impl Found {
    /// Takes note of a recording. Says whether it was noted before.
    pub(crate) fn note(&mut self, project: &ProjectKey, recording: &RecordingId) -> bool {
        let hash = blake3::hash(format!("{project}\n{recording}").as_bytes());
        let mut mark = Mark::default();
        mark.copy_from_slice(&hash.as_bytes()[..MARK_BYTES]);
        let known = self.0.iter().position(|known| *known == mark);
        known.and_then(|at| self.0.remove(at));
        self.0.push_back(mark);
        if self.0.len() > FOUND_MAX {
            self.0.pop_front();
        }
        known.is_some()
    }
}

impl Serialize for Found {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.iter().flatten().map(|byte| format!("{byte:02x}")).collect::<String>())
    }
}

impl<'de> Deserialize<'de> for Found {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let flawed = || de::Error::custom("found holds what is no mark of a recording");
        let digits: Vec<u8> = text
            .chars()
            .map(|digit| digit.to_digit(16).map(|digit| digit as u8))
            .collect::<Option<_>>()
            .ok_or_else(flawed)?;
        let marks = digits.chunks(2 * MARK_BYTES).map(|digits| {
            let mut mark = Mark::default();
            let bytes = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]);
            mark.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
            (digits.len() == 2 * MARK_BYTES).then_some(mark)
        });
        marks.collect::<Option<_>>().map(Self).ok_or_else(flawed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_remembered_in_the_file_too_until_many_others_came() {
        let project: ProjectKey = "phc_test".parse().unwrap();
        let id = |number: usize| format!("session-{number}").parse::<RecordingId>().unwrap();
        let mut found = Found::default();
        assert!(!found.note(&project, &id(0)));
        assert!(!found.note(&"phc_other".parse().unwrap(), &id(0)), "of another project");
        let text = serde_json::to_string(&found).unwrap();
        let mut found: Found = serde_json::from_str(&text).unwrap();
        assert!(found.note(&project, &id(0)));
        for number in 1..FOUND_MAX {
            assert!(!found.note(&project, &id(number)));
        }
        assert!(found.note(&project, &id(0)), "it was noted anew");
        for number in FOUND_MAX..2 * FOUND_MAX {
            assert!(!found.note(&project, &id(number)));
        }
        assert!(!found.note(&project, &id(0)), "forgotten");
        assert!(serde_json::to_string(&found).unwrap().len() <= FOUND_MAX * 2 * MARK_BYTES + 2);
        for flawed in ["\"123\"", "\"zz0000000000\"", "7"] {
            assert!(serde_json::from_str::<Found>(flawed).is_err(), "{flawed}");
        }
    }
}
