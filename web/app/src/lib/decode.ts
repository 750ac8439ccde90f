/** Reads the server's JSON into the app's types, once, so that nothing further in has to check again. */
import { BASE } from './base';
import type {
  CaptureKey,
  Check,
  DownloadFormat,
  Flaw,
  Info,
  KeptSettings,
  Mode,
  Person,
  Project,
  ProjectMode,
  RecordedWindow,
  Recording,
  RecordingPage,
  SettingField,
  SettingKind,
  SettingValue,
  Trial,
  TrialState,
  TriggerGroup,
  Upstream,
  UpstreamSettings,
} from './types';

type Fields = Readonly<Record<string, unknown>>;

/** Reads `/api/info`. */
export function infoFrom(json: unknown): Info {
  const from = fields(json);
  return {
    version: text(from['version']) ?? '',
    capture_url: (text(from['capture_url']) ?? location.origin + BASE).replace(/\/+$/, ''),
    projects: list(from['projects']).map(projectFrom),
    accept_any_key: from['accept_any_key'] === true,
    formats: list(from['formats']).map(formatFrom),
  };
}

function formatFrom(json: unknown): DownloadFormat {
  const from = fields(json);
  return {
    name: text(from['name']) ?? '',
    ending: text(from['ending']) ?? '',
    about: text(from['about']) ?? '',
  };
}

/** Reads one page of `/api/recordings`. */
export function pageFrom(json: unknown): RecordingPage {
  const from = fields(json);
  return { recordings: list(from['recordings']).map(recordingFrom), next: text(from['next']) };
}

/** Reads one recording. Counts that are absent are zero. */
export function recordingFrom(json: unknown): Recording {
  const from = fields(json);
  const start_ms = count(from['start_ms']);
  const end_ms = Math.max(start_ms, count(from['end_ms']));
  return {
    id: text(from['id']) ?? '',
    project: text(from['project']) ?? '',
    start_ms,
    end_ms,
    duration_ms: end_ms - start_ms,
    active_ms: count(from['active_ms']),
    event_count: count(from['event_count']),
    click_count: count(from['click_count']),
    keypress_count: count(from['keypress_count']),
    console_warn_count: count(from['console_warn_count']),
    console_error_count: count(from['console_error_count']),
    analytics_event_count: count(from['analytics_event_count']),
    start_url: text(from['start_url']),
    urls: texts(from['urls']),
    windows: list(from['windows']).map(windowFrom),
    source: text(from['source']),
    library: text(from['library']),
    library_version: text(from['library_version']),
    person: from['person'] ? personFrom(from['person']) : null,
    stored_bytes: count(from['stored_bytes']),
    plain_bytes: count(from['plain_bytes']),
    is_live: from['is_live'] === true,
    updated_at_ms: count(from['updated_at_ms']),
    tags: texts(from['tags']),
    is_pinned: from['is_pinned'] === true,
    is_seen: from['is_seen'] === true,
    comment_count: count(from['comment_count']),
    is_altered: text(fields(from['signature'])['flaw']) !== null,
  };
}

/** Reads `/api/doctor`: a list of checks, bare or under `checks`. */
export function checksFrom(json: unknown): readonly Check[] {
  const checks = Array.isArray(json) ? json : list(fields(json)['checks']);
  return checks.map((check) => {
    const from = fields(check);
    return {
      name: text(from['name']) ?? 'check',
      state: from['state'] === 'ok' || from['state'] === 'warn' ? from['state'] : 'fail',
      message: text(from['message']) ?? '',
      hint: text(from['hint']),
    };
  });
}

/** Reads `/api/settings`. A setting of a kind that this app does not know is left out: it cannot be shown. */
export function fieldsFrom(json: unknown): readonly SettingField[] {
  return list(fields(json)['fields']).flatMap((field) => {
    const from = fields(field);
    const kind = kindFrom(from);
    const name = text(from['name']);
    if (kind === null || name === null) return [];
    const [group, title, help, since] = [from['group'], from['title'], from['help'], from['since']].map(text);
    return [
      { ...kind, name, group: group ?? '', title: title ?? name, help: help ?? '', since: since ?? '' },
    ];
  });
}

