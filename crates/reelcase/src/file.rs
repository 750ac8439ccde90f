//! Work on `.reel` files, and on output files in general.

use std::fs::{self, File, Permissions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use reelcase_format::count::counted;
use reelcase_format::reel::{
    Damage, Index, NotSigned, RecordingEntry, Recovered, ReelError, ReelLimits, is_among, recover,
    verify as verify_reel,
};
use reelcase_format::sign::PublicKey;
use reelcase_server::export::holds_said;
use reelcase_store::FileSource;
use reelcase_transform::format::Format;
use reelcase_transform::html::ReelInHtml;
use reelcase_transform::kind::Kind;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::talk::{self, Stdout};
use crate::terminal;
use crate::{LEFT_AS_NEWER, sign};

/// What file to make of a recording.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileForm {
    pub(crate) format: Format,
    /// Whether it tells what people said of the recording.
    pub(crate) has_said: bool,
}

impl FileForm {
    /// Fails where the form has no place for what is asked of it.
    pub(crate) fn new(format: Format, has_said: bool) -> anyhow::Result<Self> {
        if has_said && !holds_said(format) {
            let name = format.info().name;
            bail!("{name} has no place for comments and tags\nhint: --format reel, or html");
        }
        Ok(Self { format, has_said })
    }
}

impl From<Format> for FileForm {
    fn from(format: Format) -> Self {
        Self { format, has_said: false }
    }
}

/// Where an export goes: stdout, a file that has its name only once it is whole, or what has a name and is no file, such as
/// a device or a pipe, which is written to as it is.
pub(crate) enum Output {
    Stdout(Stdout),
    File { unfinished: NamedTempFile, path: PathBuf },
    Special { file: File, path: PathBuf },
}

impl Output {
    /// Opens `path`, or stdout for `-`.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Stdout(Stdout::new()));
        }
        // A link goes on leading to what it leads to.
        let led_to = path.is_symlink().then(|| fs::canonicalize(path).ok()).flatten();
        let path = led_to.unwrap_or_else(|| path.to_owned());
        match fs::metadata(&path).map(|there| there.file_type()) {
            Ok(kind) if kind.is_dir() => bail!("cannot write {}: it is a directory", path.display()),
            Ok(kind) if !kind.is_file() => {
                let file = File::options().write(true).open(&path);
                let file = file.with_context(|| format!("cannot write {}", path.display()))?;
                return Ok(Self::Special { file, path });
            }
            Ok(_) | Err(_) => {}
        }
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let unfinished = unfinished_in(dir).with_context(|| format!("cannot write in {}", dir.display()))?;
        Ok(Self::File { unfinished, path })
    }

    /// Makes what was written last, under its name.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::Stdout(mut stdout) => stdout.flush()?,
            Self::Special { file, path } => match file.sync_all() {
                // A pipe, or a device that keeps nothing that could be lost.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                kept => kept.with_context(|| format!("cannot write {}", path.display()))?,
            },
            Self::File { unfinished, path } => {
                let kept = unfinished.as_file().sync_all().and_then(|()| Ok(unfinished.persist(&path)?));
                kept.with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
        Ok(())
    }
}

/// Insists that nobody's terminal gets what is no text.
pub(crate) fn check_readable(format: Format, output: &Path) -> anyhow::Result<()> {
    let is_text = !matches!(format, Format::Reel | Format::JsonlGzip | Format::JsonlZstd);
    if !is_text && output == Path::new("-") && io::stdout().is_terminal() {
        bail!("{} is no text, and stdout is a terminal\nhint: name a file to write, or pipe it on", format.info().name);
    }
    Ok(())
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (written, path) = match self {
            Self::Stdout(stdout) => return stdout.write(bytes),
            Self::File { unfinished, path } => (unfinished.write(bytes), path),
            Self::Special { file, path } => (file.write(bytes), path),
        };
        written.map_err(|error| {
            let what = format!("cannot write {}: {}", path.display(), without_path(&error));
            io::Error::new(error.kind(), what)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.flush(),
            Self::File { unfinished, .. } => unfinished.flush(),
            Self::Special { file, .. } => file.flush(),
        }
    }
}

/// Begins a file that is to get a name in `dir`, with the rights that any file gets there: what is exported is for
/// whoever the umask says.
pub(crate) fn unfinished_in(dir: &Path) -> io::Result<NamedTempFile> {
    let mut unfinished = tempfile::Builder::new();
    unfinished.prefix(".reelcase-").permissions(Permissions::from_mode(0o666));
    unfinished.tempfile_in(dir).map_err(|error| io::Error::new(error.kind(), without_path(&error)))
}

/// What is wrong with an unfinished file, without the name that it was not to keep.
fn without_path(error: &io::Error) -> String {
    error.to_string().split(" at path ").next().unwrap_or_default().to_owned()
}

