/** The server's answers, as the app reads them. Names are the wire's; times are milliseconds since the epoch. */

/** Owns recordings. Its keys are public and only write. */
export interface Project {
  /** Names it, in addresses too; not necessarily a key that still records. */
  readonly key: string;
  /** What pages are to be given; null where all keys were deleted. */
  readonly capture_key: string | null;
  /** The oldest first, with those that were deleted. */
  readonly keys: readonly CaptureKey[];
  readonly name: string;
  readonly created_at_ms: number;
}

/** A key that pages send to say whose recordings they are. */
export interface CaptureKey {
  readonly key: string;
  readonly created_at_ms: number;
  readonly deleted_at_ms: number | null;
}

/** What the server is and whom it takes recordings from. */
export interface Info {
  readonly version: string;
  readonly capture_url: string;
  readonly projects: readonly Project[];
  readonly accept_any_key: boolean;
  readonly formats: readonly DownloadFormat[];
}

/** A form that a recording can be downloaded in. */
export interface DownloadFormat {
  readonly name: string;
  readonly ending: string;
  readonly about: string;
}

/** Who was recorded: the distinct ids that belong together and what is known of them. */
export interface Person {
  readonly distinct_ids: readonly string[];
  readonly properties: Readonly<Record<string, unknown>>;
}

/** One browser tab or screen of a recording. */
export interface RecordedWindow {
  readonly id: string;
  readonly start_ms: number;
  readonly end_ms: number;
}

/** All that was recorded under one session id, without its events. */
export interface Recording {
  readonly id: string;
  readonly project: string;
  readonly start_ms: number;
  readonly end_ms: number;
  readonly duration_ms: number;
  readonly active_ms: number;
  readonly event_count: number;
  readonly click_count: number;
  readonly keypress_count: number;
  readonly console_warn_count: number;
  readonly console_error_count: number;
  readonly analytics_event_count: number;
  readonly start_url: string | null;
  readonly urls: readonly string[];
  readonly windows: readonly RecordedWindow[];
  readonly source: string | null;
  readonly library: string | null;
  readonly library_version: string | null;
  readonly person: Person | null;
  readonly stored_bytes: number;
  readonly plain_bytes: number;
  readonly is_live: boolean;
  readonly updated_at_ms: number;
  readonly tags: readonly string[];
  readonly is_pinned: boolean;
  /** Whether somebody with access has watched it. */
  readonly is_seen: boolean;
  readonly comment_count: number;
  /** Whether it is from a signed file that is not as it was signed. */
  readonly is_altered: boolean;
}

/** One page of the list, newest first. `next` is null on the last one. */
export interface RecordingPage {
  readonly recordings: readonly Recording[];
  readonly next: string | null;
}

/** What may be in a setting. */
export type SettingValue = boolean | number | string | readonly string[] | readonly TriggerGroup[];

/** Conditions for recording that go together. */
export interface TriggerGroup {
  readonly name: string;
  readonly sample_rate?: number;
  readonly minimum_duration_ms?: number;
  readonly url_triggers?: readonly string[];
  readonly event_triggers?: readonly string[];
  readonly linked_flag?: string;
  readonly trigger_match?: 'all' | 'any';
}

/** What a setting is made of, and what it is when nobody decided. */
export type SettingKind =
  | { readonly kind: 'switch'; readonly default: boolean }
  | { readonly kind: 'share'; readonly default: number }
  | {
      readonly kind: 'whole';
      readonly default: number;
      readonly min: number;
      readonly max: number;
      readonly unit: string;
    }
  | { readonly kind: 'list'; readonly item: string }
  | { readonly kind: 'groups' }
  | { readonly kind: 'text'; readonly item: string }
  | {
      readonly kind: 'choice';
      readonly default: string;
      readonly options: readonly { readonly value: string; readonly label: string }[];
    };

