//! Sends to PostHog what the spool holds for it, until it has it.
//!
//! Several requests are on their way at once, never two of the same recording. What fails is tried again, later each
//! time: the record itself, and its whole lane while nothing gets through. `Retry-After` is kept to, and a quota that is
//! used up stops its lane for a minute. What PostHog refuses for good is given up and counted.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::http::header::VIA;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use reelcase_store::{Due, Lane, Parcel};
use reelcase_upstream::headers::retry_after_ms;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Onward, Upstream};
use crate::state::{App, off_thread};

/// The first pause after a failure, ms. Each further one is twice as long.
const PAUSE_MS: i64 = 500;

/// The longest pause that we choose ourselves, ms.
const PAUSE_MAX_MS: i64 = 60_000;

/// The longest pause that PostHog can ask for, ms.
const RETRY_AFTER_MAX_MS: i64 = 3_600_000;

/// How long clients of PostHog wait when a quota is used up, ms.
const QUOTA_PAUSE_MS: i64 = 60_000;

/// How often the spool is tidied and written down.
const TIDY_EVERY: Duration = Duration::from_secs(1);

/// How soon it is looked whether a pause is over.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How far sending may make up for time in which there was nothing to send.
const CATCH_UP_MAX: Duration = Duration::from_millis(100);

/// Replies to uploads are short; of a longer one the rest is not read.
const REPLY_BYTES_MAX: usize = 64 << 10;

/// How long requests may take that are on their way when the server ends. They are sent again otherwise.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// What became of a record.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// PostHog has it.
    Sent,
    /// PostHog will never take it.
    Refused(StatusCode),
    /// The inbox cannot read it any more.
    Lost,
    /// To be tried again, after so many ms if PostHog said so.
    Later(Option<i64>),
}

/// How a lane goes.
#[derive(Debug, Default, Clone, Copy)]
struct Progress {
    failures: u32,
    paused_until_ms: i64,
}

/// Sends until the server stops.
pub(crate) async fn drain(app: Arc<App>) {
    let Some(upstream) = &app.upstream else { return };
    let mut lanes = [Progress::default(); 2];
    let mut sending = JoinSet::new();
    let pace = Duration::from_secs(1) / upstream.options.spool_rate_max.max(1);
    let mut next_at = Instant::now();
    let mut tidy_at = Instant::now();
    loop {
        let now = Instant::now();
        if now >= tidy_at {
            tidy(&app).await;
            tidy_at = now + TIDY_EVERY;
        }
        let mut wake_at = tidy_at;
        while sending.len() < upstream.options.spool_requests_max {
            if Instant::now() < next_at {
                wake_at = next_at;
                break;
            }
            let Some(due) = next(&app, &lanes) else {
                if !app.store.spool_is_empty() {
                    // What is there waits for a pause to end, or for its own.
                    wake_at = now + LOOK_EVERY;
                }
                break;
            };
            // A little may be made up for, so that the rate holds on average; never a long pause.
            next_at = next_at.max(Instant::now() - CATCH_UP_MAX) + pace;
            sending.spawn(send(app.clone(), due));
        }
        tokio::select! {
            () = app.stopped() => break,
            Some(Ok((due, outcome))) = sending.join_next() => settle(&app, upstream, &mut lanes, due, outcome),
            () = app.store.more_to_send() => {}
            () = tokio::time::sleep_until(wake_at) => {}
        }
    }
    let last = async {
        while let Some(Ok((due, outcome))) = sending.join_next().await {
            settle(&app, upstream, &mut lanes, due, outcome);
        }
    };
    drop(tokio::time::timeout(LAST_WAIT, last).await);
    tidy(&app).await;
}

async fn tidy(app: &Arc<App>) {
    let store = Arc::clone(&app.store);
    // Fails only while the process ends.
    let _ = off_thread(move || store.tidy_spool()).await;
}

fn next(app: &App, lanes: &[Progress; 2]) -> Option<Due> {
    let now_ms = app.clock.now_ms();
    let is_open = |lane: &Lane| lanes[*lane as usize].paused_until_ms <= now_ms;
    Lane::ALL.into_iter().filter(is_open).find_map(|lane| app.store.next_to_send(lane, now_ms))
}

/// Sends one record, and says what became of it.
async fn send(app: Arc<App>, due: Due) -> (Due, Outcome) {
    let store = Arc::clone(&app.store);
    let parcel = match off_thread(move || store.parcel(due.position)).await {
        Ok(Ok(Some(parcel))) => parcel,
        Ok(Ok(None)) => return (due, Outcome::Lost),
        Ok(Err(error)) => {
            tracing::error!(error = &error as &dyn std::error::Error, "an upload for PostHog cannot be read");
            let is_lost = !matches!(error, reelcase_store::inbox::InboxError::Disk { .. });
            return (due, if is_lost { Outcome::Lost } else { Outcome::Later(None) });
        }
        Err(_) => return (due, Outcome::Later(None)),
    };
    let Some(upstream) = &app.upstream else { return (due, Outcome::Later(None)) };
    let Some((onward, body)) = upstream.unpack(parcel) else { return (due, Outcome::Lost) };
    let Ok(reply) = upstream.send(&app, onward, Full::new(body)).await else { return (due, Outcome::Later(None)) };
    let (parts, body) = reply.into_parts();
    let body = Limited::new(body, REPLY_BYTES_MAX).collect().await.map(http_body_util::Collected::to_bytes);
    let now_ms = app.clock.now_ms();
    let outcome = outcome(parts.status, &parts.headers, body.as_deref().unwrap_or_default(), now_ms);
    if outcome != Outcome::Sent {
        let why = if parts.status.is_success() { "a quota is used up".to_owned() } else { parts.status.to_string() };
        upstream.note_error(format!("an upload was answered: {why}"), now_ms);
    }
    (due, outcome)
}

