//! Work on `.reel` files, and on output files in general.

use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use reelcase_format::reel::{Damage, ReelError, ReelLimits, verify as verify_reel};
use reelcase_store::FileSource;
use reelcase_transform::html::ReelInHtml;
use reelcase_transform::kind::Kind;
use tempfile::NamedTempFile;

use crate::LEFT_AS_NEWER;
use crate::terminal::{self, counted};

/// Where an export goes: stdout, or a file that has its name only once it is whole.
pub(crate) enum Output {
    Stdout(io::Stdout),
    File { unfinished: NamedTempFile, path: PathBuf },
}

impl Output {
    /// Opens `path`, or stdout for `-`.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Stdout(io::stdout()));
        }
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let unfinished = unfinished_in(dir).with_context(|| format!("cannot write in {}", dir.display()))?;
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

/// Begins a file that is to get a name in `dir`, with the rights that any file gets there: what is exported is for
/// whoever the umask says.
pub(crate) fn unfinished_in(dir: &Path) -> io::Result<NamedTempFile> {
    let mut unfinished = tempfile::Builder::new();
    unfinished.prefix(".reelcase-").permissions(Permissions::from_mode(0o666));
    unfinished.tempfile_in(dir).map_err(|error| {
        // Without the name that it was not to keep.
        let text = error.to_string();
        io::Error::new(error.kind(), text.split(" at path ").next().unwrap_or_default())
    })
}

/// Checks files and says what is wrong with them.
pub(crate) fn verify(files: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let (mut has_damaged, mut has_newer) = (false, false);
    for path in files {
        let report = verify_reel(&source(path)?, &ReelLimits::default());
        // A newer file may end in a way that looks like damage to this release.
        let is_newer = report.damage.iter().any(|Damage { what, .. }| matches!(what, ReelError::TooNew { .. }));
        let verdict = match report.damage.is_empty() {
            true => "whole",
            false if is_newer => "of a newer release",
            false => "damaged",
        };
        has_newer |= is_newer;
        has_damaged |= !is_newer && !report.damage.is_empty();
        println!(
            "{}: {verdict}: {}, {}, {} readable",
            path.display(),
            counted(report.recording_count, "recording"),
            counted(report.block_count, "block"),
            counted(report.event_count, "event")
        );
        for damage in &report.damage {
            let block = damage.block.map_or(String::new(), |block| format!(", block {block}"));
            println!("  byte {}{block}: {}", damage.offset, terminal::line(&damage.what.to_string()));
        }
    }
    Ok(match (has_damaged, has_newer) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::from(LEFT_AS_NEWER),
        (false, false) => ExitCode::SUCCESS,
    })
}

/// Opens a `.reel` file for reading, wherever in it; of a page, the one in it.
pub(crate) fn source(path: &Path) -> anyhow::Result<FileSource> {
    let file = open(path)?;
    let unreadable = || format!("cannot read {}", path.display());
    anyhow::ensure!(file.metadata().with_context(unreadable)?.is_file(), "{} is not a file", path.display());
    let file = match Kind::read(open(path)?).with_context(unreadable)? {
        Kind::Page => kept(ReelInHtml::new(file)).with_context(unreadable)?,
        Kind::Encrypted => anyhow::bail!("{} is encrypted\nhint: reelcase convert takes its --key", path.display()),
        Kind::Reel | Kind::Table | Kind::Zip | Kind::Other => file,
    };
    FileSource::new(file).with_context(unreadable)
}

/// Keeps what is read where it can be read from its end.
pub(crate) fn kept(mut from: impl Read) -> io::Result<File> {
    let mut kept = tempfile::tempfile()?;
    io::copy(&mut from, &mut kept)?;
    Ok(kept)
}

/// Writes the `.reel` file of a page into `dir`.
pub(crate) fn reel_of_page(path: &Path, dir: &Path) -> anyhow::Result<PathBuf> {
    let mut reel = tempfile::Builder::new().suffix(".reel").tempfile_in(dir)?;
    let read = io::copy(&mut ReelInHtml::new(open(path)?), reel.as_file_mut());
    read.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(reel.into_temp_path().keep()?)
}

/// Opens a file for reading, naming it where that fails.
pub(crate) fn open(path: &Path) -> anyhow::Result<File> {
    File::open(path).with_context(|| format!("cannot read {}", path.display()))
}
