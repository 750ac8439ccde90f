import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { eventually } from '../browser.mjs';
import { BOMBS, nonsense } from './bombs.mjs';
import { buildWithoutWalls } from './control.mjs';
import { asStyles, byMutation, context, inSnapshot } from './deliveries.mjs';
import { h, Recording } from './recording.mjs';
import { assertAlive, inspect, replayDocument, startStage } from './stage.mjs';
import { hostileTexts } from './texts.mjs';
import { BREAKS, REQUESTS, SCRIPTS, STYLES } from './vectors.mjs';
import { walls as buildWalls } from './walls.mjs';
import { wireframes } from './wireframes.mjs';

const NODES = [...SCRIPTS, ...REQUESTS];

/** Every way by which a node comes into a page. */
const PLAYS = [
  {
    how: 'in a snapshot, a shadow tree and a frame',
    make: inSnapshot,
    of: ['light', 'shadow', 'frame'],
    id: 'snapshot',
    at: 0,
  },
  { how: 'added while it plays', make: byMutation, of: ['added', 'late'], id: 'mutation', at: 0 },
  {
    how: 'added before the time that is shown',
    make: byMutation,
    of: ['added', 'late'],
    id: 'mutation',
    at: 2,
  },
];

/**
 * What may be asked for where the viewer chose to load remote assets: the browser's word for it, and which vector. For
 * a drawing that another one refers to it has no word.
 */
const PASSIVE = /^((image|stylesheet|font|media) .*|other .*(svg|fill|mask|clip|filter|offset|marker).*)$/;

let stage;
let walls;

before(async () => {
  stage = await startStage();
  walls = await buildWalls(join(stage.dir, 'bare'));
  await stage.upload('snapshot', inSnapshot(NODES));
  await stage.upload('mutation', byMutation(NODES));
  await stage.upload('styles', asStyles(STYLES));
});

after(() => stage?.stop());

/** The vectors behind these requests. */
const vectorsOf = (hits) =>
  [...new Set(hits.map(({ host, dest }) => `${host.split('.canary')[0]} ${dest}`))].sort();

/** Nothing ran, nothing was asked for, every node came in each of these ways, and the page can still be used. */
async function assertHarmless(result, ways) {
  assert.deepEqual([...result.ran], []);
  assert.deepEqual(vectorsOf(result.hits), []);
  assert.deepEqual(result.seen.requests, []);
  const { wrong, vectors } = await inspect(result.page);
  assert.deepEqual(wrong, []);
  const expected = NODES.flatMap(({ slug }) => ways.map((way) => `${slug}-${way}`));
  const missing = expected.filter((vector) => !vectors.includes(vector));
  assert.deepEqual(missing, [], 'no vector may cost the page another one');
  await assertAlive(result);
  await result.page.close();
}

test('the catalogue is alive: without walls it runs, and it asks', async () => {
  const page = await stage.context.newPage();
  await page.goto('http://page.control.canary.test/');
  stage.canary.take();
  stage.ran.clear();
  const nodes = NODES.map((vector) => vector.node(context(vector.slug, 'control')));
  const sheets = STYLES.map((vector) => {
    const c = context(vector.slug, 'control');
    return h(
      'div',
      {},
      h('style', { _cssText: vector.css(c) }),
      h('input', { value: 'secret' }),
      h('p', { class: `v${c.name}` }),
    );
  });
  await page.evaluate(buildWithoutWalls, [...nodes, ...sheets]);
  const heard = (kind) => {
    const ran = [...stage.ran].map((name) => name.replace('-control', ''));
    const asked = stage.canary.hits.map(({ host }) => host.split('.')[0]);
    return new Set([...ran, ...asked].filter((slug) => slug.startsWith(kind))).size;
  };
  // The others wait for a click, or for somebody to read their HTML in another way.
  await eventually(() => heard('s') >= 40, 'forty scripts to run', 60_000);
  await eventually(() => heard('r') >= 40, 'forty nodes to ask the canary', 60_000);
  await eventually(() => heard('c') >= 35, 'thirty-five style sheets to ask the canary', 60_000);
  await page.close();
});

for (const { how, id, of, at } of PLAYS) {
  test(`nodes ${how} run nothing and ask nobody`, async () => {
    const result = await stage.play(id, { at, name: `${id}-${at}` });
    await assertHarmless(result, of);
  });
}

test('style sheets of every origin ask nobody', async () => {
  for (const at of [0, 2]) {
    const result = await stage.play('styles', { at, name: `styles-${at}` });
    assert.deepEqual(vectorsOf(result.hits), []);
    assert.deepEqual(result.seen.requests, []);
    await assertAlive(result);
    await result.page.close();
  }
});

