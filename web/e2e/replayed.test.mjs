// What a recording tells besides nodes: what was selected, heard, touched, and in which letters.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { eventually, launch, openFiles } from './browser.mjs';
import { begin, change, Nodes } from './made.mjs';
import { openAt, openViewer, shoot } from './watch.mjs';

/** Of Debian's fonts-dejavu-core, which the browser itself brings along. */
const FONT = '/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf';
const SECONDS = 20;

let dir;
let server;
let browser;
let context;
let page;
let id;
const ids = {};

before(async () => {
  dir = mkdtempSync(join(tmpdir(), 'reelcase-replayed-'));
  const file = join(dir, 'replayed.json');
  writeFileSync(file, JSON.stringify(visit()));
  server = await openFiles([file]);
  browser = await launch(['--autoplay-policy=no-user-gesture-required']);
  context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  await context.request.get(server.login);
  page = await openViewer(context);
  const { recordings } = await (await context.request.get(`${server.url}/api/recordings`)).json();
  id = recordings[0].id;
});

after(async () => {
  await browser?.close();
  await server?.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** A sound of so many seconds, as a WAV file: 8,000 bytes of silence each. */
function silence(seconds) {
  const bytes = Buffer.alloc(44 + 8_000 * seconds, 0x80);
  bytes.write('RIFF', 0);
  bytes.writeUInt32LE(bytes.length - 8, 4);
  bytes.write('WAVEfmt ', 8);
  for (const [at, value] of [
    [16, 16],
    [24, 8_000],
    [28, 8_000],
    [40, bytes.length - 44],
  ])
    bytes.writeUInt32LE(value, at);
  for (const [at, value] of [
    [20, 1],
    [22, 1],
    [32, 1],
    [34, 8],
  ])
    bytes.writeUInt16LE(value, at);
  bytes.write('data', 36);
  return `data:audio/wav;base64,${bytes.toString('base64')}`;
}

/** Three seconds in text is selected, at five a sound is sought and played, at eight a finger drags. */
function visit() {
  const nodes = new Nodes();
  const words = nodes.text('These words are selected, and those are not.');
  const paragraph = nodes.element('p', {}, [words]);
  const letters = nodes.element('p', { id: 'letters', style: "font: 30px 'Recorded', serif" }, [
    nodes.text('iiiiWWWW'),
  ]);
  const sound = nodes.element('audio', {
    src: silence(60),
    controls: '',
    rr_mediaState: 'paused',
    rr_mediaCurrentTime: 0,
  });
  const body = nodes.element('body', {}, [paragraph, letters, sound]);
  Object.assign(ids, { words: words.id, sound: sound.id });
  const font = { family: 'Recorded', fontSource: JSON.stringify([...readFileSync(FONT)]), buffer: true };
  const drag = (x, timeOffset) => ({ x, y: 300, id: body.id, timeOffset });
  return [
    ...begin('https://replayed.example/', nodes.page('body { margin: 40px }', body), {
      width: 1000,
      height: 600,
    }),
    change(1_000, { source: 10, ...font }),
    change(3_000, {
      source: 14,
      ranges: [{ start: words.id, startOffset: 0, end: words.id, endOffset: 24 }],
    }),
    change(5_000, { source: 7, type: 2, id: sound.id, currentTime: 30 }),
    change(5_010, { source: 7, type: 0, id: sound.id, currentTime: 30, playbackRate: 1 }),
    change(8_000, { source: 2, type: 7, id: body.id, x: 100, y: 300 }),
    change(8_500, { source: 6, positions: [drag(200, -400), drag(400, -200), drag(600, 0)] }),
    change(10_000, { source: 2, type: 9, id: body.id, x: 600, y: 300 }),
    change(SECONDS * 1_000, { source: 1, positions: [{ x: 1, y: 1, id: body.id, timeOffset: 0 }] }),
  ];
}

/** Asks something of the replayed page, and of what lies over it. */
async function inPage(ask) {
  const frame = page.frames().find((item) => item.url().startsWith('data:'));
  return frame.evaluate(
    (text) =>
      Function(
        'view',
        'over',
        `return (${text})(view, over)`,
      )(document.querySelector('#stage iframe').contentWindow, document),
    ask.toString(),
  );
}

test('what was selected is marked from then on, and not before', async () => {
  await openAt(page, server, id, 2_000);
  assert.equal(await inPage((view) => String(view.getSelection())), '');
  await openAt(page, server, id, 4_000);
  assert.equal(await inPage((view) => String(view.getSelection())), 'These words are selected');
  await shoot(page, 'replayed-selection');
});

test('letters have the font that the page loaded by itself', async () => {
  const width = () =>
    inPage((view) => {
      const range = view.document.createRange();
      range.selectNodeContents(view.document.querySelector('#letters'));
      return range.getBoundingClientRect().width;
    });
  await openAt(page, server, id, 500);
  const before = await width();
  await openAt(page, server, id, 4_000);
  await eventually(async () => (await width()) !== before, 'the letters to change');
  assert.equal(await inPage((view) => view.document.fonts.check("30px 'Recorded'")), true);
});

test('a sound is where it was: sought, at rest while the player is, and running as it does', async () => {
  const sound = () =>
    inPage((view) => {
      const { currentTime, paused } = view.document.querySelector('audio');
      return { currentTime, paused };
    });
  const position = async () => Number(await page.getByRole('slider').getAttribute('aria-valuenow'));
  // It was at its thirtieth second when the recording was at its fifth.
  const isInStep = async () => Math.abs((await sound()).currentTime - 25 - (await position())) < 1.1;
  await openAt(page, server, id, 2_000);
  assert.deepEqual(await sound(), { currentTime: 0, paused: true });
  await openAt(page, server, id, 7_000);
  await eventually(isInStep, 'the sound to be where it was', 5_000);
  assert.equal((await sound()).paused, true);

  const paused = page;
  page = await context.newPage();
  await page.goto(`${server.url}/recordings/${id}?t=4`);
  await eventually(async () => (await position()) >= 7, 'what was done with it');
  await eventually(async () => !(await sound()).paused && (await isInStep()), 'the sound to run', 5_000);
  await page.getByRole('button', { name: 'Pause', exact: true }).click();
  await eventually(async () => (await sound()).paused, 'it to rest', 5_000);
  assert.ok(await isInStep(), `${await position()}: ${JSON.stringify(await sound())}`);
  await page.close();
  page = paused;
});

test('a finger is shown as one, where it is', async () => {
  await openAt(page, server, id, 8_600);
  const finger = await inPage((_, over) => {
    const { classList, style } = over.querySelector('.replayer-mouse');
    return { classes: [...classList], left: Number.parseFloat(style.left) };
  });
  assert.ok(finger.classes.includes('touch-device'), finger.classes.join());
  assert.equal(finger.left, 600);
  await shoot(page, 'replayed-touch');
});
