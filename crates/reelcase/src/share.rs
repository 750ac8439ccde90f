//! Shares a recording without a server: an encrypted file and a page that plays it, for any host of plain files.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use reelcase_transform::encrypted::{self, EncryptedWriter, KEY_BYTES, Key, SALT_BYTES};
use reelcase_transform::format::Format;

use crate::file::{FileForm, Output};
use crate::{Source, local, remote};

/// What the page is called. All recordings beside it are played by the same one.
const PAGE: &str = "replay.html";

/// How names of encrypted files end, and how many random bytes come before.
const ENDING: &str = ".reel.enc";
const NAME_BYTES: usize = 16;

/// `reelcase share`.
#[derive(Debug, Args)]
pub(crate) struct ShareArgs {
    /// The recording's id.
    id: String,
    #[command(flatten)]
    source: Source,
    /// The directory that goes to the host. Page and file are written into it.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Where the directory will be on the web, such as https://static.example.com/replays. Makes the link whole.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Put its comments and tags in too, with the names of those who wrote them.
    #[arg(long)]
    comments: bool,
}

/// Writes the file and the page, and prints the link. The code tells whether all of the recording could be read.
pub(crate) async fn share(args: ShareArgs) -> anyhow::Result<ExitCode> {
    let base = args.url.as_deref().map(base_of).transpose()?.unwrap_or_default();
    let page = encrypted::page()?;
    fs::create_dir_all(&args.to).with_context(|| format!("cannot make {}", args.to.display()))?;
    let key = Key::new(random::<KEY_BYTES>()?);
    let name: String = random::<NAME_BYTES>()?.iter().map(|byte| format!("{byte:02x}")).collect();
    let path = args.to.join(format!("{name}{ENDING}"));
    let file = EncryptedWriter::new(Output::open(&path)?, &key, random::<SALT_BYTES>()?)?;
    let code = write(&args, file).await?;
    publish(&path)?;
    write_page(&args.to.join(PAGE), &page)?;
    say!("wrote {} and {PAGE} beside it; delete the file to take the link back", path.display());
    print_line!("{base}{PAGE}#file={name}{ENDING}&key={}", key.as_text())?;
    Ok(code)
}

/// Where the page will be, with a slash at the end.
fn base_of(url: &str) -> anyhow::Result<String> {
    let is_web = url.starts_with("https://") || url.starts_with("http://");
    if !is_web || url.contains(['#', '?']) || url.contains(char::is_whitespace) {
        bail!("{url} is not the address of a directory\nhint: such as --url https://static.example.com/replays");
    }
    Ok(format!("{}/", url.trim_end_matches('/')))
}

/// Writes the recording.
async fn write(args: &ShareArgs, mut file: EncryptedWriter<Output>) -> anyhow::Result<ExitCode> {
    let form = FileForm { format: Format::Reel, has_said: args.comments };
    let code = match &args.source.place.data {
        Some(data) => {
            let store = local::open(data, "reelcase share").await?;
            let row = local::find(&store, &args.id).await?;
            let mut export = local::export_of(&store, row, form).await?;
            file = local::written(&mut export, file).await?;
            let code = local::report_gaps(export.gaps().len(), export.gaps());
            store.close().await?;
            code
        }
        None => {
            let remote = remote::Remote::new(args.source.place.server.clone(), args.source.token.clone())?;
            let (mut response, gaps) = remote.export_of(&args.id, None, form).await?;
            while let Some(chunk) = response.chunk().await? {
                file.write_all(&chunk)?;
            }
            gaps.map_or(ExitCode::SUCCESS, |gaps| local::report_gaps(gaps.count, &gaps.gaps))
        }
    };
    file.finish()?.finish()?;
    Ok(code)
}

/// Lets a web server that is somebody else read a file: what is unfinished is for us alone.
fn publish(path: &Path) -> anyhow::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;

        let published = fs::set_permissions(path, fs::Permissions::from_mode(0o644));
        published.with_context(|| format!("cannot let others read {}", path.display()))?;
    }
    Ok(())
}

/// Lays the page beside the files, where it is not there as it is.
fn write_page(path: &Path, page: &[u8]) -> anyhow::Result<()> {
    if fs::read(path).is_ok_and(|there| there == page) {
        return Ok(());
    }
    let mut output = Output::open(path)?;
    output.write_all(page)?;
    output.finish()?;
    publish(path)
}

/// Bytes that nobody can guess.
pub(crate) fn random<const BYTES: usize>() -> anyhow::Result<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random bytes for a key: {error}"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::base_of;

    #[test]
    fn an_address_becomes_that_of_a_directory() {
        let base = |url| base_of(url).map_err(|error| error.to_string());
        assert_eq!(base("https://static.example.com/replays").as_deref(), Ok("https://static.example.com/replays/"));
        assert_eq!(base("http://127.0.0.1:8000/").as_deref(), Ok("http://127.0.0.1:8000/"));
        assert!(base("static.example.com").is_err());
        assert!(base("https://static.example.com/#here").is_err());
    }
}
