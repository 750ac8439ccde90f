//! What was sent where, a line for each upload. Of two lines on one recording the later counts; the last may be torn.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::bulk::Listed;

/// A line.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    to: String,
    key: String,
    project: String,
    recording: String,
    /// The state of the recording: when something was last added to it.
    updated_at_ms: i64,
    #[serde(flatten)]
    sent: Sent,
}

/// How far a recording was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sent {
    /// What was added to its times.
    pub(super) shift_ms: i64,
    /// Uploads that were taken, from the first.
    pub(super) uploads: u64,
    pub(super) is_whole: bool,
}

/// See the module's page.
pub(super) struct Log {
    file: File,
    to: String,
    key: String,
    /// By project, recording and state.
    sent: BTreeMap<(String, String, i64), Sent>,
}

impl Log {
    pub(super) fn open(path: &Path, to: &str, key: &str) -> anyhow::Result<Self> {
        let unusable = || format!("cannot use {}", path.display());
        let file = OpenOptions::new().create(true).read(true).append(true).open(path).with_context(unusable)?;
        let mut sent = BTreeMap::new();
        let mut ends_well = true;
        for line in BufReader::new(&file).split(b'\n') {
            let line = line.with_context(unusable)?;
            let read = serde_json::from_slice::<Line>(&line);
            ends_well = read.is_ok();
            if let Ok(line) = read
                && (line.to.as_str(), line.key.as_str()) == (to, key)
            {
                sent.insert((line.project, line.recording, line.updated_at_ms), line.sent);
            }
        }
        let mut log = Self { file, to: to.to_owned(), key: key.to_owned(), sent };
        if !ends_well {
            // A torn line stays a line of its own.
            log.file.write_all(b"\n").with_context(unusable)?;
        }
        Ok(log)
    }

    /// How far this state of a recording was sent.
    pub(super) fn of(&self, listed: &Listed) -> Option<Sent> {
        self.sent.get(&(listed.project.clone(), listed.id.clone(), listed.updated_at_ms)).copied()
    }

    pub(super) fn note(&mut self, listed: &Listed, sent: &Sent) -> anyhow::Result<()> {
        let line = Line {
            to: self.to.clone(),
            key: self.key.clone(),
            project: listed.project.clone(),
            recording: listed.id.clone(),
            updated_at_ms: listed.updated_at_ms,
            sent: *sent,
        };
        let mut bytes = serde_json::to_vec(&line)?;
        bytes.push(b'\n');
        // One write, so that a run which is killed leaves a whole line or the beginning of one.
        self.file.write_all(&bytes)?;
        self.sent.insert((line.project, line.recording, line.updated_at_ms), *sent);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(updated_at_ms: i64) -> Listed {
        let (id, project) = ("a".to_owned(), "phc_x".to_owned());
        Listed { id, project, start_ms: 0, updated_at_ms, event_count: 1, stored_bytes: 0, plain_bytes: 0 }
    }

    #[test]
    fn what_was_sent_to_one_place_is_known_after_a_torn_line_and_elsewhere_it_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let sent = |uploads| Sent { shift_ms: 7, uploads, is_whole: false };
        let mut log = Log::open(&path, "http://a/s/", "phc_a").unwrap();
        log.note(&listed(5), &sent(1)).unwrap();
        log.note(&listed(5), &sent(2)).unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"to\":\"htt").unwrap();
        let mut log = Log::open(&path, "http://a/s/", "phc_a").unwrap();
        assert_eq!(log.of(&listed(5)), Some(sent(2)));
        assert_eq!(log.of(&listed(6)), None, "more was added to it");
        log.note(&listed(6), &sent(3)).unwrap();
        assert_eq!(Log::open(&path, "http://a/s/", "phc_a").unwrap().of(&listed(6)), Some(sent(3)));
        assert_eq!(Log::open(&path, "http://a/s/", "phc_b").unwrap().of(&listed(5)), None);
    }
}
