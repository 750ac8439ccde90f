import { type FromFrame, isConnect, readToFrame } from '../protocol.ts';
import { Stage } from './stage.ts';

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

function serve(port: MessagePort, root: HTMLElement, assets: 'none' | 'remote'): void {
  const send = (message: FromFrame) => port.postMessage(message);
  const stage = new Stage(root, assets, (width, height) => send({ kind: 'viewport', width, height }));
  addEventListener('resize', () => stage.fit());
  port.onmessage = (message: MessageEvent<unknown>) => {
    const order = readToFrame(message.data);
    if (order === null) return;
    switch (order.kind) {
      case 'show': {
        let ok = false;
        try {
          ok = stage.show(order.events);
        } catch {
          stage.problems++;
        }
        send({ kind: 'shown', ticket: order.ticket, ok, problems: stage.problems });
        return;
      }
      case 'feed':
        stage.feed(order.events);
        send({ kind: 'fed', ticket: order.ticket, problems: stage.problems });
        return;
      case 'animate':
        stage.animate(order.running);
        return;
    }
  };
  send({ kind: 'ready' });
}

start();
