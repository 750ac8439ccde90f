//! `reelcase doctor`: what the server found when it looked at itself, then one upload, followed from end to end.
//!
//! The upload takes the way of a page's: to the address that pages use, with the headers that a browser sends, through
//! every proxy in front. It belongs to a project that no list shows, and is forgotten at the end.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, CONTENT_TYPE,
    HeaderName, ORIGIN,
};
use http::{HeaderMap, Method, Request};
use http_body_util::Full;
use reelcase_store::{Clock, SystemClock};
use serde_json::Value;

use crate::remote::Remote;
use crate::terminal;
use crate::web::{Web, base_of};

/// Where the page would be. Its site is asked for, and never connected to.
const PAGE: &str = "https://doctor.reelcase.invalid";
/// A clock that is further off than this moves recordings to where nobody looks, ms.
const SKEW_MAX_MS: u64 = 60_000;
/// Words in an address for which ad blockers stop requests.
const BLOCKED_WORDS: [&str; 6] = ["posthog", "analytics", "tracking", "tracker", "telemetry", "metrics"];
/// How long an upload may take to be listed: behind a PostHog that is slow, its copy is kept when it has answered.
const LISTED_WAIT: Duration = Duration::from_secs(10);
/// How long an answer may take.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Where it runs.
    #[arg(long, default_value = "http://127.0.0.1:8787")]
    server: String,
    /// The address that pages use, where it is another: through whatever stands in front of the server.
    #[arg(long)]
    url: Option<String>,
    /// Key of the project whose config is looked at [default: the first].
    #[arg(long)]
    project: Option<String>,
    /// What opens it.
    #[arg(long, env = "REELCASE_TOKEN", hide_env_values = true)]
    token: String,
}

/// What is said of one step.
struct Finding {
    state: State,
    name: &'static str,
    message: String,
    hint: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Ok,
    Warn,
    Fail,
}

