/** Strangers' text for the places around the replayed page: lists, marks, tool tips, titles, a terminal. */
import { h, Recording, t } from './recording.mjs';

const TAG = `<img src="http://t-tag.text.canary.test/x" onerror="__ran('text')">`;
/** Escape sequences, a line break, marks of direction, a NUL. */
export const ODD = '\u001b[2J\u001b]0;owned\u0007\u009b31m\r\n\u202egpj.exe\u2066\u0000\ud83d';

export function hostileTexts() {
  const recording = new Recording({ href: `javascript:__ran('start')//${ODD}${TAG}` });
  recording.snapshot([h('p', {}, t('kept'))], [h('title', {}, t(`</title>${TAG}`))]).after(50);
  const log = (level, ...payload) =>
    recording.push(6, {
      plugin: 'rrweb/console@1',
      payload: { level, payload, trace: [TAG, 'javascript:1'] },
    });
  recording.push(5, { tag: TAG, payload: { href: 'javascript:1', toString: 'x' } });
  recording.push(5, { tag: `${ODD} ${TAG}`, payload: null });
  recording.push(5, { tag: '$pageview', payload: { href: `javascript:__ran('page')//${TAG}` } });
  recording.push(5, { tag: 'x'.repeat(500_000), payload: { a: 'y'.repeat(500_000) } });
  recording.push(5, { tag: { toString: 1 }, payload: 7 });
  log(
    'error',
    JSON.stringify(TAG),
    JSON.stringify({ __proto__: 1, a: [TAG] }),
    'not json',
    `"${'['.repeat(50_000)}`,
  );
  log('warn', JSON.stringify('%c%s%o'), JSON.stringify('\u001b[31m'), null, 7);
  log('constructor', '[[[[', '');
  recording.push(6, {
    plugin: 'rrweb/network@1',
    payload: {
      requests: [{ name: 'http://t-net.text.canary.test/x', method: TAG, status: TAG, responseBody: TAG }],
    },
  });
  recording.push(6, {
    plugin: 'rrweb/network@1',
    payload: {
      requests: ['navigation', 'longtask', 'paint', TAG].map((entryType) => ({
        name: TAG,
        entryType,
        duration: 1e300,
        responseStart: TAG,
        loadEventEnd: 1e300,
      })),
    },
  });
  recording.push(6, { plugin: { a: 1 }, payload: [] });
  recording.increment(5, { id: 5, text: `${TAG}${ODD}`, isChecked: false });
  recording.increment(2, { type: 2, id: 5, x: 'NaN', y: {} });
  recording.push(4, { href: `https://bank.test@evil.test/%E2%80%AEgpj.exe?${ODD}`, width: 800, height: 600 });
  return recording.end();
}