test('in a file on the disk all of them run nothing and ask nobody', async () => {
  await stage.upload('texts', hostileTexts(), { person: `<img src=x onerror="__ran('person')">` });
  const plays = [...PLAYS, { id: 'styles', of: [], at: 0 }, { id: 'styles', of: [], at: 2 }];
  for (const { id, of, at } of [...plays, { id: 'texts', of: [], at: 0 }]) {
    const file = await stage.save(id);
    const result = await stage.play(id, { file, at, name: `file-${id}-${at}` });
    await assertHarmless(result, of);
  }
});

test('behind a link and in a frame for others all of them run nothing and ask nobody', async () => {
  const plays = [...PLAYS, { id: 'styles', of: [], at: 0 }, { id: 'texts', of: [], at: 0 }];
  for (const [i, { id, of, at }] of plays.entries()) {
    const { url, embed_url } = await stage.link(id);
    const link = i % 2 === 0 ? url : embed_url;
    const result = await stage.play(id, { link, at, name: `link-${id}-${at}` });
    await assertHarmless(result, of);
  }
});

test('the picture of a link is drawn of all of them, and runs nothing and asks nobody', async () => {
  const plays = [
    { id: 'snapshot', of: ['light', 'shadow', 'frame'] },
    { id: 'mutation', of: ['added', 'late'] },
  ];
  for (const { id, of } of plays) {
    const result = await stage.play(id, { name: `pictured-${id}` });
    const { page } = result;
    await page.getByRole('button', { name: 'Share' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('button', { name: 'Make a link' }).click();
    const url = await dialog.getByLabel('Link', { exact: true }).inputValue();
    const picture = await fetch(`${url}/picture.jpg`);
    assert.equal(picture.status, 200, 'whatever is in it, there is a picture of it');
    await dialog.getByRole('button', { name: 'Close' }).click();
    result.hits.push(...stage.canary.take());
    for (const name of stage.ran) result.ran.add(name);
    await assertHarmless(result, of);
  }
});

test('screens of an app run nothing and ask nobody, in the player, behind a link and in a file', async () => {
  await stage.upload('screens', wireframes());
  const { url } = await stage.link('screens');
  const file = await stage.save('screens');
  for (const options of [{ at: 0 }, { at: 1 }, { link: url }, { file }]) {
    const result = await stage.play('screens', { ...options, name: `screens-${Object.keys(options)}` });
    assert.deepEqual([...result.ran], []);
    assert.deepEqual(vectorsOf(result.hits), []);
    assert.deepEqual((await inspect(result.page)).wrong, []);
    // There are none: nobody is asked whether to load them.
    assert.equal(await result.page.getByLabel('Load remote assets').count(), 0);
    const seen = await replayDocument(result.page)?.evaluate(() => {
      const shown = document.querySelector('#stage iframe')?.contentDocument;
      const views = [...(shown?.querySelectorAll('[data-wireframe]') ?? [])];
      return { text: views[0]?.textContent, count: views.length, isPolluted: 'polluted' in {} };
    });
    assert.ok(seen?.text === 'kept' && seen.count > 300 && !seen.isPolluted, JSON.stringify(seen));
    await assertAlive(result);
    await result.page.close();
  }
});

test('remote assets are pictures, styles, fonts and films, asked for without a name', async () => {
  const own = new URL(stage.server.url).host;
  const asked = [];
  const kinds = new Set();
  const cookie = {
    name: 'known',
    value: 'viewer',
    url: `http://127.0.0.1:${stage.canary.port}`,
    sameSite: 'Lax',
  };
  await stage.context.addCookies([
    cookie,
    { name: 'third', value: 'party', domain: 'localhost', path: '/', secure: true, sameSite: 'None' },
  ]);
  const near = new Recording().snapshot([
    h('img', { src: `http://127.0.0.1:${stage.canary.port}/router` }),
    h('img', { src: `http://localhost:${stage.canary.port}/third` }),
    h('img', { src: `http://${own}/api/recordings` }),
    h('link', { rel: 'stylesheet', href: `http://${own}/api/info` }),
  ]);
  await stage.upload('near', near.end());
  for (const [id, make] of [
    ['remote-nodes', inSnapshot(NODES, 'remote')],
    ['remote-styles', asStyles(STYLES, 'remote')],
    ['near', null],
  ]) {
    if (make !== null) await stage.upload(id, make);
    const result = await stage.play(id, { assets: 'remote', name: id });
    assert.deepEqual([...result.ran], []);
    asked.push(...result.hits);
    for (const kind of result.seen.kinds) kinds.add(kind);
    assert.deepEqual((await inspect(result.page)).wrong, []);
    await assertAlive(result);
    await result.page.close();
  }
  assert.ok(asked.length >= 40, `the choice is one: ${asked.length} requests`);
  assert.deepEqual(
    [...kinds].filter((kind) => !PASSIVE.test(kind)),
    [],
  );
  assert.deepEqual(
    asked.filter(
      ({ method, cookie, referer }) => method !== 'GET' || cookie !== undefined || referer !== undefined,
    ),
    [],
  );
  await stage.context.clearCookies({ name: 'known' });
  await stage.context.clearCookies({ name: 'third' });
});

test('the sanitiser alone lets nothing run and asks nobody', async () => {
  for (const { id, at } of PLAYS) {
    const result = await stage.play(id, { at, wall: walls.sanitiser, name: `sanitiser-${id}-${at}` });
    assert.deepEqual([...result.ran], []);
    assert.deepEqual(vectorsOf(result.hits), []);
    await result.page.close();
  }
});

test('the policy and the sandbox alone let nothing run and ask nobody', async () => {
  const nodes = NODES.filter(({ slug }) => !BREAKS.test(slug));
  await stage.upload('bare-snapshot', inSnapshot(nodes, 'bare'));
  await stage.upload('bare-mutation', byMutation(nodes, 'bare'));
  for (const id of ['bare-snapshot', 'bare-mutation']) {
    const result = await stage.play(id, { wall: walls.policy, name: id });
    assert.deepEqual([...result.ran], []);
    assert.deepEqual(vectorsOf(result.hits), []);
    const { vectors } = await inspect(result.page);
    assert.ok(vectors.length > nodes.length, `only ${vectors.length} vectors were drawn`);
    await result.page.close();
  }
});

test('nonsense draws what makes sense', async () => {
  await stage.upload('nonsense', nonsense());
  for (const at of [0, 1]) {
    const result = await stage.play('nonsense', { at, name: `nonsense-${at}` });
    assert.deepEqual([...result.ran], []);
    assert.deepEqual(vectorsOf(result.hits), []);
    const seen = await replayDocument(result.page)?.evaluate(() => ({
      text: document.querySelector('#stage iframe')?.contentDocument?.body?.textContent ?? '',
      isPolluted: 'polluted' in {} || '__pwned' in window,
    }));
    assert.match(seen?.text ?? '', /not lost/);
    assert.equal(seen?.isPolluted, false);
    await assertAlive(result);
    await result.page.close();
  }
});

for (const [i, { name, tells, make }] of BOMBS.entries()) {
  test(`${name}: the tab lives, and the player says what it left out`, async () => {
    await stage.upload(`bomb-${i}`, make().end());
    const result = await stage.play(`bomb-${i}`, { name: `bomb-${i}`, forMs: 600 });
    if (tells !== undefined) await result.page.getByText(tells).waitFor({ timeout: 60_000 });
    await assertAlive(result);
    const text = await replayDocument(result.page)?.evaluate(
      () => document.querySelector('#stage iframe')?.contentDocument?.body?.childNodes.length ?? -1,
    );
    assert.ok((text ?? -1) >= 0, 'something is drawn');
    await result.page.close();
  });
}

test('texts stay texts in every place of the player and the list', async () => {
  const result = await stage.play('texts', { name: 'texts' });
  await assertAlive(result);
  const { page } = result;
  await page.getByRole('slider').hover();
  for (const name of ['Performance', 'DOM']) {
    await page.getByRole('tab', { name }).click();
    await page.locator('.inspector .row').first().waitFor();
  }
  await page.goto(`${stage.server.url}/recordings`);
  await page.waitForSelector('[data-row]');
  const links = await page.locator('a').evaluateAll((all) => all.map((link) => link.href));
  assert.deepEqual(
    links.filter((link) => !link.startsWith(stage.server.url)),
    [],
  );
  assert.equal(await page.locator('img[onerror], [onerror]').count(), 0);
  assert.deepEqual([...stage.ran], []);
  assert.deepEqual(vectorsOf(stage.canary.take()), []);
  await page.close();
});

test('no name of a recording was looked up, and nothing was connected to', async () => {
  const hosts = await stage.hostsSeen();
  // Where the sanitiser was taken away, the browser's network part heard of a frame's address before the policy said no.
  const allowed = /\.(control|[a-z]+remote)\.canary\.test$|^r\d+-i?frame-[a-z-]+\.[a-z]+bare\.canary\.test$/;
  assert.deepEqual(
    [...hosts].filter((host) => !allowed.test(host)),
    [],
  );
  assert.equal(stage.canary.silent.length, 0);
});