/** A setting of a project: what it is called, what it does, and what may be in it. */
export type SettingField = SettingKind & {
  readonly name: string;
  readonly group: string;
  readonly title: string;
  readonly help: string;
  readonly since: string;
};

/** What somebody decided about a project, by name of the setting. What is absent is as it is by default. */
export type Settings = Readonly<Record<string, SettingValue>>;

/** Settings as the server keeps them. `revision` changes with each change. */
export interface KeptSettings {
  readonly revision: string;
  readonly settings: Settings;
  readonly unknown: readonly string[];
}

/** A value that is not what it should be. `item` is the position in a list. */
export interface Flaw {
  readonly field: string;
  readonly item: number | null;
  readonly message: string;
}

/** One thing the doctor looked at. */
export interface Check {
  readonly name: string;
  readonly state: 'ok' | 'warn' | 'fail';
  readonly message: string;
  readonly hint: string | null;
}

/** What becomes of a project's requests where there is a PostHog behind the server. */
export type Mode = 'tee' | 'mirror' | 'store' | 'pass';

/** The PostHog behind the server. */
export interface Upstream {
  readonly ingest: string;
  readonly assets: string;
  readonly ui: string;
  /** The mode of projects without one of their own. */
  readonly mode: Mode;
  readonly answered_at_ms: number | null;
  readonly away_at_ms: number | null;
  readonly last_error: string | null;
  readonly last_error_at_ms: number | null;
  readonly spool: Spool;
  readonly projects: readonly ProjectMode[];
}

/** What waits to be sent on to PostHog. Counts are since the start of the server. */
export interface Spool {
  readonly recordings: number;
  readonly events: number;
  readonly bytes: number;
  readonly oldest_ms: number | null;
  readonly sent: number;
  readonly retried: number;
  readonly rate_max: number;
  readonly paused_until_ms: number | null;
  readonly given_up: number;
}

/** What becomes of one project's requests. */
export interface ProjectMode {
  readonly key: string;
  /** Null where nobody knows it any more. */
  readonly mode: Mode | null;
  readonly is_own: boolean;
}

/** What PostHog tells the pages of a project. What is absent in `settings` it does not say. */
export interface UpstreamSettings {
  readonly settings: Settings;
  readonly over_quota: boolean;
  readonly trigger_groups: number;
}

/** A recording that the doctor sends, to see what becomes of it. */
export interface Trial {
  readonly id: string;
  readonly upload: string;
  readonly script_version: string;
  readonly now_ms: number;
}

/** What became of a trial. */
export interface TrialState {
  readonly is_sealed: boolean;
  readonly is_playable: boolean;
  readonly problem: string | null;
  readonly upstream: {
    readonly mode: Mode | null;
    readonly answered_at_ms: number | null;
    readonly last_error: string | null;
  } | null;
}

/** What is exported again and again. */
export interface Schedule {
  /** A folder below the server's folder of exports, or `s3://bucket/prefix`. */
  readonly to: string;
  readonly format: string;
  /** Parameters of the list, all of which must hold. */
  readonly filter: Readonly<Record<string, string>>;
  readonly every_s: number;
  readonly is_on: boolean;
}

/** How a run of an export went. */
export interface ExportRun {
  readonly started_at_ms: number;
  readonly ended_at_ms: number;
  readonly exported_count: number;
  readonly exported_bytes: number;
  readonly unchanged_count: number;
  readonly failed_count: number;
  readonly gap_count: number;
  /** What the form has no place for, in words. */
  readonly left_out: readonly string[];
  /** Null where nothing went wrong. */
  readonly error: string | null;
}

/** A scheduled export and how it goes. */
export interface ScheduledExport {
  readonly name: string;
  readonly schedule: Schedule;
  readonly is_running: boolean;
  readonly last_run: ExportRun | null;
  readonly next_run_at_ms: number | null;
}

/** All of them. */
export interface ExportList {
  readonly exports: readonly ScheduledExport[];
  /** Where folders lie on the server. */
  readonly folder: string;
}
