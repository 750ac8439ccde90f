/** Scheduled exports: what the API says of them, and what is asked of it. */
import { ask, type Outcome, tell } from './api';
import { at } from './base';
import { count, fields, list, text, texts } from './decode';
import type { ExportList, ExportRun, Schedule, ScheduledExport } from './types';

/** How often exports can be made, in seconds. */
export const INTERVALS: readonly { readonly seconds: number; readonly title: string }[] = [
  { seconds: 300, title: 'every 5 minutes' },
  { seconds: 3_600, title: 'every hour' },
  { seconds: 21_600, title: 'every 6 hours' },
  { seconds: 86_400, title: 'every day' },
  { seconds: 604_800, title: 'every week' },
];

/** What an interval is called. */
export function intervalTitle(seconds: number): string {
  const known = INTERVALS.find((interval) => interval.seconds === seconds);
  return known?.title ?? `every ${seconds} seconds`;
}

/** A filter as a person writes it: `errors_min=1 url=/checkout`. */
export function filterText(filter: Readonly<Record<string, string>>): string {
  return Object.entries(filter)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ');
}

/** What somebody wrote, as a filter. Null where a word is no `name=value`. */
export function filterOf(written: string): Readonly<Record<string, string>> | null {
  const words = written.split(/\s+/).filter((word) => word !== '');
  const pairs = words.map((word) => /^([a-z_]+)=(.+)$/.exec(word));
  if (pairs.some((pair) => pair === null)) return null;
  return Object.fromEntries(pairs.flatMap((pair) => (pair === null ? [] : [[pair[1] ?? '', pair[2] ?? '']])));
}

/** Asks for all of them. */
export function fetchExports(signal?: AbortSignal): Promise<Outcome<ExportList>> {
  return ask(at('/api/exports'), exportListFrom, signal);
}

/** Makes one, or changes it. */
export function saveExport(name: string, schedule: Schedule): Promise<Outcome<ScheduledExport>> {
  return tell('PUT', exportUrl(name), schedule, exportFrom);
}

/** Deletes one; what it exported stays. */
export function deleteExport(name: string): Promise<Outcome<null>> {
  return tell('DELETE', exportUrl(name), null, () => null);
}

/** Has one be made now. */
export function runExport(name: string): Promise<Outcome<ScheduledExport>> {
  return tell('POST', `${exportUrl(name)}/run`, null, exportFrom);
}

function exportUrl(name: string): string {
  return at(`/api/exports/${encodeURIComponent(name)}`);
}

function exportListFrom(json: unknown): ExportList {
  const from = fields(json);
  return { exports: list(from['exports']).map(exportFrom), folder: text(from['folder']) ?? '' };
}

function exportFrom(json: unknown): ScheduledExport {
  const from = fields(json);
  const schedule = fields(from['schedule']);
  const filter = Object.entries(fields(schedule['filter'])).map(
    ([name, value]) => [name, text(value) ?? ''] as const,
  );
  const next = from['next_run_at_ms'];
  return {
    name: text(from['name']) ?? '',
    schedule: {
      to: text(schedule['to']) ?? '',
      format: text(schedule['format']) ?? '',
      filter: Object.fromEntries(filter),
      every_s: count(schedule['every_s']),
      is_on: schedule['is_on'] === true,
    },
    is_running: from['is_running'] === true,
    last_run: from['last_run'] ? runFrom(from['last_run']) : null,
    next_run_at_ms: typeof next === 'number' ? next : null,
  };
}

function runFrom(json: unknown): ExportRun {
  const from = fields(json);
  return {
    started_at_ms: count(from['started_at_ms']),
    ended_at_ms: count(from['ended_at_ms']),
    exported_count: count(from['exported_count']),
    exported_bytes: count(from['exported_bytes']),
    unchanged_count: count(from['unchanged_count']),
    failed_count: count(from['failed_count']),
    gap_count: count(from['gap_count']),
    left_out: texts(from['left_out']),
    error: text(from['error']),
  };
}
