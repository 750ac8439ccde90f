//! Signed `.reel` files: makes keys, signs with them, and tells who signed.
//!
//! A `.reel` file has its signatures in it. An encrypted one has them in a file beside it, made over what is stored, so
//! that whoever cannot open it can check it all the same.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use reelcase_format::reel::{
    NotSigned, ReelError, ReelLimits, SIGNATURE_FRAME_BYTES, SIGNATURES_MAX, SignError, Signed, is_among, listed,
    sign as sign_reel, sign_stored, stored_signers, verify,
};
use reelcase_format::sign::{KeyError, PublicKey, SEED_BYTES, SigningKey, private_pem};
use reelcase_store::FileSource;
use reelcase_transform::kind::Kind;

use crate::file::{self, unfinished_in};
use crate::{share, terminal};

/// Longest file of a key.
const KEY_FILE_BYTES_MAX: u64 = 16 << 10;

/// How the name of an encrypted file goes on in that of its signatures.
const BESIDE_ENDING: &str = ".sig";

/// Bytes that are read of signatures: one more than there can be, so that too many are not cut to enough.
pub(crate) const BESIDE_BYTES_MAX: u64 = (SIGNATURES_MAX * SIGNATURE_FRAME_BYTES + 1) as u64;

/// `reelcase sign`.
#[derive(Debug, Args)]
pub(crate) struct SignArgs {
    /// The files: .reel, or encrypted.
    files: Vec<PathBuf>,
    /// The file of the private key. Without files to sign, its public half is printed.
    #[arg(long, value_name = "KEYFILE", required_unless_present = "new_key")]
    key: Option<PathBuf>,
    /// Make a key pair: write the private half into this new file, and print the public one.
    #[arg(long, value_name = "KEYFILE", conflicts_with_all = ["files", "key"])]
    new_key: Option<PathBuf>,
}

