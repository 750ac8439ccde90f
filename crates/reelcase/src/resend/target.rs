//! The PostHog that recordings are sent to: asked again for what may succeed later, as long as it wants to be waited for.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use reelcase_store::{Clock, SystemClock};
use reelcase_upstream::headers::retry_after_ms;
use reelcase_upstream::{Client, Waits};
use serde_json::Value;
use tokio::time::sleep;

use super::address_of;
use crate::terminal;
use crate::web::shortened_for_tests;

const WAITS: Waits =
    Waits { connect: Duration::from_secs(20), reply: Duration::from_secs(60), piece: Duration::from_secs(30) };

/// How often an upload may fail for another reason than that PostHog wants it later.
const FAILURES_MAX: u32 = 8;

/// After so many failures of an upload somebody who watches wants to know why nothing goes on.
const FAILURES_TOLD: u32 = 3;

/// The first pause after a failure. Each is twice as long as the one before, up to a minute.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// How long PostHog may make an upload wait.
const LATER_MAX: Duration = Duration::from_secs(3_700);

/// A wait of this length is worth a line.
const WAIT_TOLD: Duration = Duration::from_secs(20);

/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Characters of a refusal that are shown.
const REFUSAL_CHARACTERS_MAX: usize = 300;

/// See the module's page.
pub(super) struct Target {
    client: Client,
    address: String,
}

/// What PostHog makes of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Taken,
    TooLarge,
}

/// PostHog takes none of it, now and later, or is not there.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refusal(String);

impl Target {
    pub(super) fn new(to: &str) -> anyhow::Result<Self> {
        Ok(Self { client: Client::new(WAITS, None)?, address: address_of(to)? })
    }

    /// Where uploads go.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Sends an upload until it is answered.
    pub(super) async fn send(&self, body: Vec<u8>) -> anyhow::Result<Answer> {
        let body = Bytes::from(body);
        let (mut pause, mut failures, mut is_anybody_there) = (pause_min(), 0, false);
        loop {
            // As posthog-js sends it: what it is is found out from its first bytes.
            let request = Request::post(&self.address).header(CONTENT_TYPE, "text/plain");
            let request = request.header(USER_AGENT, concat!("reelcase/", env!("CARGO_PKG_VERSION")));
            let sent = self.client.send(request.body(Full::new(body.clone()))?).await;
            is_anybody_there |= sent.is_ok();
            let problem = match sent {
                Err(error) => format!("{:#}", anyhow::Error::from(error)),
                Ok(reply) => {
                    let (status, later) = (reply.status(), retry_after_ms(reply.headers(), SystemClock.now_ms()));
                    let answer = Limited::new(reply.into_body(), ANSWER_BYTES_MAX).collect().await;
                    match (status, later) {
                        (StatusCode::PAYLOAD_TOO_LARGE, _) => return Ok(Answer::TooLarge),
                        (status, _) if status.is_success() => match answer {
                            Ok(answer) => return taken(&answer.to_bytes()),
                            // It may be done. Sent again, it is known by its id.
                            Err(error) => format!("the answer broke off: {error}"),
                        },
                        (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, Some(later_ms)) => {
                            wait(Duration::from_millis(later_ms.max(0) as u64).min(LATER_MAX)).await;
                            continue;
                        }
                        (status, _) if status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429) => {
                            format!("PostHog answered {status}")
                        }
                        _ => {
                            let answer = answer.map(|answer| answer.to_bytes()).unwrap_or_default();
                            return Err(self.refusal(status, &answer).into());
                        }
                    }
                }
            };
            failures += 1;
            if failures == FAILURES_MAX {
                let problem = format!("{} failed {failures} times: {problem}", self.address);
                // What is to be sent next would find nobody either.
                return Err(match is_anybody_there {
                    true => anyhow::anyhow!(problem),
                    false => Refusal(format!("{problem}\nhint: the same command takes it up where it ended")).into(),
                });
            }
            if failures == FAILURES_TOLD {
                say!("{}", terminal::message(&format!("{}: {problem}; it is tried for a minute more", self.address)));
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn refusal(&self, status: StatusCode, answer: &[u8]) -> Refusal {
        let said: String = String::from_utf8_lossy(answer).chars().take(REFUSAL_CHARACTERS_MAX).collect();
        let hint = match status {
            StatusCode::UNAUTHORIZED => "\nhint: --key takes the key of a project (phc_…), as pages have it",
            _ => "",
        };
        Refusal(format!("{}: PostHog answered {status}: {}{hint}", self.address, terminal::line(&said)))
    }
}

/// [`PAUSE_MIN`], which tests that wait for many failures shorten.
fn pause_min() -> Duration {
    shortened_for_tests().unwrap_or(PAUSE_MIN)
}

/// PostHog answers 200 also where it keeps nothing.
fn taken(answer: &[u8]) -> anyhow::Result<Answer> {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let limited = answer["quota_limited"].as_array().into_iter().flatten();
    if limited.into_iter().any(|what| what == "recordings") {
        let what =
            "PostHog's quota of recordings is used up, and it kept nothing\nhint: the same command goes on later";
        return Err(Refusal(what.to_owned()).into());
    }
    Ok(Answer::Taken)
}

async fn wait(how_long: Duration) {
    if how_long >= WAIT_TOLD {
        say!("PostHog wants the next upload in {} s", how_long.as_secs());
    }
    sleep(how_long).await;
}
