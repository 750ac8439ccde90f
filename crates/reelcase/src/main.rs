//! The `reelcase` command: runs the server, and works on stores and `.reel` files from the shell.
//!
//! Data goes to stdout, talk to stderr. Exit codes: 0 done, 1 failed or damage found, 2 wrong usage, 3 done
//! without what is damaged or missing, 4 objects of a newer release were met and left as they are.

// They panic where nobody reads on.
#![warn(clippy::print_stdout, clippy::print_stderr)]

#[macro_use]
mod talk;
mod aside;
mod bucket;
mod bulk;
mod convert;
mod delete;
mod doctor;
mod encrypted;
mod exports;
mod file;
mod import;
mod keys;
mod local;
mod pack;
mod progress;
mod remote;
mod resend;
mod serve;
mod settings;
mod share;
mod sign;
mod terminal;
mod upstream;
mod web;
mod webhooks;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{ArgGroup, Args, CommandFactory, Parser, Subcommand};
use reelcase_format::sign::PublicKey;
use reelcase_transform::format::{FORMATS, Format};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code of what was exported, or imported, without what cannot be read.
const WITH_GAPS: u8 = 3;

/// Exit code where nothing is damaged, and something is of a newer release.
const LEFT_AS_NEWER: u8 = 4;

/// Why an export is not begun.
const ONLY_REELS_ARE_SIGNED: &str = "only .reel files can be signed\nhint: --format reel";

