//! Asks PostHog's API, as gently as it wants to be asked and as often as it takes.
//!
//! A request that can succeed later is sent again: after what `Retry-After` says where PostHog limits the rate, and after
//! growing pauses where it fails, or where a reply breaks off. What cannot succeed is an error at once.

use std::fs::File;
use std::io::{Seek, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use reelcase_store::{Clock, SystemClock};
use reelcase_upstream::headers::retry_after_ms;
use reelcase_upstream::{BoxError, Client, ReplyBody, Waits};
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};

use crate::terminal;
use crate::web::shortened_for_tests;

/// How long PostHog is waited for. Its lists are queries of ClickHouse, which take their time.
const WAITS: Waits =
    Waits { connect: Duration::from_secs(20), reply: Duration::from_secs(120), piece: Duration::from_secs(60) };

/// How often a request may fail for another reason than the rate.
const FAILURES_MAX: u32 = 8;

/// After so many failures of a request somebody who watches wants to know why nothing goes on.
const FAILURES_TOLD: u32 = 3;

/// The first pause after a failure. Each is twice as long as the one before, up to a minute.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// How long a limit of the rate may make us wait: PostHog counts by the hour.
const LIMIT_WAIT_MAX: Duration = Duration::from_secs(3_700);

/// A wait of this length is worth a line.
const WAIT_TOLD: Duration = Duration::from_secs(20);

/// Bytes of a reply that is read into memory.
const JSON_BYTES_MAX: usize = 64 << 20;

/// Bytes of a range of blocks.
const RANGE_BYTES_MAX: u64 = 4 << 30;

/// Characters of a refusal that are shown.
const REFUSAL_CHARACTERS_MAX: usize = 300;

/// A project of a PostHog.
pub(super) struct Api {
    client: Client,
    /// Without a slash at the end.
    base: String,
    project: String,
    key: HeaderValue,
    /// When the next request may go.
    resume_at: Mutex<Instant>,
}

/// Nobody answered, however often it was tried: what is asked for next would find nobody either.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unanswered(String);

/// A request.
struct Call<'a> {
    method: Method,
    path: &'a str,
    body: Option<&'a Value>,
}

/// Where a reply goes.
enum Sink<'a> {
    Memory,
    File(&'a mut File),
}

/// What came.
struct Read {
    /// Null where it went into a file.
    json: Value,
    media_type: String,
}

/// What a reply's head means.
enum Verdict {
    Read,
    /// Not now, because of the rate.
    Limited(Duration),
    /// Perhaps later.
    Failed(Option<Duration>),
    /// There is no such thing, or no more.
    Gone,
    /// Never.
    Refused,
}

impl Api {
    /// `host` is `us`, `eu` or an address.
    pub(super) fn new(host: &str, project: &str, key: &str) -> anyhow::Result<Self> {
        let base = match host {
            "us" | "eu" => format!("https://{host}.posthog.com"),
            _ if host.contains("://") => host.trim_end_matches('/').to_owned(),
            _ => format!("https://{}", host.trim_end_matches('/')),
        };
        let uri: Uri = base.parse().with_context(|| format!("{host} is no address of a PostHog"))?;
        if uri.authority().is_none() || !matches!(uri.scheme_str(), Some("http" | "https")) {
            bail!("{host} is no address of a PostHog\nhint: --host eu, or --host https://posthog.example.com");
        }
        let mut key = HeaderValue::from_str(&format!("Bearer {key}")).context("the key holds what no key holds")?;
        key.set_sensitive(true);
        let client = Client::new(WAITS, None)?;
        Ok(Self { client, base, project: project.to_owned(), key, resume_at: Mutex::new(Instant::now()) })
    }

    /// Where it is, for people.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Reads JSON. `None` where there is no such thing, or no more.
    pub(super) async fn json(&self, path: &str) -> anyhow::Result<Option<Value>> {
        let read = self.ask(Call { method: Method::GET, path, body: None }, Sink::Memory).await?;
        Ok(read.map(|read| read.json))
    }

    /// Sends a query and reads JSON.
    pub(super) async fn query(&self, path: &str, body: &Value) -> anyhow::Result<Option<Value>> {
        let read = self.ask(Call { method: Method::POST, path, body: Some(body) }, Sink::Memory).await?;
        Ok(read.map(|read| read.json))
    }

    /// Reads a reply into a file, from its start, and returns its media type.
    pub(super) async fn download(&self, path: &str, to: &mut File) -> anyhow::Result<Option<String>> {
        let read = self.ask(Call { method: Method::GET, path, body: None }, Sink::File(to)).await?;
        Ok(read.map(|read| read.media_type))
    }

