import { afterEach, expect, test, vi } from 'vitest';
import { Source, type Trouble } from '../src/core/source.ts';

afterEach(() => {
  vi.useRealTimers();
});

const LIST = { blocks: [], is_live: true, version: '2' };

/** A server of which the first answer never comes, as over a line that broke without a word. */
function silentOnce() {
  const asked: string[] = [];
  const api = (path: string, signal?: AbortSignal) => {
    asked.push(path);
    if (asked.length > 1) return Promise.resolve(new Response(JSON.stringify(LIST)));
    return new Promise<Response>((_, fail) =>
      signal?.addEventListener('abort', () => fail(new Error('stopped'))),
    );
  };
  return { asked, api };
}

test('a request for news that is not answered in time is given up, and made again', async () => {
  vi.useFakeTimers();
  const { asked, api } = silentOnce();
  const troubles: (Trouble | null)[] = [];
  const source = new Source({ recording: 'r', api }, (trouble) => troubles.push(trouble));
  const list = source.list('1', 20_000);
  await vi.advanceTimersByTimeAsync(39_999);
  expect([asked.length, troubles]).toEqual([1, []]);
  await vi.advanceTimersByTimeAsync(1);
  expect(troubles).toMatchObject([{ kind: 'offline' }]);
  await vi.advanceTimersByTimeAsync(500);
  expect(await list).toEqual(LIST);
  expect([asked.length, troubles.at(-1)]).toEqual([2, null]);
});

test('the first list is waited for as long as it takes, until the player is closed', async () => {
  vi.useFakeTimers();
  const { asked, api } = silentOnce();
  const source = new Source({ recording: 'r', api }, () => {});
  const list = source.list();
  list.catch(() => {});
  await vi.advanceTimersByTimeAsync(600_000);
  expect(asked.length).toBe(1);
  source.close();
  await vi.advanceTimersByTimeAsync(500);
  await expect(list).rejects.toMatchObject({ kind: 'offline' });
});