/// Records, keeps, plays and moves web session replays, in files that are yours.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server: records, stores, plays.
    #[command(
        after_help = "Examples:\n  reelcase serve --data ./data\n  REELCASE_SECRET=… reelcase serve --data /var/lib/reelcase --listen 0.0.0.0:8787\n  reelcase serve --upstream eu"
    )]
    Serve(Box<serve::ServeArgs>),
    /// Watch files in the browser, without a store: .reel, and whatever `convert` reads.
    #[command(
        after_help = "Examples:\n  reelcase open 01a1fbdb.reel\n  reelcase open rrweb-events.json\n  REELCASE_KEY=… reelcase open 5b1c.reel.enc"
    )]
    Open(serve::OpenArgs),
    /// List recordings, newest first.
    #[command(
        after_help = "Examples:\n  reelcase ls --data ./data\n  reelcase ls --data ./data --json | jq -r .id\n  reelcase ls --server http://127.0.0.1:8787 --token …"
    )]
    Ls {
        #[command(flatten)]
        source: Source,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Show one recording and its figures, or what is in a .reel file and who signed it, as JSON.
    #[command(
        after_help = "Examples:\n  reelcase show ID --data ./data | jq .click_count\n  reelcase show 01a1fbdb.reel | jq .signed_by"
    )]
    Show(ShowArgs),
    /// Delete recordings, what was said of them, and the links to them. What still comes of them is not taken.
    #[command(
        long_about = "Delete recordings, what was said of them, and the links to them.\n\nThey are gone at once from lists, links and the API. Their bytes go with the objects that hold them: those are written anew without them within minutes where the recordings beside them are finished, and as soon as they are elsewhere. What clients still send of them is not taken, for 90 days.",
        after_help = "Examples:\n  reelcase delete ID --server http://127.0.0.1:8787 --token …\n  reelcase delete --where tag=spam --until 30d --data ./data"
    )]
    Delete(delete::DeleteArgs),
    /// Write a recording to a file or pipe, or many to a directory or bucket. Exits with 3 where damaged parts are left out.
    #[command(
        group(ArgGroup::new("wanted").required(true).args(["id", "to"])),
        long_about = "Write a recording to a file or pipe, or many to a directory or bucket.\n\nA block that cannot be read is left out: a line of the file says so in its place, stderr names it, and the exit code is 3. Everything else is exported. What a form has no place for is counted on stderr; docs/formats.md says what that is.\n\nWith --to, all recordings are exported, or those that --where, --since and --until choose, each to DIR/PROJECT/DAY/ID.ENDING. The next run exports what is new or has changed since, and one that was killed is taken up where it ended. DIR/manifest.jsonl lists the files with lengths and hashes; `sha256sum -c SHA256SUMS` checks them. DIR may be s3://bucket/prefix: credentials come from the environment or ~/.aws as for AWS's own tools, --s3-endpoint or AWS_ENDPOINT_URL names another server than AWS.\n\nWith --format parquet the directory gets tables of all of them, DIR/TABLE/date=DAY/part-….parquet: recordings, events and snapshots. docs/formats.md has their columns.",
        after_help = "Examples:\n  reelcase export ID --data ./data --format reel --output ID.reel\n  reelcase export ID --data ./data --format jsonl --output - | jq .\n  reelcase export --server http://127.0.0.1:8787 --token … --to s3://bucket/replays --since 7d"
    )]
    Export {
        /// The recording's id.
        id: Option<String>,
        #[command(flatten)]
        source: Source,
        /// The file's form. By default what the name of the output says, or else reel.
        #[arg(long, value_parser = export_parser())]
        format: Option<bulk::ExportForm>,
        /// Where to write; - is stdout.
        #[arg(long, short, default_value = "-", conflicts_with = "to")]
        output: PathBuf,
        /// Put its comments and tags in too, with the names of those who wrote them: into .reel and .html.
        #[arg(long, conflicts_with = "to")]
        comments: bool,
        /// Sign the file, or each of them, with the private key in this file. Only .reel files are signed.
        #[arg(long, value_name = "KEYFILE")]
        sign: Option<PathBuf>,
        #[command(flatten)]
        bulk: bulk::BulkArgs,
    },
    /// Write a recording encrypted, for any host of plain files, and print the link that plays it there.
    #[command(
        long_about = "Write a recording encrypted, for any host of plain files, and print the link that plays it there.\n\nDIR gets the recording, encrypted, and replay.html, one page for all recordings in it. Copy both to any web server, bucket or site of static files. The link ends in the key, which browsers do not send: the host sees what it cannot read, and whoever has the link watches. Delete the file to take the link back. docs/sharing.md says more.",
        after_help = "Examples:\n  reelcase share ID --data ./data --to ./public --url https://static.example.com/replays\n  reelcase share ID --server http://127.0.0.1:8787 --token … --to ./public"
    )]
    Share(share::ShareArgs),
    /// Turn a recording of one form into another: .reel, JSON Lines, rrweb JSON, PostHog's export, HAR, …
    #[command(
        long_about = "Turn a recording of one form into another.\n\nWhat the input is is found out from its content: a .reel file; rrweb events as a JSON array, one a line, within {\"events\": …} and the like, as strings or packed; PostHog's JSON export, its lines, blocks of its bucket, rows of its tables and the zip that it exports for its staff; Sentry's recordings; sessions of Seeds' recorder; requests of PostHog clients, Sentry and Mixpanel; all of it plain, gzipped or as zstd. Events keep their bytes, but for the compression that PostHog clients put into them, which is undone. An encrypted .reel file is read with --key.\n\nWhat a form has no place for is counted on stderr; docs/formats.md says what that is. Exits with 1 where part of the input could not be read; what could be is written all the same.",
        after_help = "Examples:\n  reelcase convert events.json events.reel\n  REELCASE_KEY=… reelcase convert 5b1c.reel.enc visit.reel\n  reelcase convert 01a1fbdb.reel requests.har\n  zstd -dc export.json.zst | reelcase convert - - --format posthog > export.posthog.json"
    )]
    Convert(convert::ConvertArgs),
    /// Bring recordings of any form into a store, or all from PostHog. Exits with 1 where some are left alone, 3 where parts are.
    #[command(
        args_conflicts_with_subcommands = true,
        subcommand_negates_reqs = true,
        long_about = "Bring recordings of any form into a store.\n\nReads what `convert` reads, and .reel files with everything in them. What is in the store already is recognised, so that a run may be cut short and be repeated. s3://bucket/prefix is read as a directory is. In PostHog's bucket, objects of until 2024 name their recordings; since then --blocks says which blocks are whose, or they are put together by their windows. A recording of which the store has other events is left alone, and so is a damaged file, or one of which pieces are missing, unless --keep-partial is given; then the exit code is 3 where parts were left out.",
        after_help = "Examples:\n  reelcase import ./backup --data ./data\n  reelcase import posthog-export.json --data ./data --project phc_your_key --dry-run\n  reelcase import s3://bucket/replays --data ./data\n  reelcase import posthog --host eu --project 12345 --key phx_… --data ./data"
    )]
    Import(import::ImportArgs),
    /// Send recordings to a PostHog, as the pages would have. Exits with 1 where some are left alone or failed.
    #[command(
        long_about = "Send recordings to a PostHog, as the pages would have.\n\nEach recording goes to /s/ in uploads like those of posthog-js, with its session, windows and person's id, and appears in PostHog's list. PostHog drops what is older than 7 days when it comes; --shift-to-now moves recordings in time, and an event of each says by how much. Analytics events have no place there. What was taken stands in --log: the same command takes up a run that was cut short, and sends nothing twice.",
        after_help = "Examples:\n  reelcase resend ID --data ./data --to https://eu.i.posthog.com --key phc_…\n  reelcase resend --server http://127.0.0.1:8787 --token … --where errors_min=1 --shift-to-now --to https://posthog.example.com --key phc_…"
    )]
    Resend(resend::ResendArgs),
    /// Write many recordings into one file, for a stick or an archive. Exits with 3 where damaged parts are left out.
    #[command(
        long_about = "Write many recordings into one file, for a stick or an archive.\n\nThe file is a .reel file of all recordings of a store, or of those that --where, --since and --until choose, with analytics events and persons. `unpack` brings it into another store; `open` plays it, `verify` checks every byte of it, `convert --recording ID` takes one out.",
        after_help = "Examples:\n  reelcase pack /media/stick/all.reel --data ./data\n  reelcase pack errors.reel --data ./data --where errors_min=1 --since 7d"
    )]
    Pack(pack::PackArgs),
    /// Bring the recordings of a packed file into a store. Exits with 1 where some are left alone.
    #[command(
        long_about = "Bring the recordings of a packed file into a store.\n\nWhat the store has already is recognised, so that it may be cut short and be repeated.",
        after_help = "Example:\n  reelcase unpack /media/stick/all.reel --data ./data"
    )]
    Unpack(pack::UnpackArgs),
    /// Bring all recordings of another store into this one. Exits with 1 where some are left alone.
    #[command(
        long_about = "Bring all recordings of another store into this one.\n\nThe other store is only read. What is there already is recognised, by uploads or by figures, so that doing it twice changes nothing. A recording of which each store has a part, as when two servers took turns, becomes whole; where it cannot be told what both have, because the uploads are forgotten after some days, it is left alone and named. Damaged recordings are left alone.",
        after_help = "Example:\n  reelcase merge ./other-data --data ./data"
    )]
    Merge(pack::MergeArgs),
    /// Show or change what is recorded of a project. Pages learn of it when they next ask for their config.
    #[command(
        long_about = "Show or change what is recorded of a project.\n\nPrints what was decided, as JSON; what is not there is as by default. docs/settings.md lists every setting. Pages learn of a change when they next ask for their config, no restart is needed.",
        after_help = "Examples:\n  reelcase settings phc_your_key --data ./data\n  reelcase settings phc_your_key sample_rate=0.25 mask_all_text=true --server http://127.0.0.1:8787 --token …\n  reelcase settings phc_your_key 'url_blocklist=[\"/account\"]' --reset sample_rate --data ./data\n  reelcase settings phc_your_key --file settings.json --data ./data"
    )]
    Settings(settings::SettingsArgs),
    /// Show, add or delete the capture keys of a project. All of them record into the same project.
    #[command(
        long_about = "Show, add or delete the capture keys of a project.\n\nTo change a key without losing an upload: add another, give it to all pages, then delete the old one. What comes with a deleted key is refused with the reason, and pages throw it away. A project keeps its name in addresses and files, which is the key it was made with.",
        after_help = "Examples:\n  reelcase keys phc_your_key --data ./data\n  reelcase keys phc_your_key --add --server http://127.0.0.1:8787 --token …\n  reelcase keys phc_your_key --delete phc_your_key --server http://127.0.0.1:8787 --token …"
    )]
    Keys(keys::KeysArgs),
    /// Show the PostHog behind a server and what waits for it; show or change the mode of a project.
    #[command(
        long_about = "Show the PostHog behind a server and what waits for it; show or change the mode of a project.\n\nA store that no server holds knows the modes that were chosen, and what waits. Where a project has none of its own, its mode is that of `reelcase serve --mode`. docs/tee.md says what each mode does.",
        after_help = "Examples:\n  reelcase upstream --server http://127.0.0.1:8787 --token … | jq .spool\n  reelcase upstream phc_your_key --mode mirror --server http://127.0.0.1:8787 --token …\n  reelcase upstream phc_your_key --mode default --data ./data"
    )]
    Upstream(upstream::UpstreamArgs),
    /// Show, make, delete or run the exports that a server makes by itself.
    #[command(
        long_about = "Show, make, delete or run the exports that a server makes by itself.\n\nThey are those of the settings in the web app. Each goes to a folder below the server's folder of exports, or to a bucket, as `reelcase export --to` does: only what is new or has changed. Prints all of them, and how each went the last time, as JSON.",
        after_help = "Examples:\n  reelcase exports ls --server http://127.0.0.1:8787 --token …\n  reelcase exports add nightly --to nightly --every 1d --data ./data"
    )]
    Exports(exports::ExportsArgs),
    /// Show, make, delete or try webhooks of a running server, which tell other programs that a recording has ended.
    #[command(
        long_about = "Show, make, delete or try webhooks of a running server, which tell other programs that a recording has ended.\n\nPrints JSON. docs/webhooks.md says what is sent, and how it is signed.",
        after_help = "Example:\n  reelcase webhooks add https://hooks.example.com/replays --server http://127.0.0.1:8787 --token …"
    )]
    Webhooks(webhooks::WebhooksArgs),
    /// Check every byte of .reel files, and say who signed them. Exits with 1 where there is damage, 4 where one is newer.
    #[command(
        long_about = "Check every byte of .reel files, and say who signed them.\n\nExits with 1 where there is damage, 4 where one is of a newer release. With --signed-by it exits with 1 for every file that is not whole and signed with that key. Whoever signed a file could have used any key: it says nothing before you know whose it is.\n\nOf an encrypted file only the signatures beside it are checked.",
        after_help = "Examples:\n  reelcase verify 01a1fbdb.reel data/objects/*/*/*.reel\n  reelcase verify 01a1fbdb.reel --signed-by ed25519:…"
    )]
    Verify {
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Accept only files that were signed with this key: the public half of a pair, or a file that holds it.
        #[arg(long, value_name = "PUBLICKEY", value_parser = sign::public_key)]
        signed_by: Option<PublicKey>,
    },
    /// Sign .reel files, so that whoever gets them can tell that they are yours and unchanged; or make the key for it.
    #[command(
        long_about = "Sign .reel files, so that whoever gets them can tell that they are yours and unchanged; or make the key for it.\n\nA file is checked first, and one that is damaged is not signed. Its signature is put into it, and every program that reads .reel files reads it as before; several people may sign one file. The signature of an encrypted file, which is signed as it is stored, goes into a file beside it, FILE.sig.\n\nA signature is of one file: what convert or a later export makes of it is another one. Keys are those of OpenSSL: `openssl genpkey -algorithm ed25519` makes one, too.",
        after_help = "Examples:\n  reelcase sign --new-key ~/reelcase.key\n  reelcase sign 01a1fbdb.reel --key ~/reelcase.key\n  reelcase verify 01a1fbdb.reel --signed-by ed25519:…"
    )]
    Sign(sign::SignArgs),
    /// Rebuild the catalog of a store from its objects. Exits with 1 where one is damaged, 4 where one is newer.
    #[command(
        long_about = "Rebuild the catalog of a store from its objects.\n\nAn object whose index cannot be read is searched for intact blocks, and these become an object of their own. The damaged one is kept beside it as *.damaged-1. stderr says what was recovered and what was lost; the exit code is 1.\n\nAn object of a newer release is no damage: it stays as it is, its recordings are not listed until that release, or a later one, is started again; the exit code is 4 where nothing else is amiss.",
        after_help = "Example:\n  reelcase rebuild --data ./data"
    )]
    Rebuild {
        /// The data directory; no server may hold it.
        #[arg(long)]
        data: PathBuf,
    },
    /// Ask a running server what works and what does not, and follow one upload. Exits with 1 where something does not.
    #[command(
        long_about = "Ask a running server what works and what does not.\n\nThen one upload takes the way of a page's, by way of --url and whatever stands in front of the server: config, script, upload, until it can be played. It belongs to a project that no list shows, and is forgotten at the end.",
        after_help = "Examples:\n  REELCASE_TOKEN=$(cat data/secret) reelcase doctor\n  reelcase doctor --server http://127.0.0.1:8787 --url https://replays.example.com --token …"
    )]
    Doctor(doctor::DoctorArgs),
}

