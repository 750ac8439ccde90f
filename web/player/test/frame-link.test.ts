import { afterEach, expect, test } from 'vitest';
import { FrameLink } from '../src/core/frame-link.ts';
import type { Connect, ToFrame } from '../src/protocol.ts';

const STILL = { running: false, at: 0, rate: 1 };
const ports: MessagePort[] = [];

afterEach(() => {
  for (const port of ports.splice(0)) port.close();
});

/** A link to a frame that notes what it is told, and says that each page stands. */
async function linked() {
  const told: ToFrame[] = [];
  let load = () => {};
  const contentWindow = {
    postMessage(_: Connect, __: string, [port]: [MessagePort]) {
      ports.push(port);
      port.onmessage = ({ data }: MessageEvent<ToFrame>) => {
        if (data.kind === 'animate') return;
        told.push(data);
        if (data.kind === 'show')
          port.postMessage({ kind: 'shown', ticket: data.ticket, ok: true, problems: 0 });
      };
      port.postMessage({ kind: 'ready' });
    },
  };
  const addEventListener = (_: string, listener: () => void) => {
    load = listener;
  };
  const frame = { addEventListener, contentWindow } as unknown as HTMLIFrameElement;
  const nothing = () => {};
  const link = new FrameLink(frame, '*', nothing, nothing);
  load();
  await link.ready;
  return { link, told };
}

/** What the frame was given for each page, in the order in which pages were begun. */
function pagesOf(told: readonly ToFrame[]): string[][] {
  const pages = new Map<number, string[]>();
  for (const order of told) {
    if (order.kind !== 'read' && order.kind !== 'show') continue;
    pages.set(order.ticket, [...(pages.get(order.ticket) ?? []), ...order.events]);
  }
  return [...pages.values()];
}

test('events that came before the others are read before them, and told once', async () => {
  const { link, told } = await linked();
  link.read(1, ['a']);
  link.read(1, ['b', 'c']);
  expect(await link.show(['a', 'b', 'c', 'd'], STILL)).toMatchObject({ ok: true });
  expect(told.map(({ kind }) => kind)).toEqual(['read', 'read', 'show']);
  expect(pagesOf(told)).toEqual([['a', 'b', 'c', 'd']]);
});

test('what was read ahead does not count where the events turn out to be others', async () => {
  const { link, told } = await linked();
  link.read(1, ['a', 'b']);
  await link.show(['a', 'x', 'b'], STILL);
  expect(pagesOf(told)).toEqual([
    ['a', 'b'],
    ['a', 'x', 'b'],
  ]);
});

test('a page is not built on what was read for the one before it', async () => {
  const { link, told } = await linked();
  link.read(1, ['a']);
  link.read(2, ['a']);
  await link.show(['a', 'b'], STILL);
  await link.show(['a', 'b'], STILL);
  expect(pagesOf(told)).toEqual([['a'], ['a', 'b'], ['a', 'b']]);
});
