//! A bucket of S3, or of a server that speaks its protocol, below a prefix.
//!
//! What may succeed later is tried again with growing pauses: 500, 503, connections that break and replies that are lost.
//! Credentials come from where AWS's own tools take them: the environment, `~/.aws`, a role of the machine or container.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use http_body_util::BodyExt;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use object_store::path::Path as ObjectPath;
use object_store::{
    Attribute, Attributes, BackoffConfig, ClientOptions, GetOptions, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, RetryConfig, UpdateVersion,
};
use reelcase_upstream::{Client, SendError, Waits};

mod profile;

/// How long a bucket is waited for.
const WAITS: Waits =
    Waits { connect: Duration::from_secs(10), reply: Duration::from_secs(60), piece: Duration::from_secs(30) };

/// How often a request is tried again, and the longest pause between.
const RETRIES_MAX: usize = 8;
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// How often a download is taken up where it broke off.
const DOWNLOAD_BREAKS_MAX: u32 = 8;

/// Bytes of a part of a large object, and how many parts S3 takes of one.
const PART_BYTES: u64 = 8 << 20;
const PARTS_MAX: u64 = 9_000;

/// Bytes of a list or manifest that is read into memory.
const DOCUMENT_BYTES_MAX: u64 = 1 << 30;

/// Who knows the role of a machine.
const MACHINE: &str = "http://169.254.169.254/";

/// Which server speaks S3.
#[derive(Debug, Default, Args)]
pub(crate) struct S3Args {
    /// The address of a server that speaks S3, for s3:// of others than AWS. AWS_ENDPOINT_URL says the same.
    #[arg(long, value_name = "URL")]
    s3_endpoint: Option<String>,
}

impl S3Args {
    /// The server, where it is not what the environment says.
    pub(crate) fn endpoint(&self) -> Option<&str> {
        self.s3_endpoint.as_deref()
    }
}

/// `s3://bucket/prefix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BucketUrl {
    bucket: String,
    prefix: String,
}

/// See the module's page.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    store: Arc<AmazonS3>,
    url: BucketUrl,
}

/// An object of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Below the prefix.
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// Changes when its content does.
    pub(crate) version: String,
}

/// What became of a conditional write.
pub(crate) enum Replaced {
    Done(UpdateVersion),
    /// Somebody else has written since.
    Conflict,
}

/// Nothing can be written to a bucket, whatever it is: nobody answers, or the server takes none of it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unusable(String);

impl BucketUrl {
    /// Whether a text is meant to be one.
    pub(crate) fn is_one(text: &str) -> bool {
        text.starts_with("s3://")
    }
}

impl FromStr for BucketUrl {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let rest = text.strip_prefix("s3://").with_context(|| format!("{text} is no s3://bucket/prefix"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            bail!("{text} names no bucket\nhint: write s3://bucket/prefix");
        }
        Ok(Self { bucket: bucket.to_owned(), prefix: prefix.trim_matches('/').to_owned() })
    }
}

impl std::fmt::Display for BucketUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.prefix.is_empty() {
            true => write!(f, "s3://{}", self.bucket),
            false => write!(f, "s3://{}/{}", self.bucket, self.prefix),
        }
    }
}