/// What a reply means. Where a browser would drop an upload, it is dropped, but for what says itself that it passes.
fn outcome(status: StatusCode, headers: &HeaderMap, reply: &[u8], now_ms: i64) -> Outcome {
    let retry_after_ms = retry_after_ms(headers, now_ms).map(|asked_ms| asked_ms.min(RETRY_AFTER_MAX_MS));
    match status.as_u16() {
        200..=299 if is_quota_limited(reply) => Outcome::Later(Some(QUOTA_PAUSE_MS)),
        200..=299 => Outcome::Sent,
        408 | 425 | 429 => Outcome::Later(retry_after_ms),
        400..=499 => Outcome::Refused(status),
        _ => Outcome::Later(retry_after_ms),
    }
}

fn is_quota_limited(reply: &[u8]) -> bool {
    let reply: Option<serde_json::Value> = serde_json::from_slice(reply).ok();
    reply.is_some_and(|reply| reply["quota_limited"].as_array().is_some_and(|limited| !limited.is_empty()))
}

fn settle(app: &App, upstream: &Upstream, lanes: &mut [Progress; 2], due: Due, outcome: Outcome) {
    let counts = &upstream.counts;
    let progress = &mut lanes[due.lane as usize];
    let now_ms = app.clock.now_ms();
    match outcome {
        Outcome::Sent => {
            progress.failures = 0;
            counts.spool_sent.fetch_add(1, Relaxed);
            app.store.sent(due.position);
        }
        Outcome::Refused(status) => {
            progress.failures = 0;
            counts.spool_refused.fetch_add(1, Relaxed);
            tracing::warn!(%status, "PostHog refused an upload for good; it is kept here as far as it could be");
            app.store.sent(due.position);
        }
        Outcome::Lost => {
            counts.spool_refused.fetch_add(1, Relaxed);
            app.store.sent(due.position);
        }
        Outcome::Later(asked_ms) => {
            counts.spool_retried.fetch_add(1, Relaxed);
            // Those that were on their way together have failed together: that is one failure.
            if now_ms >= progress.paused_until_ms {
                progress.failures += 1;
            }
            let pause_ms = asked_ms.unwrap_or(0).max(pause_ms(progress.failures));
            progress.paused_until_ms = progress.paused_until_ms.max(now_ms + pause_ms);
            counts.spool_paused_until_ms[due.lane as usize].store(progress.paused_until_ms.unsigned_abs(), Relaxed);
            let own_pause_ms = self::pause_ms(due.attempts + 1).max(asked_ms.unwrap_or(0));
            app.store.not_sent(due.position, now_ms + own_pause_ms);
        }
    }
}

fn pause_ms(failures: u32) -> i64 {
    PAUSE_MS.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(PAUSE_MAX_MS)
}

impl Upstream {
    /// A record as a request.
    fn unpack(&self, parcel: Parcel) -> Option<(Onward, Bytes)> {
        let Parcel { onward, body, .. } = parcel;
        let target: PathAndQuery = onward.target.parse().ok()?;
        let pairs = onward.headers.iter();
        let mut headers: HeaderMap = pairs
            .filter_map(|(name, value)| Some((name.parse::<HeaderName>().ok()?, value.parse::<HeaderValue>().ok()?)))
            .collect();
        headers.append(VIA, HeaderValue::from_str(&format!("1.1 {}", self.instance)).ok()?);
        let uri = self.options.hosts.of(target.path()).uri(&target)?;
        Some((Onward { method: onward.method.parse().ok()?, uri, headers }, body))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header::RETRY_AFTER;

    use super::*;

    /// 1994-11-06T08:49:30Z.
    const NOW_MS: i64 = 784_111_770_000;

    fn of(status: u16, retry_after: Option<&'static str>, reply: &str) -> Outcome {
        let headers = retry_after.map(|after| (RETRY_AFTER, HeaderValue::from_static(after)));
        outcome(StatusCode::from_u16(status).unwrap(), &headers.into_iter().collect(), reply.as_bytes(), NOW_MS)
    }

    #[test]
    fn what_passes_is_tried_again_and_what_does_not_is_given_up() {
        assert_eq!(of(200, None, "{\"status\":\"Ok\"}"), Outcome::Sent);
        assert_eq!(of(204, None, ""), Outcome::Sent);
        for status in [400, 401, 403, 404, 413] {
            assert_eq!(of(status, None, ""), Outcome::Refused(StatusCode::from_u16(status).unwrap()));
        }
        for status in [301, 408, 429, 500, 502, 503, 504] {
            assert_eq!(of(status, None, ""), Outcome::Later(None), "{status}");
        }
    }

    #[test]
    fn posthog_says_how_long_to_wait() {
        assert_eq!(of(429, Some("7"), ""), Outcome::Later(Some(7_000)));
        assert_eq!(of(503, Some("Sun, 06 Nov 1994 08:49:37 GMT"), ""), Outcome::Later(Some(7_000)));
        for long in ["999999999", "Sat, 06 Nov 2094 08:49:37 GMT"] {
            assert_eq!(of(503, Some(long), ""), Outcome::Later(Some(RETRY_AFTER_MAX_MS)), "{long}");
        }
        assert_eq!(of(200, None, "{\"quota_limited\":[\"recordings\"]}"), Outcome::Later(Some(QUOTA_PAUSE_MS)));
        assert_eq!(of(200, None, "{\"quota_limited\":[]}"), Outcome::Sent);
    }

    #[test]
    fn pauses_double_up_to_a_minute() {
        assert_eq!([1, 2, 3, 8, 90].map(pause_ms), [500, 1_000, 2_000, 60_000, 60_000]);
    }
}
