import { describe, expect, test } from 'vitest';
import { recordingFrom } from '../src/lib/decode';
import { filtersFrom, listParams, NO_FILTERS, queryOf } from '../src/lib/filters';
import { ago, bytes, duration, durationSpoken, pageOf, personName, sentence } from '../src/lib/format';
import { mergeFirstPage, newOnTop, pageAt } from '../src/lib/merge';
import { npmSnippet, scriptSnippet } from '../src/lib/snippets';

const row = (id: string, start_ms: number, click_count = 0) =>
  recordingFrom({ id, project: 'p', start_ms, end_ms: start_ms + 1_000, click_count });
const ids = (loaded: { readonly recordings: readonly { readonly id: string }[] }) =>
  loaded.recordings.map((recording) => recording.id).join(' ');

describe('refreshing the list', () => {
  const loaded = { recordings: [row('d', 40), row('c', 30), row('b', 20), row('a', 10)], next: 'a' };

  test('new rows come on top and the rest stays', () => {
    const merged = mergeFirstPage(loaded, { recordings: [row('e', 50), row('d', 40)], next: 'd' });
    expect(ids(merged)).toBe('e d c b a');
    expect(merged.next).toBe('a');
  });

  test('a row changes in place', () => {
    const merged = mergeFirstPage(loaded, { recordings: [row('d', 40, 7), row('c', 30)], next: 'c' });
    expect(merged.recordings[0]?.click_count).toBe(7);
    expect(ids(merged)).toBe('d c b a');
  });

  test('a row that is gone within the fresh page goes', () => {
    expect(ids(mergeFirstPage(loaded, { recordings: [row('d', 40), row('b', 20)], next: 'b' }))).toBe(
      'd b a',
    );
  });

  test('pages that do not touch leave no gap', () => {
    const fresh = { recordings: [row('z', 90), row('y', 80)], next: 'y' };
    expect(mergeFirstPage(loaded, fresh)).toEqual(fresh);
  });

  test('the last page is the whole list', () => {
    expect(ids(mergeFirstPage(loaded, { recordings: [], next: null }))).toBe('');
  });

  test('every row has its place on a page, whether the page is held or not', () => {
    const pages = [
      { cursor: null, rows: [], count: 2 },
      { cursor: 'b', rows: null, count: 3 },
    ];
    expect([0, 1, 2, 4, 5].map((index) => pageAt(pages, index))).toEqual([
      { page: 0, row: 0 },
      { page: 0, row: 1 },
      { page: 1, row: 0 },
      { page: 1, row: 2 },
      null,
    ]);
  });

  test('only rows above the first known one are new', () => {
    expect(
      newOnTop(loaded.recordings, { recordings: [row('f', 60), row('e', 50), row('d', 40)], next: null }),
    ).toBe(2);
  });
});

describe('filters', () => {
  test('survive the address', () => {
    const filters = {
      ...NO_FILTERS,
      range: 'custom',
      fromMs: 1,
      toMs: 2,
      person: 'a b&c',
      url: '/x?y=1',
      durationMinS: 10,
      clicksMin: 3,
      hasErrors: true,
      isLive: true,
    } as const;
    expect(filtersFrom(new URLSearchParams(queryOf(filters).toString()))).toEqual(filters);
  });

  test('none make an empty address', () => {
    expect(queryOf(NO_FILTERS).toString()).toBe('');
  });

  test('nonsense in the address counts as absent', () => {
    expect(filtersFrom(new URLSearchParams('range=soon&clicks=-1&duration_min=1e9&from=5'))).toEqual(
      NO_FILTERS,
    );
  });

  test('become the question to the server', () => {
    const filters = { ...NO_FILTERS, range: '1h', durationMinS: 60, hasErrors: true, isLive: true } as const;
    expect(listParams(filters, 'p', 3_600_005, 50, null).toString()).toBe(
      'limit=50&project=p&from_ms=5&duration_min_ms=60000&errors_min=1&live=true',
    );
  });
});

describe('what people read', () => {
  test('what the server says becomes a sentence, and stays one', () => {
    expect(sentence('the disk is full')).toBe('The disk is full.');
    expect(sentence(' Try again! ')).toBe('Try again!');
  });

  test('durations', () => {
    expect([0, 999, 59_499, 61_000, 3_723_000].map(duration)).toEqual([
      '0:00',
      '0:01',
      '0:59',
      '1:01',
      '1:02:03',
    ]);
    expect(durationSpoken(3_723_000)).toBe('1 hour 2 minutes 3 seconds');
    expect(durationSpoken(0)).toBe('0 seconds');
  });

  test('sizes', () => {
    expect([0, 999, 1_000, 9_940, 18_200, 999_600, 2_000_000_000].map(bytes)).toEqual([
      '0 B',
      '999 B',
      '1.0 KB',
      '9.9 KB',
      '18 KB',
      '1.0 MB',
      '2.0 GB',
    ]);
  });

  test('how long ago', () => {
    const passed = [-5_000, 4_999, 5_000, 60_000, 3_600_000, 172_800_000];
    expect(passed.map((ms) => ago(0, ms))).toEqual([
      'now',
      'now',
      '5 s ago',
      '1 min ago',
      '1 h ago',
      '2 d ago',
    ]);
  });

  test('people', () => {
    const generated = '01920000-7a1b-7c2d-8e3f-0000000000ab';
    expect(personName(null).name).toBe('Unknown');
    expect(personName({ distinct_ids: [generated], properties: {} }).name).toBe('Anonymous 0000ab');
    expect(personName({ distinct_ids: [generated, 'ada'], properties: {} }).name).toBe('ada');
    expect(personName({ distinct_ids: ['ada'], properties: { email: 'a@b.c' } }).name).toBe('a@b.c');
  });

  test('addresses', () => {
    expect(pageOf('https://a.example/x%20y?z=1#h')).toEqual({ host: 'a.example', path: '/x y?z=1#h' });
    expect(pageOf('javascript:alert(1)')).toEqual({ host: '', path: 'javascript:alert(1)' });
    expect(pageOf('not an address')).toEqual({ host: '', path: 'not an address' });
    expect(pageOf('https://a.example/%')).toEqual({ host: 'a.example', path: '/%' });
  });
});

describe('snippets', () => {
  test('hold key and address as text that cannot end the script', () => {
    const snippet = scriptSnippet("k'</script>", 'https://r.example');
    expect(snippet.match(/<\/script>/g)).toHaveLength(1);
    expect(snippet).toContain("api_host: 'https://r.example'");
    expect(npmSnippet('phc_x', 'https://r.example')).toContain("posthog.init('phc_x', {");
  });
});