impl Bucket {
    /// Asks nothing yet. `endpoint` is the address of a server other than AWS.
    pub(crate) fn open(url: &BucketUrl, endpoint: Option<&str>) -> anyhow::Result<Self> {
        let retry = RetryConfig {
            backoff: BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: PAUSE_MAX, base: 2.0 },
            max_retries: RETRIES_MAX,
            ..RetryConfig::default()
        };
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(&url.bucket)
            .with_allow_http(true)
            .with_retry(retry)
            .with_http_connector(Http(Arc::new(Client::new(WAITS, None)?)));
        if builder.get_config_value(&AmazonS3ConfigKey::AccessKeyId).is_none()
            && let Some(profile) = profile::read()
        {
            builder = profile.apply(builder);
        }
        if let Some(endpoint) = endpoint {
            builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
        }
        let store = builder.build().with_context(|| format!("cannot use {url}"))?;
        Ok(Self { store: Arc::new(store), url: url.clone() })
    }

    pub(crate) fn url(&self) -> &BucketUrl {
        &self.url
    }

    /// The same bucket, without a prefix.
    pub(crate) fn at_top(&self) -> Self {
        let url = BucketUrl { bucket: self.url.bucket.clone(), prefix: String::new() };
        Self { store: self.store.clone(), url }
    }

    /// All objects below the prefix, by name.
    pub(crate) async fn list(&self) -> anyhow::Result<Vec<Found>> {
        let (mut objects, mut found) = (self.objects(), Vec::new());
        while let Some(object) = objects.try_next().await.map_err(|error| self.failed("list", "", error))? {
            let key = object.location.as_ref();
            let name = key.strip_prefix(&self.url.prefix).unwrap_or(key).trim_start_matches('/').to_owned();
            found.push(Found { name, bytes: object.size, version: object.e_tag.unwrap_or_default() });
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Whether there is no object below the prefix.
    pub(crate) async fn is_empty(&self) -> anyhow::Result<bool> {
        let first = self.objects().try_next().await;
        Ok(first.map_err(|error| self.failed("list", "", error))?.is_none())
    }

    /// What an object says of itself under our name.
    pub(crate) async fn about(&self, name: &str, key: &'static str) -> anyhow::Result<Option<String>> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        match self.store.get_opts(&self.key(name)?, options).await {
            Ok(head) => Ok(head.attributes.get(&Attribute::Metadata(key.into())).map(|about| (**about).to_owned())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("read", name, error)),
        }
    }

    /// A small object, and which state of it that is.
    pub(crate) async fn get(&self, name: &str) -> anyhow::Result<Option<(Bytes, UpdateVersion)>> {
        let got = match self.store.get(&self.key(name)?).await {
            Ok(got) => got,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(self.failed("read", name, error)),
        };
        if got.meta.size > DOCUMENT_BYTES_MAX {
            bail!("{}/{name} has {} bytes, more than {DOCUMENT_BYTES_MAX}", self.url, got.meta.size);
        }
        let version = UpdateVersion { e_tag: got.meta.e_tag.clone(), version: got.meta.version.clone() };
        let bytes = got.bytes().await.map_err(|error| self.failed("read", name, error))?;
        Ok(Some((bytes, version)))
    }

    /// Reads an object, or a part of it, into a file, piece by piece. What [`is_absent`] tells is no fault of the bucket.
    pub(crate) async fn download(&self, name: &str, range: Range<u64>, to: &mut File) -> anyhow::Result<()> {
        let (path, mut at, mut breaks) = (self.key(name)?, range.start, 0);
        while at < range.end {
            let options = GetOptions { range: Some((at..range.end).into()), ..GetOptions::default() };
            let got = match self.store.get_opts(&path, options).await {
                Err(object_store::Error::NotFound { .. }) => return Err(self.absent(name, "is not there")),
                // It ends before the first byte that is wanted.
                Err(error) if error.to_string().contains("416 ") => {
                    return Err(self.absent(name, &format!("ends before byte {at}")));
                }
                got => got.map_err(|error| self.failed("read", name, error))?,
            };
            if got.meta.size < range.end {
                return Err(self.absent(name, &format!("ends at byte {}, too early", got.meta.size)));
            }
            let mut pieces = got.into_stream();
            loop {
                match pieces.try_next().await {
                    Ok(Some(piece)) => {
                        to.write_all(&piece)?;
                        at += piece.len() as u64;
                    }
                    Ok(None) => break,
                    Err(error) if breaks == DOWNLOAD_BREAKS_MAX => return Err(self.failed("read", name, error)),
                    Err(_) => break,
                }
            }
            breaks += 1;
            if at < range.end && breaks > DOWNLOAD_BREAKS_MAX {
                bail!("cannot read {}/{name}: it breaks off at byte {at}", self.url);
            }
        }
        Ok(())
    }

    /// Writes a small object, whatever was there.
    pub(crate) async fn put(&self, name: &str, bytes: Vec<u8>) -> anyhow::Result<()> {
        let put = self.store.put(&self.key(name)?, bytes.into()).await;
        put.map(|_| ()).map_err(|error| self.failed("write", name, error))
    }

    /// Writes a small object, unless somebody else has since `seen`; `None` is that there was none.
    pub(crate) async fn replace(
        &self,
        name: &str,
        bytes: Vec<u8>,
        seen: Option<UpdateVersion>,
    ) -> anyhow::Result<Replaced> {
        let bytes = Bytes::from(bytes);
        let mode = seen.map_or(PutMode::Create, PutMode::Update);
        let options = PutOptions { mode, ..PutOptions::default() };
        match self.store.put_opts(&self.key(name)?, bytes.clone().into(), options).await {
            Ok(put) => Ok(Replaced::Done(UpdateVersion { e_tag: put.e_tag, version: put.version })),
            Err(object_store::Error::Precondition { .. } | object_store::Error::AlreadyExists { .. }) => {
                // It may be ours: the reply was lost, and what was sent again met itself.
                Ok(match self.get(name).await? {
                    Some((there, version)) if there == bytes => Replaced::Done(version),
                    _ => Replaced::Conflict,
                })
            }
            Err(error) => Err(self.failed("write", name, error)),
        }
    }

    /// Writes what is in a file. `about` is what the object says of itself under `key`.
    pub(crate) async fn put_file(
        &self,
        name: &str,
        file: &mut File,
        bytes: u64,
        key: &'static str,
        about: &str,
    ) -> anyhow::Result<()> {
        let path = self.key(name)?;
        let attributes = Attributes::from_iter([(Attribute::Metadata(key.into()), about.to_owned())]);
        let put = match bytes <= PART_BYTES {
            true => self.put_whole(&path, file, bytes, attributes).await,
            false => self.put_parts(&path, file, bytes, attributes).await,
        };
        let Err(error) = put else { return Ok(()) };
        // The last reply may be all that was lost.
        match self.about(name, key).await {
            Ok(Some(there)) if there == about => Ok(()),
            _ => Err(self.failed("write", name, error)),
        }
    }

    async fn put_whole(
        &self,
        path: &ObjectPath,
        file: &mut File,
        bytes: u64,
        attributes: Attributes,
    ) -> object_store::Result<()> {
        let whole = piece_of(file, 0, bytes)?;
        let options = PutOptions { attributes, ..PutOptions::default() };
        self.store.put_opts(path, whole.into(), options).await?;
        Ok(())
    }

    async fn put_parts(
        &self,
        path: &ObjectPath,
        file: &mut File,
        bytes: u64,
        attributes: Attributes,
    ) -> object_store::Result<()> {
        let part_bytes = PART_BYTES.max(bytes.div_ceil(PARTS_MAX));
        let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        let mut upload = self.store.put_multipart_opts(path, options).await?;
        let put = put_each_part(&mut *upload, file, bytes, part_bytes).await;
        if put.is_err() {
            // Parts of an upload that nobody ends are paid for.
            let _ = upload.abort().await;
        }
        put
    }

    /// Deletes an object, also one that is gone.
    pub(crate) async fn remove(&self, name: &str) -> anyhow::Result<()> {
        match self.store.delete(&self.key(name)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("delete", name, error)),
        }
    }

    /// What is below the prefix, asked for page by page.
    fn objects(&self) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let prefix = (!self.url.prefix.is_empty()).then(|| ObjectPath::from(self.url.prefix.as_str()));
        self.store.list(prefix.as_ref())
    }

    fn key(&self, name: &str) -> anyhow::Result<ObjectPath> {
        let key = match self.url.prefix.is_empty() {
            true => name.to_owned(),
            false => format!("{}/{name}", self.url.prefix),
        };
        ObjectPath::parse(&key).with_context(|| format!("{key} is no name of an object"))
    }

    fn absent(&self, name: &str, why: &str) -> anyhow::Error {
        io::Error::new(io::ErrorKind::NotFound, format!("{}/{name} {why}", self.url)).into()
    }

    fn failed(&self, what: &str, name: &str, error: object_store::Error) -> anyhow::Error {
        use object_store::Error::{NotFound, PermissionDenied, Unauthenticated};
        let place = if name.is_empty() { self.url.to_string() } else { format!("{}/{name}", self.url) };
        let (reason, hint) = reason(&error);
        let said = format!("cannot {what} {place}: {reason}{hint}");
        // A name or a body that is refused says nothing of the next.
        let is_of_bucket = matches!(error, NotFound { .. } | PermissionDenied { .. } | Unauthenticated { .. });
        let is_of_one = !is_of_bucket && error.to_string().contains("status code: 4");
        if what == "write" && !is_of_one { Unusable(said).into() } else { anyhow::anyhow!(said) }
    }
}