/// Makes a key, or signs files. The code tells whether all of them are signed now.
pub(crate) fn sign(args: SignArgs) -> anyhow::Result<ExitCode> {
    if let Some(path) = args.new_key {
        print_line!("{}", make_key(&path)?)?;
        say!("wrote {}; whoever has it signs as you, and nobody can make it again", path.display());
        return Ok(ExitCode::SUCCESS);
    }
    let key = read_key(&args.key.context("--key is missing")?)?;
    if args.files.is_empty() {
        print_line!("{}", key.public())?;
    }
    let mut code = ExitCode::SUCCESS;
    for path in &args.files {
        match sign_file(path, &key) {
            Ok(verb) => print_line!("{}: {verb} by {}", path.display(), key.public())?,
            // One that is damaged must not cost the others.
            Err(error) => {
                say!("not signed: {}: {}", path.display(), terminal::message(&format!("{error:#}")));
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

/// Reads the file of a private key.
pub(crate) fn read_key(path: &Path) -> anyhow::Result<Arc<SigningKey>> {
    let key = SigningKey::from_pem(&key_text(path)?);
    let hint = "hint: `reelcase sign --new-key FILE` makes a key";
    let key = key.map_err(|error| anyhow::anyhow!("{} is no key to sign with: {error}\n{hint}", path.display()));
    Ok(Arc::new(key?))
}

/// Takes a public key, or the name of a file that holds one.
pub(crate) fn public_key(text: &str) -> Result<PublicKey, String> {
    match text.parse::<PublicKey>() {
        Err(KeyError::NoPublicKey) if Path::new(text).exists() => {
            let text = key_text(Path::new(text)).map_err(|error| format!("{error:#}"))?;
            text.parse().map_err(|error: KeyError| error.to_string())
        }
        parsed => parsed.map_err(|error| format!("{error}; there is no file of this name either")),
    }
}

/// Why a file is not taken for one that somebody signed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// Files of its kind cannot be signed.
    #[error("it is no .reel file, and cannot be signed")]
    OtherKind,
    /// It is not signed, not by them, or was changed since.
    #[error("{0}")]
    NotSigned(NotSigned),
    /// It is encrypted, and what is beside it is no signature of it.
    #[error("{0}")]
    NotBeside(ReelError),
    /// It is encrypted, and nothing is beside it.
    #[error("it is encrypted, and there is no signature beside it")]
    NothingBeside,
}

/// Why a file is not taken for one that the holder of this key signed, by its content or the signatures beside it.
/// Nothing where it is one.
pub(crate) fn refusal(path: &Path, beside: Option<&[u8]>, key: &PublicKey) -> anyhow::Result<Option<Refusal>> {
    let signed = match (Kind::read(file::open(path)?)?, beside) {
        (Kind::Reel | Kind::Page, _) => verify(&file::source(path)?, &ReelLimits::default()).is_signed_by(key),
        (Kind::Encrypted, Some(signatures)) => match signers_of(path, signatures)? {
            Ok(signers) => is_among(key, &signers),
            Err(error) => return Ok(Some(Refusal::NotBeside(error))),
        },
        (Kind::Encrypted, None) => return Ok(Some(Refusal::NothingBeside)),
        (Kind::Table | Kind::Zip | Kind::Other, _) => return Ok(Some(Refusal::OtherKind)),
    };
    Ok(signed.err().map(Refusal::NotSigned))
}

/// Who signed an encrypted file, or why that does not hold. Nothing where there are no signatures beside it.
pub(crate) fn signers_beside(path: &Path) -> anyhow::Result<Option<Result<Vec<PublicKey>, ReelError>>> {
    read_beside(path)?.map(|signatures| signers_of(path, &signatures)).transpose()
}

fn signers_of(path: &Path, signatures: &[u8]) -> anyhow::Result<Result<Vec<PublicKey>, ReelError>> {
    Ok(stored_signers(&FileSource::new(file::open(path)?)?, signatures))
}

/// The encrypted file that one of this name holds signatures of.
pub(crate) fn signed_beside(name: &str) -> Option<&str> {
    name.strip_suffix(BESIDE_ENDING).filter(|of| of.ends_with(".enc"))
}

/// What says who signed, for a line of its own.
pub(crate) fn said_of(signers: &[PublicKey]) -> Option<String> {
    (!signers.is_empty()).then(|| format!("signed by {}", listed(signers)))
}

/// Something to write a `.reel` file to, which signs it where there is a key.
pub(crate) enum Signing<W> {
    Plain(W),
    /// What is signed is known at its end, and stands before it: the file waits until it is whole.
    Signed {
        to: W,
        key: Arc<SigningKey>,
        waiting: File,
    },
}

impl<W: Write> Signing<W> {
    /// Begins a file.
    pub(crate) fn new(to: W, key: Option<&Arc<SigningKey>>) -> anyhow::Result<Self> {
        let Some(key) = key else { return Ok(Self::Plain(to)) };
        let waiting = tempfile::tempfile().context("cannot write in the directory for temporary files")?;
        Ok(Self::Signed { to, key: key.clone(), waiting })
    }

    /// Ends it, and hands the place back. Reads the file once more where it is to be signed.
    pub(crate) fn finish(self) -> anyhow::Result<W> {
        match self {
            Self::Plain(to) => Ok(to),
            Self::Signed { mut to, key, mut waiting } => {
                waiting.rewind()?;
                let source = FileSource::new(waiting.try_clone()?)?;
                let signed = sign_reel(&source, &key, &ReelLimits::default()).context("it cannot be signed")?;
                write_signed(waiting, &signed, &mut to)?;
                Ok(to)
            }
        }
    }
}

impl<W: Write> Write for Signing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(to) => to.write(bytes),
            Self::Signed { waiting, .. } => waiting.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(to) => to.flush(),
            Self::Signed { waiting, .. } => waiting.flush(),
        }
    }
}

