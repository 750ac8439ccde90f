//! Which objects of buckets were taken in, so that a run which is cut short does not fetch them again.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

/// A line for each object, below the directory of the store.
const NAME: &str = "importing-objects";

/// See the module's page.
pub(super) struct Done {
    path: PathBuf,
    known: HashSet<String>,
    /// Made with the first line.
    file: Option<File>,
}

impl Done {
    /// Reads what an earlier run left, if any.
    pub(super) fn open(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(NAME);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text.with_context(|| format!("cannot read {}", path.display()))?,
        };
        // A line that a kill cut short has no end, and names nothing.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        Ok(Self { known: whole.lines().map(str::to_owned).collect(), path, file: None })
    }

    /// Whether this state of an object was taken in.
    pub(super) fn has(&self, object: &str) -> bool {
        self.known.contains(object)
    }

    /// Notes that it is.
    pub(super) fn note(&mut self, object: &str) -> anyhow::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                fs::create_dir_all(self.path.parent().unwrap_or(Path::new(".")))?;
                let text = self.known.iter().map(|object| format!("{object}\n")).collect::<String>();
                fs::write(&self.path, text)?;
                self.file.insert(OpenOptions::new().append(true).open(&self.path)?)
            }
        };
        let written = file.write_all(format!("{object}\n").as_bytes());
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Forgets all of it: the next run begins anew.
    pub(super) fn clear(self) -> anyhow::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_known_after_a_kill_and_a_torn_line_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut done = Done::open(dir.path()).unwrap();
        done.note("s3://b/one 1").unwrap();
        drop(done);
        let path = dir.path().join(NAME);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"s3://b/tw").unwrap();
        let mut done = Done::open(dir.path()).unwrap();
        assert!(done.has("s3://b/one 1") && !done.has("s3://b/tw"));
        done.note("s3://b/two 1").unwrap();
        let done = Done::open(dir.path()).unwrap();
        assert!(done.has("s3://b/one 1") && done.has("s3://b/two 1") && !done.has("s3://b/tws3://b/two 1"));
        done.clear().unwrap();
        assert!(!path.exists());
    }
}