/// Whether something could not be read because it is not there, is not for us, or ends before what is wanted of it.
pub(crate) fn is_absent(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    use io::ErrorKind::{NotFound, PermissionDenied, UnexpectedEof};
    matches!(kind, Some(NotFound | PermissionDenied | UnexpectedEof))
}

/// Whether it is there, and not for us.
pub(crate) fn is_denied(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// What a server gives as its reason, or else what is known, and what to do about it.
fn reason(error: &object_store::Error) -> (String, &'static str) {
    const WHO: &str = "\nhint: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile of ~/.aws, say who asks";
    const WHERE: &str = "\nhint: --s3-endpoint, or AWS_ENDPOINT_URL, says which server is meant";
    let text = error.to_string();
    // Where nobody says who asks, the machine is asked whether it has a role.
    if text.contains(MACHINE) {
        return ("nobody says who asks, and this machine has no role".to_owned(), WHO);
    }
    let message = text.split_once("<Message>").and_then(|(_, rest)| rest.split_once("</Message>"));
    let hint = if text.contains("403 Forbidden") || text.contains("401 Unauthorized") { WHO } else { "" };
    if let Some((message, _)) = message {
        return (message.trim_end().to_owned(), hint);
    }
    let first: &(dyn std::error::Error + 'static) = error;
    let causes = || std::iter::successors(Some(first), |error| error.source());
    if causes().any(|cause| cause.is::<HttpError>()) {
        let host = text.split_once("://").and_then(|(_, rest)| rest.split('/').next()).unwrap_or("the server");
        let cause = causes().last().map_or_else(String::new, |cause| cause.to_string());
        return (format!("cannot reach {host}: {cause}"), WHERE);
    }
    (text.rsplit(" - ").next().unwrap_or_default().trim_end().to_owned(), hint)
}

async fn put_each_part(
    upload: &mut dyn MultipartUpload,
    file: &mut File,
    bytes: u64,
    part_bytes: u64,
) -> object_store::Result<()> {
    let mut at = 0;
    while at < bytes {
        let part = piece_of(file, at, part_bytes.min(bytes - at))?;
        at += part.len() as u64;
        upload.put_part(part.into()).await?;
    }
    upload.complete().await?;
    Ok(())
}

/// Parts are few megabytes, of a file on a disk that keeps what was just written in memory.
fn piece_of(file: &mut File, at: u64, bytes: u64) -> object_store::Result<Bytes> {
    let failed = |error: io::Error| object_store::Error::Generic { store: "local disk", source: error.into() };
    let mut piece = vec![0; bytes as usize];
    file.seek(io::SeekFrom::Start(at)).map_err(failed)?;
    file.read_exact(&mut piece).map_err(failed)?;
    Ok(piece.into())
}

/// Our own HTTP client, which has the TLS and the waits of everything else that goes out.
#[derive(Debug, Clone)]
struct Http(Arc<Client>);

impl HttpConnector for Http {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait::async_trait]
impl HttpService for Http {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let reply = self.0.send(request).await.map_err(|error| match error {
            SendError::Unreachable(source) if source.is_connect() => HttpError::new(HttpErrorKind::Connect, source),
            SendError::Unreachable(source) => HttpError::new(HttpErrorKind::Interrupted, source),
            SendError::Slow(wait) => {
                let what = format!("no answer within {} ms", wait.as_millis());
                HttpError::new(HttpErrorKind::Timeout, io::Error::new(io::ErrorKind::TimedOut, what))
            }
        })?;
        let broken = |error| HttpError::new_boxed(HttpErrorKind::Interrupted, error);
        Ok(reply.map(|body| HttpResponseBody::new(body.map_err(broken))))
    }
}
