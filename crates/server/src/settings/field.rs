//! All settings in a table: what they are called, what they do, and what may be in them.
//!
//! The check of what is written, the web app's page, the command and `docs/settings.md` are made of it.

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// A setting.
#[derive(Debug, Serialize, ToSchema)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Where it belongs.
    pub group: Group,
    /// Its name for people.
    pub title: &'static str,
    /// What it does, in one sentence.
    pub help: &'static str,
    /// What may be in it.
    #[serde(flatten)]
    pub kind: Kind,
    /// The key of PostHog's config that clients read.
    pub key: &'static str,
    /// The oldest of the tested releases of posthog-js that reads it.
    pub since: &'static str,
}

/// What belongs together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// What is recorded.
    What,
    /// When it is.
    When,
    /// What is kept out.
    Privacy,
    /// Network and console.
    Network,
    /// Canvas.
    Canvas,
    /// On which sites.
    Where,
    /// By which script.
    Recorder,
}

/// What may be in a setting, and what is when nobody decided.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// On or off.
    Switch {
        /// What it is by default.
        default: bool,
    },
    /// A number from 0 to 1.
    Share {
        /// What it is by default.
        default: f64,
    },
    /// A whole number.
    Whole {
        /// What it is by default.
        default: u32,
        /// The least.
        min: u32,
        /// The most.
        max: u32,
        /// What it counts.
        unit: &'static str,
    },
    /// A list of texts; empty by default.
    List {
        /// What each of them is.
        item: Item,
        /// Most items.
        items_max: usize,
        /// Most characters of one.
        characters_max: usize,
    },
    /// A text; empty by default.
    Text {
        /// What it is.
        item: Item,
        /// Most characters.
        characters_max: usize,
    },
    /// A list of groups of conditions; empty by default.
    Groups {
        /// Most groups.
        items_max: usize,
        /// Most characters of a name.
        characters_max: usize,
    },
    /// One of several words.
    Choice {
        /// What it is by default.
        default: &'static str,
        /// The words.
        options: &'static [Choice],
    },
}

/// What a text stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// A regular expression of JavaScript.
    Pattern,
    /// The name of an event.
    Event,
    /// The address of a site, in which `*` stands for anything.
    Domain,
    /// A CSS selector.
    Selector,
    /// `flag`, or `flag:variant`.
    Flag,
    /// A script, its release and its hash: `lazy-recorder.js@1.449.2=9f86…`.
    ScriptPin,
}

/// One of several words.
#[derive(Debug, Serialize, ToSchema)]
pub struct Choice {
    /// The word.
    pub value: &'static str,
    /// What it means.
    pub label: &'static str,
}

const PATTERNS: Kind = Kind::List { item: Item::Pattern, items_max: 100, characters_max: 500 };
const SELECTOR: Kind = Kind::Text { item: Item::Selector, characters_max: 2_000 };
const OFF: Kind = Kind::Switch { default: false };
const ON: Kind = Kind::Switch { default: true };