    /// Sends a request until it is answered.
    async fn ask(&self, call: Call<'_>, mut sink: Sink<'_>) -> anyhow::Result<Option<Read>> {
        let mut pause = pause_min();
        let (mut failures, mut is_anybody_there) = (0, false);
        loop {
            let may_go = *self.resume_at.lock().unwrap_or_else(PoisonError::into_inner);
            sleep_until(may_go).await;
            let mut asked = None;
            let sent = self.client.send(self.request(&call)?).await;
            is_anybody_there |= sent.is_ok();
            let problem = match sent {
                Ok(reply) => match verdict(reply.status(), reply.headers()) {
                    Verdict::Read => match read(reply, &mut sink).await {
                        Ok(read) => return Ok(Some(read)),
                        Err(error) => format!("the reply broke off: {error}"),
                    },
                    Verdict::Gone => return Ok(None),
                    Verdict::Limited(wait) => {
                        self.hold(wait);
                        continue;
                    }
                    Verdict::Failed(wait) => {
                        asked = wait;
                        format!("PostHog answered {}", reply.status())
                    }
                    Verdict::Refused => return Err(self.refusal(&call, reply).await),
                },
                Err(error) => chain(&error),
            };
            failures += 1;
            if failures == FAILURES_MAX {
                let problem = format!("{} failed {failures} times: {problem}", self.place(&call));
                return Err(if is_anybody_there { anyhow::anyhow!(problem) } else { Unanswered(problem).into() });
            }
            let wait = asked.unwrap_or(pause).min(LIMIT_WAIT_MAX);
            if failures == FAILURES_TOLD || wait >= WAIT_TOLD {
                let problem = format!("{}: {problem}; it is tried again in {} s", self.place(&call), wait.as_secs());
                say!("{}", terminal::message(&problem));
            }
            sleep(wait).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Nothing more is asked before then: limits are of the project, not of one request.
    fn hold(&self, wait: Duration) {
        let mut resume_at = self.resume_at.lock().unwrap_or_else(PoisonError::into_inner);
        let until = Instant::now() + wait;
        if until > *resume_at {
            *resume_at = until;
            if wait >= WAIT_TOLD {
                say!("PostHog limits the rate: the next request goes in {} s", wait.as_secs());
            }
        }
    }

    fn request(&self, call: &Call<'_>) -> anyhow::Result<Request<Full<Bytes>>> {
        let body = call.body.map(Value::to_string).unwrap_or_default();
        let mut request = Request::builder().method(&call.method).uri(self.address(call));
        request = request.header(AUTHORIZATION, &self.key).header(ACCEPT, "*/*");
        if call.body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let mut request = request.body(Full::new(Bytes::from(body)))?;
        let agent = HeaderValue::from_static(concat!("reelcase/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(http::header::USER_AGENT, agent);
        Ok(request)
    }

    fn address(&self, call: &Call<'_>) -> String {
        format!("{}/api/projects/{}/{}", self.base, crate::remote::encoded(&self.project), call.path)
    }

    /// The same for people: without what is asked of it.
    fn place(&self, call: &Call<'_>) -> String {
        let address = self.address(call);
        address.split('?').next().unwrap_or_default().to_owned()
    }

    /// Why a request can never succeed, in PostHog's words.
    async fn refusal(&self, call: &Call<'_>, reply: Response<ReplyBody>) -> anyhow::Error {
        let (status, address) = (reply.status(), self.place(call));
        let elsewhere = reply.headers().get(LOCATION).and_then(|to| to.to_str().ok()).map(str::to_owned);
        let body = read_json(reply).await.unwrap_or_default();
        let said = [&body["detail"], &body["error"]["message"], &body["error"]].into_iter().find_map(Value::as_str);
        let said = said.unwrap_or("no reason given").chars().take(REFUSAL_CHARACTERS_MAX).collect::<String>();
        let hint = match (status, elsewhere) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                "\nhint: --key takes a personal API key (phx_…) with session_recording:read, person:read and query:read"
                    .to_owned()
            }
            (_, Some(to)) => format!("\nhint: it names another place for --host: {}", terminal::line(&to)),
            _ => String::new(),
        };
        anyhow::anyhow!("{address}: PostHog answered {status}: {}{hint}", terminal::line(&said))
    }
}

/// [`PAUSE_MIN`], which tests that wait for many failures shorten.
fn pause_min() -> Duration {
    shortened_for_tests().unwrap_or(PAUSE_MIN)
}

fn verdict(status: StatusCode, headers: &HeaderMap) -> Verdict {
    let asked = retry_after_ms(headers, SystemClock.now_ms())
        .map(|ms| Duration::from_millis(ms.max(0) as u64).min(LIMIT_WAIT_MAX));
    match status.as_u16() {
        200..=299 => Verdict::Read,
        404 | 410 => Verdict::Gone,
        429 => asked.map_or(Verdict::Failed(None), Verdict::Limited),
        408 | 425 | 500..=599 => Verdict::Failed(asked),
        _ => Verdict::Refused,
    }
}

async fn read(reply: Response<ReplyBody>, sink: &mut Sink<'_>) -> Result<Read, BoxError> {
    let media_type = reply.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.to_owned();
    let to = match sink {
        Sink::Memory => return Ok(Read { json: read_json(reply).await?, media_type }),
        Sink::File(to) => to,
    };
    to.set_len(0)?;
    to.rewind()?;
    let (mut body, mut bytes) = (reply.into_body(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame?.into_data() else { continue };
        bytes += piece.len() as u64;
        if bytes > RANGE_BYTES_MAX {
            return Err(format!("a range of blocks has more than {RANGE_BYTES_MAX} bytes").into());
        }
        to.write_all(&piece)?;
    }
    Ok(Read { json: Value::Null, media_type })
}

async fn read_json(reply: Response<ReplyBody>) -> Result<Value, BoxError> {
    let body = http_body_util::Limited::new(reply.into_body(), JSON_BYTES_MAX);
    Ok(serde_json::from_slice(&body.collect().await?.to_bytes())?)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
