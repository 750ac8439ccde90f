import { type FromFrame, isConnect, readToFrame } from '../protocol.ts';
import { Draft } from './draft.ts';
import { Stage } from './stage.ts';
import { find, Outline, TreeList } from './tree.ts';

/** The document with the replayer. It has no origin, no network and one port; it obeys only that port. */
function start(): void {
  const root = document.getElementById('stage');
  if (root === null) return;
  const assets = document.documentElement.dataset['assets'] === 'remote' ? 'remote' : 'none';
  const onMessage = (message: MessageEvent<unknown>) => {
    const port = message.ports[0];
    if (message.source !== parent || !isConnect(message.data) || port === undefined) return;
    removeEventListener('message', onMessage);
    serve(port, root, assets);
  };
  addEventListener('message', onMessage);
}

/** Longest that applying events may keep the page around from answering the viewer. */
const TURN_MS = 30;
/** How often a frame around a node follows it. */
const OUTLINE_MS = 100;
/** Events applied between two looks at the clock. */
const SLICE = 50;

function serve(port: MessagePort, root: HTMLElement, assets: 'none' | 'remote'): void {
  const send = (message: FromFrame) => port.postMessage(message);
  const stage = new Stage(root, assets, (width, height) => send({ kind: 'viewport', width, height }));
  let said = '';
  let missed = '';
  let shows = 0;
  let feeding: Promise<void> = Promise.resolve();
  /** Canvases find out what they leave out while they draw, so it is looked at from time to time, too. */
  const report = () => {
    const urls = stage.missing;
    if (urls.join() !== missed) {
      missed = urls.join();
      send({ kind: 'missing', urls });
    }
    const what = stage.leftOut;
    if (what.join() === said) return;
    said = what.join();
    send({ kind: 'left-out', what });
  };
  let draft = { of: 0, page: new Draft() };
  const draftOf = (ticket: number): Draft => {
    if (draft.of !== ticket) draft = { of: ticket, page: new Draft() };
    return draft.page;
  };
  const show = (events: readonly string[], ticket: number): boolean => {
    const page = draftOf(ticket);
    draft = { of: 0, page: new Draft() };
    try {
      page.add(events);
      return stage.show(page);
    } catch {
      stage.problems++;
      return false;
    }
  };
  const feed = async (events: readonly string[], of: number): Promise<void> => {
    let turnEnds = performance.now() + TURN_MS;
    // A page that was made anew meanwhile holds these events already.
    for (let at = 0; at < events.length && of === shows; at += SLICE) {
      stage.feed(events.slice(at, at + SLICE));
      if (performance.now() < turnEnds) continue;
      await new Promise((done) => setTimeout(done));
      turnEnds = performance.now() + TURN_MS;
    }
  };
  const tree = new TreeList();
  const outline = new Outline();
  let outlined: number | null = null;
  const drawOutline = () => {
    const { mirror, wrapper } = stage.shown ?? {};
    outline.draw(outlined === null ? null : (mirror?.getNode(outlined) ?? null), wrapper ?? null);
    // It moves with what it is around.
    if (outlined !== null) setTimeout(() => requestAnimationFrame(drawOutline), OUTLINE_MS);
  };
  addEventListener('resize', () => stage.fit());
  setInterval(report, 500);
  port.onmessage = (message: MessageEvent<unknown>) => {
    const order = readToFrame(message.data);
    if (order === null) return;
    switch (order.kind) {
      case 'read':
        return draftOf(order.ticket).add(order.events);
      case 'show': {
        shows++;
        const ok = show(order.events, order.ticket);
        report();
        send({ kind: 'shown', ticket: order.ticket, ok, problems: stage.problems });
        return;
      }
      case 'feed': {
        const { ticket, events } = order;
        const of = shows;
        feeding = feeding
          .then(() => feed(events, of))
          .then(() => send({ kind: 'fed', ticket, problems: stage.problems }));
        return;
      }
      case 'tree':
      case 'find': {
        const { shown } = stage;
        if (shown === null) return;
        const { document, mirror } = shown;
        const idOf = (node: Node) => mirror.getId(node);
        const { ticket } = order;
        if (order.kind === 'tree')
          send({ kind: 'tree', ticket, ...tree.page(document, idOf, stage.version, order) });
        else send({ kind: 'found', ticket, ...find(document, idOf, order.words, order.step) });
        return;
      }
      case 'still': {
        const { ticket } = order;
        const still = stage.still().catch(() => null);
        void still.then((picture) => send({ kind: 'still', ticket, picture }));
        return;
      }
      case 'outline': {
        const isDrawn = outlined !== null;
        outlined = order.id;
        if (!isDrawn || outlined === null) drawOutline();
        return;
      }
      case 'animate':
        stage.animate(order);
        return;
    }
  };
  send({ kind: 'ready' });
}

start();