/// Looks at a server, then sends it one upload.
pub(crate) async fn doctor(args: DoctorArgs) -> anyhow::Result<ExitCode> {
    let url = base_of(args.url.as_ref().unwrap_or(&args.server))?;
    let remote = Remote::new(Some(args.server), Some(args.token))?;
    let mut is_well = true;
    let report = remote.json("/api/doctor").await?;
    for check in report["checks"].as_array().into_iter().flatten() {
        let text = |name: &str| terminal::line(check[name].as_str().unwrap_or(""));
        is_well &= text("state") != "fail";
        let hint = Some(text("hint")).filter(|hint| !hint.is_empty());
        print(&text("state"), &text("name"), &text("message"), hint)?;
    }
    print_line!("\nOne upload, by way of {url}:")?;
    let mut way = Way { url, web: Web::new()?, remote, findings: Vec::new() };
    way.follow(args.project).await?;
    for Finding { state, name, message, hint } in way.findings {
        is_well &= state != State::Fail;
        print(state.word(), name, &terminal::line(&message), hint)?;
    }
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(state: &str, name: &str, message: &str, hint: Option<String>) -> anyhow::Result<()> {
    print_line!("{state:<4} {name}: {message}")?;
    hint.map_or(Ok(()), |hint| print_line!("     hint: {hint}"))
}

/// The way that an upload takes, and what was found on it.
struct Way {
    url: String,
    web: Web,
    remote: Remote,
    findings: Vec<Finding>,
}

/// An answer, as far as a page could see it.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Way {
    /// Goes the way step by step. What a step needs of an earlier one that failed is not asked for.
    async fn follow(&mut self, project: Option<String>) -> anyhow::Result<()> {
        let trial = self.remote.send(Method::POST, "/api/trial", &Value::Null).await?;
        let id = trial["id"].as_str().unwrap_or_default().to_owned();
        self.address();
        if self.reach(&trial).await {
            let project = match project {
                Some(key) => Some(key),
                None => self.first_project().await?,
            };
            match project {
                Some(key) => self.config(&key).await,
                None => {
                    self.warn("config", "there is no project yet, or it has no key", "make one on the page Settings")
                }
            }
            self.script(trial["script_version"].as_str().unwrap_or_default()).await;
            self.preflight().await;
            if self.upload(trial["upload"].as_str().unwrap_or_default()).await {
                self.kept(&id).await?;
            }
        }
        self.remote.send(Method::DELETE, &format!("/api/trial/{id}"), &Value::Null).await?;
        self.visitors().await
    }

    fn address(&mut self) {
        let address = self.url.to_ascii_lowercase();
        match BLOCKED_WORDS.iter().find(|word| address.contains(**word)) {
            Some(word) => self.warn(
                "address",
                format!("ad blockers stop requests to addresses with {word:?} in them"),
                "give the server another name or path prefix, such as /r",
            ),
            None => self.ok("address", "has no word that ad blockers look for"),
        }
    }

    /// Whether anybody answers there, and whether it is us.
    async fn reach(&mut self, trial: &Value) -> bool {
        let asked_at = Instant::now();
        match self.ask(Method::GET, "/health", None).await {
            Err(error) => {
                self.fail("reach", format!("nobody answers: {error}"), "check the name, the certificate and the proxy");
                return false;
            }
            Ok(Answer { status: 200, body, .. }) if body.starts_with(b"{\"status\":\"ok\"") => {
                self.ok("reach", format!("Reelcase answers in {} ms", asked_at.elapsed().as_millis()));
            }
            Ok(Answer { status, .. }) => {
                let hint = "let the proxy pass every path below this address on, unchanged";
                self.fail("reach", format!("something else answers /health, with {status}"), hint);
                return false;
            }
        }
        let here_ms = SystemClock.now_ms();
        let skew_ms = here_ms.abs_diff(trial["now_ms"].as_i64().unwrap_or(here_ms));
        if skew_ms > SKEW_MAX_MS {
            let hint = "set both clocks by NTP; recordings bear the time of the visitor's clock";
            self.warn("clock", format!("the server's clock and the one here differ by {} s", skew_ms / 1_000), hint);
        } else {
            self.ok("clock", "agrees with the one here");
        }
        true
    }

    async fn first_project(&self) -> anyhow::Result<Option<String>> {
        let projects = self.remote.json("/api/projects").await?;
        Ok(projects[0]["capture_key"].as_str().map(str::to_owned))
    }

    /// What pages of the project are told.
    async fn config(&mut self, key: &str) {
        let path = format!("/array/{key}/config");
        let answer = match self.ask(Method::GET, &path, None).await {
            Ok(answer) => answer,
            Err(error) => return self.fail("config", format!("{path} is not answered: {error}"), PASS_ON),
        };
        let Ok(config) = serde_json::from_slice::<Value>(&answer.body) else {
            return self.fail("config", format!("{path} is answered with {} and no config", answer.status), PASS_ON);
        };
        if answer.status != 200 {
            let message = config["error"]["message"].as_str().unwrap_or("no reason given").to_owned();
            return self.fail("config", format!("{path} is answered with {}: {message}", answer.status), "see above");
        }
        if !answer.is_open() {
            return self.closed("config", &path);
        }
        let is_limited = config["quotaLimited"].as_array().is_some_and(|of| of.iter().any(|of| of == "recordings"));
        match &config["sessionRecording"] {
            Value::Object(_) => self.ok("config", "tells pages to record"),
            _ if is_limited => self.fail(
                "config",
                "PostHog's quota of recordings is used up, so pages are told not to record",
                "switch recording on for this project on the page Settings: it goes on here all the same",
            ),
            _ => self.fail(
                "config",
                "tells pages of another site not to record",
                "look at `recording` and `domains` on the page Settings, or at PostHog's own",
            ),
        }
    }

    /// Whether a page could load what records.
    async fn script(&mut self, version: &str) {
        for path in ["/static/array.js".to_owned(), format!("/static/{version}/lazy-recorder.js")] {
            match self.ask(Method::GET, &path, None).await {
                Err(error) => return self.fail("script", format!("{path} is not answered: {error}"), PASS_ON),
                Ok(answer) if answer.status != 200 => {
                    return self.fail("script", format!("{path} is answered with {}", answer.status), PASS_ON);
                }
                Ok(answer) if !answer.says(CONTENT_TYPE, "javascript") => {
                    return self.fail("script", format!("{path} is no script"), PASS_ON);
                }
                Ok(answer) if !answer.is_open() => return self.closed("script", &path),
                Ok(_) => (),
            }
        }
        self.ok("script", "loads, and pages of other sites may use it");
    }

    async fn preflight(&mut self) {
        match self.ask(Method::OPTIONS, "/s/", None).await {
            Err(error) => self.fail("preflight", format!("OPTIONS /s/ is not answered: {error}"), PASS_ON),
            Ok(answer) if !(200..300).contains(&answer.status) => {
                self.fail("preflight", format!("OPTIONS /s/ is answered with {}", answer.status), PASS_ON);
            }
            Ok(answer) if !answer.is_open() => self.closed("preflight", "OPTIONS /s/"),
            Ok(_) => self.ok("preflight", "pages of other sites may send"),
        }
    }

    /// Sends the upload. Whether it may have arrived.
    async fn upload(&mut self, body: &str) -> bool {
        let asked_at = Instant::now();
        let answer = match self.ask(Method::POST, "/s/", Some(body)).await {
            Ok(answer) => answer,
            Err(error) => {
                self.fail("upload", format!("it is not answered: {error}"), PASS_ON);
                return false;
            }
        };
        let took_ms = asked_at.elapsed().as_millis();
        match answer.status {
            200 if answer.is_open() => self.ok("upload", format!("taken in {took_ms} ms")),
            200 => self.closed("upload", "POST /s/"),
            413 => self.fail("upload", "it is too long for something in front", "let the proxy take bodies of 64 MiB"),
            status => {
                let text = String::from_utf8_lossy(&answer.body);
                let text: String = text.chars().take(200).collect();
                self.fail("upload", format!("answered with {status}: {text}"), "see what answers there, and its log");
            }
        }
        true
    }

    /// What became of the upload.
    async fn kept(&mut self, id: &str) -> anyhow::Result<()> {
        let until = Instant::now() + LISTED_WAIT;
        let state = loop {
            let state = self.remote.json(&format!("/api/trial/{id}")).await?;
            if state["is_sealed"] == true || Instant::now() > until {
                break state;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        let mode = state["upstream"]["mode"].as_str();
        match (state["is_sealed"] == true, state["is_playable"] == true) {
            (true, true) => {
                self.ok("kept", "durable, sealed into an object, and listed");
                self.ok("played", "every byte of it can be read, and it begins with a full snapshot");
            }
            (true, false) => {
                let problem = state["problem"].as_str().unwrap_or("it cannot be read");
                self.fail(
                    "played",
                    format!("it is listed, and cannot be shown: {problem}"),
                    "look at the disk and the log",
                );
            }
            (false, _) if mode == Some("pass") => {
                let hint = "choose tee or mirror on the page Settings to have a copy here";
                self.warn("kept", "nothing is kept in the mode pass", hint);
            }
            (false, _) => {
                let hint = "the checks above say why; where they are well, another server answers at this address";
                self.fail("kept", "it did not arrive in this store", hint);
            }
        }
        match (mode, state["upstream"]["last_error"].as_str(), state["upstream"]["answered_at_ms"].as_u64()) {
            (None, ..) => (),
            (Some(mode), _, Some(_)) => self.ok("upstream", format!("PostHog answers, in the mode {mode}")),
            (Some("store"), ..) => self.ok("upstream", "PostHog is not asked in the mode store"),
            (Some(mode), error, None) => {
                let error = error.unwrap_or("it was not asked yet");
                self.warn("upstream", format!("PostHog has not answered, in the mode {mode}: {error}"), "see the log");
            }
        }
        Ok(())
    }

    /// Where all of this is well, what is missing is a visitor.
    async fn visitors(&mut self) -> anyhow::Result<()> {
        let newest = self.remote.json("/api/recordings?limit=1").await?;
        if newest["recordings"][0].is_null() && self.findings.iter().all(|finding| finding.state != State::Fail) {
            let hint = "open a page and click in it: recorders send only after the visitor did something";
            self.warn("visitors", "nobody was recorded yet", hint);
        }
        Ok(())
    }

    /// Asks as a browser would for a page of another site.
    async fn ask(&self, method: Method, path: &str, body: Option<&str>) -> Result<Answer, String> {
        let is_preflight = method == Method::OPTIONS;
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url)).header(ORIGIN, PAGE);
        if is_preflight {
            request = request.header(ACCESS_CONTROL_REQUEST_METHOD, "POST");
            request = request.header(ACCESS_CONTROL_REQUEST_HEADERS, "content-type");
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let read = async {
            let reply =
                self.web.send(request.body(Full::new(Bytes::from(body.unwrap_or_default().to_owned())))?).await?;
            let (status, headers) = (reply.status.as_u16(), reply.headers.clone());
            anyhow::Ok(Answer { status, headers, body: reply.bytes().await? })
        };
        let read = tokio::time::timeout(ANSWER_WAIT, read).await;
        let read = read.map_err(|_| format!("no answer within {} s", ANSWER_WAIT.as_secs()))?;
        read.map_err(|error| format!("{error:#}"))
    }

    /// A browser would keep the answer from the page.
    fn closed(&mut self, name: &'static str, what: &str) {
        let message = format!("{what} is answered, but not so that pages of other sites may read it");
        let hint = "something in front takes Access-Control-Allow-Origin away, or sets it twice; let it pass unchanged";
        self.fail(name, message, hint);
    }

    fn ok(&mut self, name: &'static str, message: impl Into<String>) {
        self.findings.push(Finding { state: State::Ok, name, message: message.into(), hint: None });
    }

    fn warn(&mut self, name: &'static str, message: impl Into<String>, hint: &str) {
        self.findings.push(Finding { state: State::Warn, name, message: message.into(), hint: Some(hint.to_owned()) });
    }

    fn fail(&mut self, name: &'static str, message: impl Into<String>, hint: &str) {
        self.findings.push(Finding { state: State::Fail, name, message: message.into(), hint: Some(hint.to_owned()) });
    }
}

const PASS_ON: &str = "let the proxy pass this path on, with every method and header";

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

impl Answer {
    /// Whether a browser would let a page of another site have it: allowed for that site or all, and said once.
    fn is_open(&self) -> bool {
        let mut allowed = self.headers.get_all(ACCESS_CONTROL_ALLOW_ORIGIN).iter();
        match (allowed.next(), allowed.next()) {
            (Some(site), None) => site == PAGE || site == "*",
            _ => false,
        }
    }

    fn says(&self, name: HeaderName, word: &str) -> bool {
        self.headers.get(name).is_some_and(|value| value.to_str().is_ok_and(|text| text.contains(word)))
    }
}
