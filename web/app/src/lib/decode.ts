/** Reads the server's JSON into the app's types, once, so that nothing further in has to check again. */
import { BASE } from './base';
import type {
  Check,
  DownloadFormat,
  Flaw,
  Info,
  KeptSettings,
  Person,
  Project,
  RecordedWindow,
  Recording,
  RecordingPage,
  SettingField,
  SettingKind,
  SettingValue,
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

/** Reads a project. */
export function projectFrom(json: unknown): Project {
  const from = fields(json);
  const key = text(from['key']) ?? '';
  return { key, name: text(from['name']) ?? key, created_at_ms: count(from['created_at_ms']) };
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

function settingValueFrom(json: unknown): SettingValue | null {
  if (typeof json === 'boolean' || typeof json === 'number' || typeof json === 'string') return json;
  return Array.isArray(json) ? texts(json) : null;
}

function personFrom(json: unknown): Person {
  const from = fields(json);
  return { distinct_ids: texts(from['distinct_ids']), properties: fields(from['properties']) };
}

function windowFrom(json: unknown): RecordedWindow {
  const from = fields(json);
  return { id: text(from['id']) ?? '', start_ms: count(from['start_ms']), end_ms: count(from['end_ms']) };
}

function fields(json: unknown): Fields {
  return typeof json === 'object' && json !== null ? (json as Fields) : {};
}

function list(json: unknown): readonly unknown[] {
  return Array.isArray(json) ? json : [];
}

function texts(json: unknown): readonly string[] {
  return list(json).filter((item) => typeof item === 'string');
}

function text(json: unknown): string | null {
  return typeof json === 'string' && json !== '' ? json : null;
}

function count(json: unknown): number {
  return typeof json === 'number' && Number.isFinite(json) ? json : 0;
}
