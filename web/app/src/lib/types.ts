/** The server's answers, as the app reads them. Names are the wire's; times are milliseconds since the epoch. */

/** Owns recordings. Its key is public and only writes. */
export interface Project {
  readonly key: string;
  readonly name: string;
  readonly created_at_ms: number;
}

/** What the server is and whom it takes recordings from. */
export interface Info {
  readonly version: string;
  readonly capture_url: string;
  readonly projects: readonly Project[];
  readonly accept_any_key: boolean;
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
}

/** One page of the list, newest first. `next` is null on the last one. */
export interface RecordingPage {
  readonly recordings: readonly Recording[];
  readonly next: string | null;
}

/** One thing the doctor looked at. */
export interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly message: string;
  readonly hint: string | null;
}