/// Every setting, in the order in which people see them.
pub static FIELDS: &[Field] = &[
    Field {
        name: "recording",
        group: Group::What,
        title: "Record sessions",
        help: "Off tells every page to stop; what is recorded already stays.",
        kind: ON,
        key: "sessionRecording",
        since: "1.96.1",
    },
    Field {
        name: "sample_rate",
        group: Group::When,
        title: "Part of the sessions",
        help: "How likely it is that a session is recorded, from beginning to end or not at all.",
        kind: Kind::Share { default: 1.0 },
        key: "sessionRecording.sampleRate",
        since: "1.96.1",
    },
    Field {
        name: "minimum_duration_ms",
        group: Group::When,
        title: "Shortest session",
        help: "Nothing is sent before a session has lasted this long, so that short visits leave no recording.",
        kind: Kind::Whole { default: 0, min: 0, max: 60_000, unit: "ms" },
        key: "sessionRecording.minimumDurationMilliseconds",
        since: "1.96.1",
    },
    Field {
        name: "url_triggers",
        group: Group::When,
        title: "Start on these addresses",
        help: "Recording waits until the page's address fits one of these regular expressions.",
        kind: PATTERNS,
        key: "sessionRecording.urlTriggers",
        since: "1.215.7",
    },
    Field {
        name: "event_triggers",
        group: Group::When,
        title: "Start with these events",
        help: "Recording waits until the page captures an event of one of these names.",
        kind: Kind::List { item: Item::Event, items_max: 100, characters_max: 200 },
        key: "sessionRecording.eventTriggers",
        since: "1.215.7",
    },
    Field {
        name: "linked_flag",
        group: Group::When,
        title: "Feature flag",
        help: "Recording waits for this flag, which the page must bootstrap or an upstream must answer: this server \
               evaluates no flags.",
        kind: Kind::Text { item: Item::Flag, characters_max: 400 },
        key: "sessionRecording.linkedFlag",
        since: "1.96.1",
    },
    Field {
        name: "trigger_match",
        group: Group::When,
        title: "Of several conditions",
        help: "Says how part, addresses, events and flag combine where more than one is set.",
        kind: Kind::Choice {
            default: "all",
            options: &[
                Choice { value: "all", label: "All must hold" },
                Choice { value: "any", label: "One is enough" },
            ],
        },
        key: "sessionRecording.triggerMatchType",
        since: "1.257.2",
    },
    Field {
        name: "trigger_groups",
        group: Group::When,
        title: "Groups of conditions",
        help: "Each group has a part, a shortest session, addresses, events and a flag of its own, and one that holds is \
               enough; clients that know groups look at nothing else above.",
        kind: Kind::Groups { items_max: 20, characters_max: 100 },
        key: "sessionRecording.triggerGroups",
        since: "1.418.10",
    },
    Field {
        name: "url_blocklist",
        group: Group::When,
        title: "Pause on these addresses",
        help: "Nothing is recorded while the page's address fits one of these regular expressions.",
        kind: PATTERNS,
        key: "sessionRecording.urlBlocklist",
        since: "1.215.7",
    },
    Field {
        name: "mask_inputs",
        group: Group::Privacy,
        title: "Mask what is typed",
        help: "Replaces the values of fields by stars in the visitor's browser; passwords are masked either way.",
        kind: ON,
        key: "sessionRecording.masking.maskAllInputs",
        since: "1.257.2",
    },
    Field {
        name: "mask_all_text",
        group: Group::Privacy,
        title: "Mask all text",
        help: "Replaces every word on the page by stars in the visitor's browser.",
        kind: OFF,
        key: "sessionRecording.masking.maskTextSelector",
        since: "1.257.2",
    },
    Field {
        name: "mask_text_selector",
        group: Group::Privacy,
        title: "Mask the text of",
        help: "Replaces the words of elements that fit this CSS selector by stars.",
        kind: SELECTOR,
        key: "sessionRecording.masking.maskTextSelector",
        since: "1.257.2",
    },
    Field {
        name: "block_selector",
        group: Group::Privacy,
        title: "Leave out",
        help: "Records an empty box in place of elements that fit this CSS selector.",
        kind: SELECTOR,
        key: "sessionRecording.masking.blockSelector",
        since: "1.257.2",
    },
    Field {
        name: "console_log",
        group: Group::Network,
        title: "Console",
        help: "Records what the page writes to its console, errors included.",
        kind: ON,
        key: "sessionRecording.consoleLogRecordingEnabled",
        since: "1.96.1",
    },
    Field {
        name: "network_timing",
        group: Group::Network,
        title: "Requests",
        help: "Records address, status and times of the page's requests.",
        kind: ON,
        key: "capturePerformance.network_timing",
        since: "1.150.1",
    },
    Field {
        name: "network_headers",
        group: Group::Network,
        title: "Headers of requests",
        help: "Records the headers of requests and answers; clients leave out those known to carry secrets.",
        kind: OFF,
        key: "sessionRecording.networkPayloadCapture.recordHeaders",
        since: "1.96.1",
    },
    Field {
        name: "network_bodies",
        group: Group::Network,
        title: "Bodies of requests",
        help: "Records what requests send and bring, which may be anything that the page knows of its visitor.",
        kind: OFF,
        key: "sessionRecording.networkPayloadCapture.recordBody",
        since: "1.96.1",
    },
    Field {
        name: "canvas",
        group: Group::Canvas,
        title: "Record canvas elements",
        help: "Takes pictures of every canvas; nothing that is drawn there can be masked.",
        kind: OFF,
        key: "sessionRecording.recordCanvas",
        since: "1.150.1",
    },
    Field {
        name: "canvas_fps",
        group: Group::Canvas,
        title: "Pictures a second",
        help: "More pictures move more smoothly, and make recordings larger.",
        kind: Kind::Whole { default: 4, min: 1, max: 12, unit: "a second" },
        key: "sessionRecording.canvasFps",
        since: "1.150.1",
    },
    Field {
        name: "canvas_quality",
        group: Group::Canvas,
        title: "Quality of the pictures",
        help: "Low is small and blurred, high is large and sharp.",
        kind: Kind::Share { default: 0.4 },
        key: "sessionRecording.canvasQuality",
        since: "1.150.1",
    },
    Field {
        name: "domains",
        group: Group::Where,
        title: "Sites that may be recorded",
        help: "Pages of other sites are told not to record; with none listed, every site may.",
        kind: Kind::List { item: Item::Domain, items_max: 200, characters_max: 300 },
        key: "sessionRecording",
        since: "1.96.1",
    },
    Field {
        name: "recorder_script",
        group: Group::Recorder,
        title: "Recorder script",
        help: "Which script of posthog-js records; change it only where an ad blocker or a client of another make needs \
               it.",
        kind: Kind::Choice {
            default: "auto",
            options: &[
                Choice { value: "auto", label: "What the client takes by itself" },
                Choice { value: "lazy-recorder", label: "lazy-recorder" },
                Choice { value: "posthog-recorder", label: "posthog-recorder" },
                Choice { value: "recorder", label: "recorder" },
            ],
        },
        key: "sessionRecording.scriptConfig.script",
        since: "1.215.7",
    },
    Field {
        name: "script_pins",
        group: Group::Recorder,
        title: "Pinned scripts",
        help: "In front of an upstream, each of these scripts is served in this release alone, whichever a page asks for, \
               and only if its bytes have this SHA-256; written as lazy-recorder.js@1.449.2=9f86…, they hold for all \
               projects.",
        kind: Kind::List { item: Item::ScriptPin, items_max: 20, characters_max: 200 },
        key: "/static",
        since: "1.96.1",
    },
];

impl Field {
    /// The setting of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        FIELDS.iter().find(|field| field.name == name)
    }

    /// What the setting is when nobody decided.
    pub fn default_value(&self) -> Value {
        match &self.kind {
            Kind::Switch { default } => json!(default),
            Kind::Share { default } => json!(default),
            Kind::Whole { default, .. } => json!(default),
            Kind::List { .. } | Kind::Groups { .. } => json!([]),
            Kind::Text { .. } => json!(""),
            Kind::Choice { default, .. } => json!(default),
        }
    }
}

impl Group {
    /// What people call it.
    pub fn title(self) -> &'static str {
        match self {
            Self::What => "What is recorded",
            Self::When => "When",
            Self::Privacy => "Privacy",
            Self::Network => "Network and console",
            Self::Canvas => "Canvas",
            Self::Where => "Where",
            Self::Recorder => "Recorder",
        }
    }
}