/** Reads `/api/projects/KEY/settings`. */
export function keptSettingsFrom(json: unknown): KeptSettings {
  const from = fields(json);
  const settings = Object.entries(fields(from['settings'])).flatMap(([name, value]) => {
    const read = settingValueFrom(value);
    return read === null ? [] : [[name, read] as const];
  });
  return {
    revision: text(from['revision']) ?? '',
    settings: Object.fromEntries(settings),
    unknown: texts(from['unknown']),
  };
}

/** Reads `/api/upstream`; null where there is no PostHog behind the server. */
export function upstreamFrom(json: unknown): Upstream | null {
  if (json === null) return null;
  const from = fields(json);
  const spool = fields(from['spool']);
  return {
    ingest: text(from['ingest']) ?? '',
    assets: text(from['assets']) ?? '',
    ui: text(from['ui']) ?? '',
    mode: modeFrom(from['mode']),
    answered_at_ms: time(from['answered_at_ms']),
    away_at_ms: time(from['away_at_ms']),
    last_error: text(from['last_error']),
    last_error_at_ms: time(from['last_error_at_ms']),
    spool: {
      recordings: count(spool['recordings']),
      events: count(spool['events']),
      bytes: count(spool['bytes']),
      oldest_ms: time(spool['oldest_ms']),
      sent: count(spool['sent']),
      retried: count(spool['retried']),
      rate_max: count(spool['rate_max']),
      paused_until_ms: time(spool['paused_until_ms']),
      given_up: count(spool['expired']) + count(spool['crowded_out']) + count(spool['refused']),
    },
    projects: list(from['projects']).map(projectModeFrom),
  };
}

/** Reads the mode of one project. */
export function projectModeFrom(json: unknown): ProjectMode {
  const from = fields(json);
  const mode = from['mode'] === null ? null : modeFrom(from['mode']);
  return { key: text(from['key']) ?? '', mode, is_own: from['is_own'] === true };
}

/** Reads `/api/projects/KEY/upstream`. */
export function upstreamSettingsFrom(json: unknown): UpstreamSettings {
  const from = fields(json);
  return {
    settings: keptSettingsFrom(json).settings,
    over_quota: from['over_quota'] === true,
    trigger_groups: count(from['trigger_groups']),
  };
}

/** Reads what the doctor is to send. */
export function trialFrom(json: unknown): Trial {
  const from = fields(json);
  const [id, upload, script_version] = [from['id'], from['upload'], from['script_version']].map(text);
  return {
    id: id ?? '',
    upload: upload ?? '',
    script_version: script_version ?? '',
    now_ms: count(from['now_ms']),
  };
}

/** Reads what became of it. */
export function trialStateFrom(json: unknown): TrialState {
  const from = fields(json);
  const upstream = from['upstream'] ? fields(from['upstream']) : null;
  return {
    is_sealed: from['is_sealed'] === true,
    is_playable: from['is_playable'] === true,
    problem: text(from['problem']),
    upstream: upstream && {
      mode: upstream['mode'] === null ? null : modeFrom(upstream['mode']),
      answered_at_ms: time(upstream['answered_at_ms']),
      last_error: text(upstream['last_error']),
    },
  };
}

/** Reads a project. */
export function projectFrom(json: unknown): Project {
  const from = fields(json);
  const key = text(from['key']) ?? '';
  return {
    key,
    capture_key: text(from['capture_key']),
    keys: list(from['keys']).map(captureKeyFrom),
    name: text(from['name']) ?? key,
    created_at_ms: count(from['created_at_ms']),
  };
}

/** Reads a key of a project. */
export function captureKeyFrom(json: unknown): CaptureKey {
  const from = fields(json);
  return {
    key: text(from['key']) ?? '',
    created_at_ms: count(from['created_at_ms']),
    deleted_at_ms: time(from['deleted_at_ms']),
  };
}

