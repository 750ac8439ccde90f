//! What the server is told at start.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use reelcase_format::id::{ProjectKey, RecordingId};
use reelcase_format::limits::Limits;

use crate::api::FileSignature;
use crate::capture::body;
use crate::upstream::UpstreamOptions;
use crate::webhooks::WebhookOptions;

/// Shortest secret that is taken, in bytes.
pub const SECRET_BYTES_MIN: usize = 8;

/// The token that opens the read API and the web app. Prints as `[redacted]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Settings of the server. `Default` listens on loopback, takes any project key there, and makes up a secret.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What opens the read API. `None` makes up one for this run, which only loopback allows.
    pub secret: Option<Secret>,
    /// Whether an unknown project key creates its project. `None` means: on loopback only.
    pub accept_any_key: Option<bool>,
    /// Projects to create at the start, where there are none with these keys.
    pub projects: Vec<ProjectKey>,
    /// Path below which a reverse proxy mounts the server, such as `/replay`; empty for none.
    pub path_prefix: String,
    /// Address under which browsers reach the server, where it differs from `listen`.
    pub public_url: Option<String>,
    /// Bounds on one upload.
    pub limits: Limits,
    /// Bytes of bodies that may be in memory at once. Past it, uploads are asked to come back.
    pub body_bytes_in_flight_max: usize,
    /// Bytes that large uploads may inflate to at once, at least `limits.inflated_bytes_max`. Past it, they wait a
    /// little and are then asked to come back.
    pub inflated_bytes_in_flight_max: usize,
    /// Folder of further posthog-js releases, each in `<folder>/<version>/` as the npm package, its `dist/`, or bare.
    pub static_dir: Option<PathBuf>,
    /// Folder below which scheduled exports lie that go to no bucket.
    pub exports_dir: PathBuf,
    /// Whether analytics events that belong to no recording are kept too.
    pub keep_all_events: bool,
    /// How long to wait for slow clients.
    pub timeouts: Timeouts,
    /// Connections that may be open at once. Further ones wait in the kernel's queue.
    pub connections_max: usize,
    /// The PostHog that is behind this server, if any.
    pub upstream: Option<UpstreamOptions>,
    /// Who is told that a recording has ended, and how far that may reach.
    pub webhooks: WebhookOptions,
    /// Who signed the files that are served, by recording.
    pub signatures: HashMap<(ProjectKey, RecordingId), FileSignature>,
}

/// How long the server waits before it gives up.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// For the first byte of a connection, and for the whole head of a request from its first byte on.
    pub head: Duration,
    /// For the next request of a connection, while there are connections to spare.
    pub idle: Duration,
    /// For the next piece of a body.
    pub body_piece: Duration,
    /// For a whole body.
    pub body: Duration,
    /// For open requests, once the server was told to stop.
    pub shutdown: Duration,
}

/// A setting that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Anyone on the network could read every recording.
    #[error(
        "refusing to listen on {0} without a secret: recordings would be open to the network\n\
         hint: set REELCASE_SECRET or --secret-file, or listen on 127.0.0.1"
    )]
    OpenToTheNetwork(SocketAddr),
    /// Easily guessed, or a mistake such as an empty file.
    #[error("the secret has {0} bytes, fewer than {SECRET_BYTES_MIN}")]
    ShortSecret(usize),
    /// The secret cannot travel in a header or URL.
    #[error("the secret may only have printable ASCII characters without blanks")]
    OddSecret,
    /// The prefix is no path.
    #[error("the path prefix must look like /replay, found {0:?}")]
    PathPrefix(String),
    /// No upload of the largest size could ever be read.
    #[error("{name} must be at least {least} bytes, the largest single upload, found {found}")]
    BudgetBelowLimit {
        /// The setting.
        name: &'static str,
        /// The least that works.
        least: usize,
        /// What was given.
        found: usize,
    },
    /// The operating system gave no random bytes.
    #[error("no random bytes for a secret: {0}")]
    NoRandomness(String),
    /// No connection to PostHog can be made.
    #[error(transparent)]
    Upstream(#[from] reelcase_upstream::TlsError),
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8787)),
            secret: None,
            accept_any_key: None,
            projects: Vec::new(),
            path_prefix: String::new(),
            public_url: None,
            limits: Limits::default(),
            body_bytes_in_flight_max: 128 << 20,
            inflated_bytes_in_flight_max: 80 << 20,
            static_dir: None,
            exports_dir: PathBuf::from("exports"),
            keep_all_events: false,
            timeouts: Timeouts::default(),
            connections_max: 20_000,
            upstream: None,
            webhooks: WebhookOptions::default(),
            signatures: HashMap::new(),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(15),
            idle: Duration::from_secs(620),
            body_piece: Duration::from_secs(20),
            body: Duration::from_secs(120),
            shutdown: Duration::from_secs(20),
        }
    }
}

