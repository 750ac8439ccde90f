//! Work on `.reel` files, and on output files in general.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use reelcase_format::reel::{ReelLimits, verify as verify_reel};

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

    /// Appends bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.write_all(bytes),
            Self::File { unfinished, .. } => unfinished.write_all(bytes),
        }
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

/// Checks files and says what is wrong with them.
pub(crate) fn verify(files: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let mut is_damaged = false;
    for path in files {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let report = verify_reel(&bytes, &ReelLimits::default());
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
            println!("  byte {}{block}: {}", damage.offset, damage.what);
        }
    }
    Ok(if is_damaged { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Opens a file for reading, naming it where that fails.
pub(crate) fn open(path: &Path) -> anyhow::Result<File> {
    File::open(path).with_context(|| format!("cannot read {}", path.display()))
}
