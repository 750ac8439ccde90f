/** What the list is narrowed to, and how that is written in the address and asked of the server. */

const HOUR_MS = 3_600_000;

/** The time ranges on offer, as written in the address. */
export const RANGES = [
  { value: 'all', label: 'Any time', ms: null },
  { value: '1h', label: 'Last hour', ms: HOUR_MS },
  { value: '24h', label: 'Last 24 hours', ms: 24 * HOUR_MS },
  { value: '7d', label: 'Last 7 days', ms: 7 * 24 * HOUR_MS },
  { value: '30d', label: 'Last 30 days', ms: 30 * 24 * HOUR_MS },
  { value: 'custom', label: 'From … to …', ms: null },
] as const;

/** Name of one time range. */
export type Range = (typeof RANGES)[number]['value'];

/** The list's filters. Null, false and the empty string mean "does not matter". */
export interface Filters {
  readonly range: Range;
  /** Only with `range: 'custom'`. */
  readonly fromMs: number | null;
  readonly toMs: number | null;
  readonly person: string;
  readonly url: string;
  readonly durationMinS: number | null;
  readonly durationMaxS: number | null;
  readonly clicksMin: number | null;
  readonly tag: string;
  readonly isPinned: boolean;
  readonly isUnseen: boolean;
  readonly hasComments: boolean;
  readonly hasErrors: boolean;
  readonly isLive: boolean;
}

/** Everything, whenever. */
export const NO_FILTERS: Filters = {
  range: 'all',
  fromMs: null,
  toMs: null,
  person: '',
  url: '',
  durationMinS: null,
  durationMaxS: null,
  clicksMin: null,
  tag: '',
  isPinned: false,
  isUnseen: false,
  hasComments: false,
  hasErrors: false,
  isLive: false,
};

/** Reads filters from the address. What makes no sense there counts as absent. */
export function filtersFrom(query: URLSearchParams): Filters {
  const range = RANGES.find((known) => known.value === query.get('range'))?.value ?? 'all';
  const isCustom = range === 'custom';
  return {
    range,
    fromMs: isCustom ? whole(query.get('from')) : null,
    toMs: isCustom ? whole(query.get('to')) : null,
    person: query.get('person') ?? '',
    url: query.get('url') ?? '',
    durationMinS: whole(query.get('duration_min')),
    durationMaxS: whole(query.get('duration_max')),
    clicksMin: whole(query.get('clicks')),
    tag: query.get('tag') ?? '',
    isPinned: query.get('pinned') === '1',
    isUnseen: query.get('unseen') === '1',
    hasComments: query.get('commented') === '1',
    hasErrors: query.get('errors') === '1',
    isLive: query.get('live') === '1',
  };
}

/** Writes filters for the address: only what narrows, always in the same order. */
export function queryOf(filters: Filters): URLSearchParams {
  const query = new URLSearchParams();
  const set = (name: string, value: string | number | null) => {
    if (value !== null && value !== '') query.set(name, String(value));
  };
  if (filters.range !== 'all') query.set('range', filters.range);
  if (filters.range === 'custom') {
    set('from', filters.fromMs);
    set('to', filters.toMs);
  }
  set('person', filters.person.trim());
  set('url', filters.url.trim());
  set('duration_min', filters.durationMinS);
  set('duration_max', filters.durationMaxS);
  set('clicks', filters.clicksMin);
  set('tag', filters.tag.trim());
  if (filters.isPinned) query.set('pinned', '1');
  if (filters.isUnseen) query.set('unseen', '1');
  if (filters.hasComments) query.set('commented', '1');
  if (filters.hasErrors) query.set('errors', '1');
  if (filters.isLive) query.set('live', '1');
  return query;
}

/** How many things the list is narrowed by. */
export function filterCount(filters: Filters): number {
  const names = new Set(queryOf(filters).keys());
  if (names.has('duration_min')) names.delete('duration_max');
  names.delete('from');
  names.delete('to');
  return names.size;
}

/** What the list is narrowed to, in words. */
export function filterWords(filters: Filters): readonly string[] {
  const { person, url, durationMinS, durationMaxS, clicksMin, tag } = filters;
  const range = RANGES.find((known) => known.value === filters.range);
  const words: readonly (string | false)[] = [
    filters.range !== 'all' &&
      (filters.range === 'custom' ? 'of some days' : (range?.label.toLowerCase() ?? '')),
    person.trim() !== '' && `of “${person.trim()}”`,
    url.trim() !== '' && `with “${url.trim()}” in an address`,
    durationMinS !== null && `of ${durationMinS} s or more`,
    durationMaxS !== null && `of ${durationMaxS} s or less`,
    clicksMin !== null && `with ${clicksMin} clicks or more`,
    tag.trim() !== '' && `tagged “${tag.trim()}”`,
    filters.isPinned && 'pinned',
    filters.isUnseen && 'not seen yet',
    filters.hasComments && 'with comments',
    filters.hasErrors && 'with errors',
    filters.isLive && 'live',
  ];
  return words.filter((word) => word !== false);
}

/** The question to the server. A range that ends now is turned into times here. */
export function listParams(
  filters: Filters,
  project: string | null,
  nowMs: number,
  limit: number,
  cursor: string | null,
): URLSearchParams {
  const params = new URLSearchParams({ limit: String(limit) });
  const set = (name: string, value: string | number | null) => {
    if (value !== null && value !== '') params.set(name, String(value));
  };
  const rangeMs = RANGES.find((known) => known.value === filters.range)?.ms ?? null;
  set('project', project);
  set('from_ms', rangeMs === null ? filters.fromMs : nowMs - rangeMs);
  set('to_ms', filters.toMs);
  set('person', filters.person.trim());
  set('url', filters.url.trim());
  set('duration_min_ms', filters.durationMinS === null ? null : filters.durationMinS * 1_000);
  set('duration_max_ms', filters.durationMaxS === null ? null : filters.durationMaxS * 1_000);
  set('clicks_min', filters.clicksMin);
  set('tag', filters.tag.trim());
  if (filters.isPinned) params.set('pinned', 'true');
  if (filters.isUnseen) params.set('seen', 'false');
  if (filters.hasComments) params.set('commented', 'true');
  if (filters.hasErrors) params.set('errors_min', '1');
  if (filters.isLive) params.set('live', 'true');
  set('cursor', cursor);
  return params;
}

function whole(text: string | null): number | null {
  if (text === null || !/^\d{1,15}$/.test(text)) return null;
  return Number(text);
}
