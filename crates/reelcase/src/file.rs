//! Work on `.reel` files, and on output files in general.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use reelcase_format::reel::{ReelLimits, Source, verify as verify_reel};

use crate::terminal;

/// Where an export goes: stdout, or a file that has its name only once it is whole.
pub(crate) enum Output {
    Stdout(io::Stdout),
    File { unfinished: tempfile::NamedTempFile, path: PathBuf },
}

impl Output {
    /// Opens `path`, or stdout for `-`.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Stdout(io::stdout()));
        }
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let unfinished = tempfile::Builder::new().prefix(".reelcase-").tempfile_in(dir);
        let unfinished = unfinished.with_context(|| format!("cannot write in {}", dir.display()))?;
        Ok(Self::File { unfinished, path: path.to_owned() })
    }

    /// Makes what was written last, under its name.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::Stdout(mut stdout) => stdout.flush()?,
            Self::File { unfinished, path } => {
                unfinished.as_file().sync_all()?;
                unfinished.persist(&path).with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
        Ok(())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(stdout) => stdout.write(bytes),
            Self::File { unfinished, .. } => unfinished.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.flush(),
            Self::File { unfinished, .. } => unfinished.flush(),
        }
    }
}

/// Checks files and says what is wrong with them.
pub(crate) fn verify(files: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let mut is_damaged = false;
    for path in files {
        let report = verify_reel(&ReelFile::open(path)?, &ReelLimits::default());
        let verdict = if report.damage.is_empty() { "whole" } else { "damaged" };
        println!(
            "{}: {verdict}: {} recordings, {} blocks, {} events readable",
            path.display(),
            report.recording_count,
            report.block_count,
            report.event_count
        );
        for damage in &report.damage {
            is_damaged = true;
            let block = damage.block.map_or(String::new(), |block| format!(", block {block}"));
            println!("  byte {}{block}: {}", damage.offset, terminal::line(&damage.what.to_string()));
        }
    }
    Ok(if is_damaged { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A file whose parts are read as they are wanted.
pub(crate) struct ReelFile {
    file: File,
    file_bytes: u64,
}

impl ReelFile {
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = open(path)?;
        let metadata = file.metadata().with_context(|| format!("cannot read {}", path.display()))?;
        anyhow::ensure!(metadata.is_file(), "{} is not a file", path.display());
        Ok(Self { file, file_bytes: metadata.len() })
    }

    /// A file that has no name any more.
    pub(crate) fn of(file: File) -> io::Result<Self> {
        let file_bytes = file.metadata()?.len();
        Ok(Self { file, file_bytes })
    }
}

impl Source for ReelFile {
    fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Cow<'_, [u8]>> {
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(Cow::Owned(bytes))
    }
}

/// Opens a file for reading, naming it where that fails.
pub(crate) fn open(path: &Path) -> anyhow::Result<File> {
    File::open(path).with_context(|| format!("cannot read {}", path.display()))
}