/** Reads which values the server refused. */
export function flawsFrom(json: unknown): readonly Flaw[] {
  return list(fields(fields(json)['error'])['flaws']).map((flaw) => {
    const from = fields(flaw);
    const item = from['item'];
    return {
      field: text(from['field']) ?? '',
      item: typeof item === 'number' ? item : null,
      message: text(from['message']) ?? '',
    };
  });
}

/** Reads the stable name of why the server refused; empty where it has none. */
export function errorCodeFrom(json: unknown): string {
  return text(fields(fields(json)['error'])['code']) ?? '';
}

/** Reads the sentence out of the server's error document, if it sent one. */
export function errorMessageFrom(json: unknown): string | null {
  return text(fields(fields(json)['error'])['message']);
}

function kindFrom(from: Fields): SettingKind | null {
  const preset = from['default'];
  switch (from['kind']) {
    case 'switch':
      return { kind: 'switch', default: preset === true };
    case 'share':
      return { kind: 'share', default: count(preset) };
    case 'whole': {
      const [min, max] = [count(from['min']), count(from['max'])];
      return { kind: 'whole', default: count(preset), min, max, unit: text(from['unit']) ?? '' };
    }
    case 'list':
      return { kind: 'list', item: text(from['item']) ?? '' };
    case 'groups':
      return { kind: 'groups' };
    case 'text':
      return { kind: 'text', item: text(from['item']) ?? '' };
    case 'choice': {
      const options = list(from['options']).map((option) => {
        const value = text(fields(option)['value']) ?? '';
        return { value, label: text(fields(option)['label']) ?? value };
      });
      return { kind: 'choice', default: text(preset) ?? '', options };
    }
    default:
      return null;
  }
}

function modeFrom(json: unknown): Mode {
  return json === 'mirror' || json === 'store' || json === 'pass' ? json : 'tee';
}

function settingValueFrom(json: unknown): SettingValue | null {
  if (typeof json === 'boolean' || typeof json === 'number' || typeof json === 'string') return json;
  if (!Array.isArray(json)) return null;
  return json.some((item) => typeof item === 'object') ? json.map(groupFrom) : texts(json);
}

function groupFrom(json: unknown): TriggerGroup {
  const from = fields(json);
  const rate = time(from['sample_rate']);
  const duration = time(from['minimum_duration_ms']);
  const [urls, events] = [texts(from['url_triggers']), texts(from['event_triggers'])];
  const flag = text(from['linked_flag']);
  return {
    name: text(from['name']) ?? '',
    ...(rate === null ? {} : { sample_rate: rate }),
    ...(duration === null ? {} : { minimum_duration_ms: duration }),
    ...(urls.length === 0 ? {} : { url_triggers: urls }),
    ...(events.length === 0 ? {} : { event_triggers: events }),
    ...(flag === null ? {} : { linked_flag: flag }),
    ...(from['trigger_match'] === 'any' ? { trigger_match: 'any' } : {}),
  };
}

function personFrom(json: unknown): Person {
  const from = fields(json);
  return { distinct_ids: texts(from['distinct_ids']), properties: fields(from['properties']) };
}

function windowFrom(json: unknown): RecordedWindow {
  const from = fields(json);
  return { id: text(from['id']) ?? '', start_ms: count(from['start_ms']), end_ms: count(from['end_ms']) };
}

export function fields(json: unknown): Fields {
  return typeof json === 'object' && json !== null ? (json as Fields) : {};
}

export function list(json: unknown): readonly unknown[] {
  return Array.isArray(json) ? json : [];
}

export function texts(json: unknown): readonly string[] {
  return list(json).filter((item) => typeof item === 'string');
}

export function text(json: unknown): string | null {
  return typeof json === 'string' && json !== '' ? json : null;
}

function time(json: unknown): number | null {
  return typeof json === 'number' && Number.isFinite(json) ? json : null;
}

export function count(json: unknown): number {
  return typeof json === 'number' && Number.isFinite(json) ? json : 0;
}