/// Writes a private key where nothing is yet, for nobody else to read.
fn make_key(path: &Path) -> anyhow::Result<PublicKey> {
    let pem = private_pem(&share::random::<SEED_BYTES>()?);
    let public = SigningKey::from_pem(&pem)?.public();
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!("{} exists, and a key is never written over another file", path.display())
        }
        file => file.with_context(|| format!("cannot write {}", path.display()))?,
    };
    file.write_all(pem.as_bytes())?;
    file.sync_all()?;
    Ok(public)
}

/// Signs one file. Returns what is true of it then.
fn sign_file(path: &Path, key: &SigningKey) -> anyhow::Result<&'static str> {
    let file = file::open(path)?;
    anyhow::ensure!(file.metadata()?.is_file(), "it is not a file");
    let done = match Kind::read(&file)? {
        Kind::Reel => sign_within(path, key),
        Kind::Encrypted => sign_beside(path, key),
        Kind::Page => bail!("it is a page\nhint: sign the .reel file that `reelcase convert` makes of it"),
        Kind::Table | Kind::Zip | Kind::Other => {
            bail!("only .reel files are signed\nhint: `reelcase convert` makes one of it")
        }
    };
    match done {
        Ok(()) => Ok("signed"),
        Err(error) if matches!(error.downcast_ref(), Some(SignError::Already)) => Ok("signed already"),
        Err(error) => Err(error),
    }
}

/// Puts another file in the place of this one, which differs in its signatures alone.
fn sign_within(path: &Path, key: &SigningKey) -> anyhow::Result<()> {
    // A link stays one.
    let path = fs::canonicalize(path)?;
    let file = file::open(&path)?;
    let signed = sign_reel(&FileSource::new(file.try_clone()?)?, key, &ReelLimits::default())?;
    let dir = path.parent().unwrap_or(Path::new("/"));
    let mut unfinished = unfinished_in(dir).with_context(|| format!("cannot write in {}", dir.display()))?;
    unfinished.as_file().set_permissions(file.metadata()?.permissions())?;
    write_signed(file, &signed, &mut unfinished)?;
    unfinished.as_file().sync_all()?;
    unfinished.persist(&path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

/// Adds a signature to those beside a file.
fn sign_beside(path: &Path, key: &SigningKey) -> anyhow::Result<()> {
    let mut signatures = read_beside(path)?.unwrap_or_default();
    let source = FileSource::new(file::open(path)?)?;
    let signers = stored_signers(&source, &signatures)
        .with_context(|| format!("the signatures in {} do not hold", beside(path).display()))?;
    if signers.contains(&key.public()) {
        return Err(SignError::Already.into());
    }
    if signatures.len() >= SIGNATURES_MAX * SIGNATURE_FRAME_BYTES {
        return Err(SignError::TooMany.into());
    }
    signatures.extend(sign_stored(&source, key)?);
    let mut output = file::Output::open(&beside(path))?;
    output.write_all(&signatures)?;
    output.finish()
}

/// Writes what stays of a file, and what comes then.
fn write_signed(mut file: File, signed: &Signed, to: &mut impl Write) -> anyhow::Result<()> {
    file.rewind()?;
    let copied_bytes = io::copy(&mut file.take(signed.offset), to)?;
    anyhow::ensure!(copied_bytes == signed.offset, "the file became shorter meanwhile");
    Ok(to.write_all(&signed.bytes)?)
}

/// Where the signatures of an encrypted file are.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(BESIDE_ENDING);
    name.into()
}

/// The signatures beside an encrypted file, where there are any.
pub(crate) fn read_beside(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let path = beside(path);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let mut signatures = Vec::new();
    file.take(BESIDE_BYTES_MAX).read_to_end(&mut signatures)?;
    Ok(Some(signatures))
}

fn key_text(path: &Path) -> anyhow::Result<String> {
    let mut text = Vec::new();
    let file = file::open(path)?;
    file.take(KEY_FILE_BYTES_MAX).read_to_end(&mut text).with_context(|| format!("cannot read {}", path.display()))?;
    // What is no text is no key, and is told so.
    Ok(String::from_utf8(text).unwrap_or_default())
}