/// Where recordings are read from.
#[derive(Debug, Args)]
#[group(required = true, multiple = false, id = "place")]
struct Place {
    /// A data directory that no server holds.
    #[arg(long)]
    data: Option<PathBuf>,
    /// A running server.
    #[arg(long)]
    server: Option<String>,
}

#[derive(Debug, Args)]
struct Source {
    #[command(flatten)]
    place: Place,
    /// What opens the server.
    #[arg(long, env = "REELCASE_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// `reelcase show`.
#[derive(Debug, Args)]
struct ShowArgs {
    /// The recording's id; or a .reel file, where neither --data nor --server says where recordings are.
    #[arg(value_name = "ID|FILE")]
    what: String,
    /// A data directory that no server holds.
    #[arg(long, conflicts_with = "server")]
    data: Option<PathBuf>,
    /// A running server.
    #[arg(long)]
    server: Option<String>,
    /// What opens the server.
    #[arg(long, env = "REELCASE_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

impl ShowArgs {
    /// An id alone says nothing of where the recording is, and ends the process as any wrong usage does.
    fn check(&self) {
        if self.data.is_none() && self.server.is_none() && !Path::new(&self.what).exists() {
            let what = "the following required arguments were not provided:\n  <--data <DATA>|--server <SERVER>>\n";
            Cli::command().error(ErrorKind::MissingRequiredArgument, what).exit();
        }
    }
}

/// Takes the name of a form and lists all of them in the help.
fn format_parser() -> impl TypedValueParser<Value = Format> {
    let names = FORMATS.map(|info| PossibleValue::new(info.name).help(info.about));
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Format>())
}

/// The same, and the form of many recordings at once.
fn export_parser() -> impl TypedValueParser<Value = bulk::ExportForm> {
    let tables = PossibleValue::new(bulk::TABLES_NAME).help("with --to: tables for DuckDB, Spark, BigQuery, …");
    let names = FORMATS.iter().map(|info| PossibleValue::new(info.name).help(info.about)).chain([tables]);
    PossibleValuesParser::new(names).try_map(|name| match name.as_str() {
        bulk::TABLES_NAME => Ok(bulk::ExportForm::Tables),
        name => name.parse::<Format>().map(bulk::ExportForm::Files),
    })
}

/// The form that was asked for, or that the file's name says. A name without an ending says nothing.
fn format_of(asked: Option<Format>, output: &Path) -> anyhow::Result<Format> {
    let of_name = || Format::of_file_name(output.file_name()?.to_str()?);
    match (asked.or_else(of_name), output.extension()) {
        (Some(format), _) => file::check_readable(format, output).map(|()| format),
        (None, None) => file::check_readable(Format::Reel, output).map(|()| Format::Reel),
        (None, Some(_)) => {
            let endings = FORMATS.map(|info| format!(".{}", info.ending)).join(", ");
            let name = output.display();
            anyhow::bail!(
                "{name} does not say which form it is to have; there are {endings}\nhint: --format says it too"
            )
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = Cli::parse().command;
    if let Command::Show(args) = &command {
        args.check();
    }
    match run(command).await {
        Ok(code) => code,
        Err(error) if talk::is_unread(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say!("error: {}", terminal::message(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(args) => serve::serve(*args).await?,
        Command::Open(args) => serve::open(args).await?,
        Command::Ls { source, json } => match source.place.data {
            Some(data) => local::ls(&data, json).await?,
            None => remote::Remote::new(source.place.server, source.token)?.ls(json).await?,
        },
        Command::Delete(args) => delete::delete(args).await?,
        Command::Show(ShowArgs { what, data, server, token }) => match (data, server) {
            (Some(data), _) => local::show(&data, &what).await?,
            (None, Some(server)) => remote::Remote::new(Some(server), token)?.show(&what).await?,
            (None, None) => file::show(Path::new(&what))?,
        },
        Command::Export { id, source, format, output, comments, sign, bulk } => {
            let key = sign.as_deref().map(sign::read_key).transpose()?;
            if let Some(to) = bulk.target() {
                let form = format.unwrap_or(bulk::ExportForm::Files(Format::Reel));
                let is_reel = form == bulk::ExportForm::Files(Format::Reel);
                anyhow::ensure!(key.is_none() || is_reel, ONLY_REELS_ARE_SIGNED);
                let origin = bulk::Origin::of(source.place.data, source.place.server, source.token).await?;
                return bulk::export(origin, to, bulk, form, key).await;
            }
            let format = match format {
                Some(bulk::ExportForm::Tables) => anyhow::bail!("tables are of many recordings\nhint: --to DIR"),
                Some(bulk::ExportForm::Files(format)) => Some(format),
                None => None,
            };
            let format = format_of(format, &output)?;
            anyhow::ensure!(key.is_none() || format == Format::Reel, ONLY_REELS_ARE_SIGNED);
            let form = file::FileForm::new(format, comments)?;
            let id = id.unwrap_or_default();
            match source.place.data {
                Some(data) => return local::export(&data, &id, form, &output, key).await,
                None => {
                    let remote = remote::Remote::new(source.place.server, source.token)?;
                    return remote.export(&id, form, &output, key).await;
                }
            }
        }
        Command::Share(args) => return share::share(args).await,
        Command::Settings(args) => settings::settings(args).await?,
        Command::Keys(args) => keys::keys(args).await?,
        Command::Upstream(args) => upstream::upstream(args).await?,
        Command::Exports(args) => exports::exports(args).await?,
        Command::Webhooks(args) => webhooks::webhooks(args).await?,
        Command::Convert(args) => return convert::convert(args),
        Command::Import(args) => return import::import(args).await,
        Command::Resend(args) => return resend::resend(args).await,
        Command::Pack(args) => return pack::pack(args).await,
        Command::Unpack(args) => return pack::unpack(args).await,
        Command::Merge(args) => return pack::merge(args).await,
        Command::Verify { files, signed_by } => return file::verify(&files, signed_by.as_ref()),
        Command::Sign(args) => return sign::sign(args),
        Command::Rebuild { data } => return local::rebuild(&data).await,
        Command::Doctor(args) => return doctor::doctor(args).await,
    }
    Ok(ExitCode::SUCCESS)
}