impl Secret {
    /// Takes the operator's secret; blanks around it, such as a file's last newline, are not part of it.
    pub fn new(text: &str) -> Result<Self, ConfigError> {
        let text = text.trim();
        if text.len() < SECRET_BYTES_MIN {
            return Err(ConfigError::ShortSecret(text.len()));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ConfigError::OddSecret);
        }
        Ok(Self(text.to_owned()))
    }

    /// Makes one up from 128 random bits.
    pub fn random() -> Result<Self, ConfigError> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| ConfigError::NoRandomness(error.to_string()))?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl ServerOptions {
    /// Checks the settings against each other, and settles the secret.
    pub(crate) fn settle(&mut self) -> Result<Secret, ConfigError> {
        let prefix = self.path_prefix.trim_matches('/');
        if prefix.contains("//") || !prefix.bytes().all(is_path_byte) {
            return Err(ConfigError::PathPrefix(self.path_prefix.clone()));
        }
        self.check_budgets()?;
        self.path_prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
        match &self.secret {
            Some(secret) => Ok(secret.clone()),
            None if self.listen.ip().is_loopback() => Secret::random(),
            None => Err(ConfigError::OpenToTheNetwork(self.listen)),
        }
    }

    fn check_budgets(&self) -> Result<(), ConfigError> {
        let large_bodies = self.body_bytes_in_flight_max - self.body_bytes_in_flight_max / body::SPARED_PART;
        let Limits { body_bytes_max, inflated_bytes_max, .. } = self.limits;
        if large_bodies < body_bytes_max {
            let (least, found) = (body_bytes_max.div_ceil(3) * 4, self.body_bytes_in_flight_max);
            return Err(ConfigError::BudgetBelowLimit { name: "body-bytes-in-flight-max", least, found });
        }
        let found = self.inflated_bytes_in_flight_max;
        if found < inflated_bytes_max {
            let (name, least) = ("inflated-bytes-in-flight-max", inflated_bytes_max);
            return Err(ConfigError::BudgetBelowLimit { name, least, found });
        }
        Ok(())
    }

    /// Whether an unknown project key creates its project.
    pub fn accepts_any_key(&self) -> bool {
        self.accept_any_key.unwrap_or_else(|| self.listen.ip().is_loopback())
    }
}

fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening_on(address: &str) -> ServerOptions {
        ServerOptions { listen: address.parse().unwrap(), ..ServerOptions::default() }
    }

    #[test]
    fn the_network_needs_a_secret_and_loopback_gets_one() {
        let refusal = listening_on("0.0.0.0:8787").settle().unwrap_err().to_string();
        assert!(refusal.contains("REELCASE_SECRET") && refusal.contains("--secret-file"), "{refusal}");
        let mut set = listening_on("0.0.0.0:8787");
        set.secret = Some(Secret::new("correct horse".replace(' ', "-").as_str()).unwrap());
        assert!(set.settle().is_ok());
        assert_eq!(listening_on("127.0.0.1:0").settle().unwrap().expose().len(), 32);
    }

    #[test]
    fn any_key_is_taken_on_loopback_only_unless_said_otherwise() {
        assert!(listening_on("127.0.0.1:1").accepts_any_key());
        assert!(!listening_on("0.0.0.0:1").accepts_any_key());
        let mut open = listening_on("0.0.0.0:1");
        open.accept_any_key = Some(true);
        assert!(open.accepts_any_key());
    }

    #[test]
    fn secrets_never_print() {
        let options = ServerOptions { secret: Some(Secret::new("very-secret").unwrap()), ..Default::default() };
        assert!(!format!("{options:?}").contains("very-secret"));
        assert!(matches!(Secret::new("\n"), Err(ConfigError::ShortSecret(0))));
    }

    #[test]
    fn prefixes_are_brought_into_one_form() {
        let mut options = ServerOptions { path_prefix: "replay/eu/".into(), ..Default::default() };
        options.settle().unwrap();
        assert_eq!(options.path_prefix, "/replay/eu");
        options.path_prefix = "https://x".into();
        assert!(options.settle().is_err());
    }
}