/// Checks files and says what is wrong with them, and who signed them. With `wanted`, only what was signed with that key
/// is accepted.
pub(crate) fn verify(files: &[PathBuf], wanted: Option<&PublicKey>) -> anyhow::Result<ExitCode> {
    let (mut has_damaged, mut has_newer) = (false, false);
    for path in files {
        match verify_one(path, wanted)? {
            Verdict::Accepted => {}
            Verdict::Refused => has_damaged = true,
            Verdict::Newer => has_newer = true,
        }
    }
    Ok(match (has_damaged, has_newer) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::from(LEFT_AS_NEWER),
        (false, false) => ExitCode::SUCCESS,
    })
}

/// What a file is found to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Accepted,
    Refused,
    Newer,
}

fn verify_one(path: &Path, wanted: Option<&PublicKey>) -> anyhow::Result<Verdict> {
    if Kind::read(open(path)?).is_ok_and(|kind| kind == Kind::Encrypted)
        && let Some(verdict) = verify_stored(path, wanted)?
    {
        return Ok(verdict);
    }
    let report = verify_reel(&source(path)?, &ReelLimits::default());
    // A newer file may end in a way that looks like damage to this release.
    let is_newer = report.damage.iter().any(|Damage { what, .. }| matches!(what, ReelError::TooNew { .. }));
    let (said, verdict) = match report.damage.is_empty() {
        true => ("whole", Verdict::Accepted),
        false if is_newer => ("of a newer release", Verdict::Newer),
        false => ("damaged", Verdict::Refused),
    };
    print_line!(
        "{}: {said}: {}, {}, {} readable",
        path.display(),
        counted(report.recording_count, "recording"),
        counted(report.block_count, "block"),
        counted(report.event_count, "event")
    )?;
    for damage in &report.damage {
        let block = damage.block.map_or(String::new(), |block| format!(", block {block}"));
        print_line!("  byte {}{block}: {}", damage.offset, terminal::line(&damage.what.to_string()))?;
    }
    // What holds of a damaged file says nothing.
    if report.damage.is_empty() {
        print_signers(&report.signers)?;
    }
    accepted(verdict, wanted.map(|wanted| report.is_signed_by(wanted)))
}

/// Checks an encrypted file by the signatures beside it. Nothing where there are none and none are wanted.
fn verify_stored(path: &Path, wanted: Option<&PublicKey>) -> anyhow::Result<Option<Verdict>> {
    let signers = match sign::signers_beside(path)? {
        None if wanted.is_none() => return Ok(None),
        None => Vec::new(),
        Some(Ok(signers)) => signers,
        Some(Err(error)) => {
            print_line!("{}: damaged: {}", path.display(), terminal::line(&error.to_string()))?;
            return Ok(Some(Verdict::Refused));
        }
    };
    print_line!("{}: encrypted, and not looked into", path.display())?;
    print_signers(&signers)?;
    accepted(Verdict::Accepted, wanted.map(|wanted| is_among(wanted, &signers))).map(Some)
}

fn print_signers(signers: &[PublicKey]) -> anyhow::Result<()> {
    sign::said_of(signers).map_or(Ok(()), |said| print_line!("  {said}"))
}

/// The verdict where a signature is wanted, which says why it is another one.
fn accepted(verdict: Verdict, signed: Option<Result<(), NotSigned>>) -> anyhow::Result<Verdict> {
    let Some(Err(why)) = signed else { return Ok(verdict) };
    print_line!("  not accepted: {why}")?;
    Ok(Verdict::Refused)
}

/// Prints what is in a file, whether it is whole, and who signed it.
pub(crate) fn show(path: &Path) -> anyhow::Result<()> {
    let reel = source(path)?;
    let Recovered { index, .. } = recover(&reel, &ReelLimits::default());
    let index = index.with_context(|| format!("{} has no index that can be read", path.display()))?;
    let report = verify_reel(&reel, &ReelLimits::default());
    let is_whole = report.damage.is_empty();
    // What holds of a damaged file says nothing.
    let signers = report.signers.iter().filter(|_| is_whole).map(PublicKey::to_string).collect::<Vec<_>>();
    let recordings = index.recordings.iter().map(shown).collect::<Result<Vec<_>, _>>()?;
    let Index { object, creator, .. } = index;
    let shown = json!({ "object": object, "creator": creator, "is_whole": is_whole, "signed_by": signers,
        "recordings": recordings });
    talk::print_json(&shown)
}

/// A recording of a file and its figures, in the form in which a store shows them.
fn shown(entry: &RecordingEntry) -> serde_json::Result<Value> {
    let mut shown = serde_json::to_value(&entry.summary)?;
    shown["id"] = entry.id.as_str().into();
    shown["project"] = entry.project.as_str().into();
    Ok(shown)
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
