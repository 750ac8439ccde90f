/**
 * The document at `/player/frame`. It opens the replay document from a `data:` URL and passes the page's port on.
 *
 * Why not simply a sandboxed frame: the replayer reaches into a frame of its own, and below a sandbox without
 * `allow-same-origin` every frame gets an origin of its own, so that it could not. A `data:` document has an opaque
 * origin without a sandbox flag, and its `about:blank` children share it. So the replayer is cut off from this
 * server's origin and can still do its work. This shell never sees a recording.
 */
import { dataUrlOf, type Replay } from './data-url.ts';

/** The build puts it here. */
declare const REPLAY: Replay;

const assets = new URLSearchParams(location.search).get('assets') === 'remote' ? 'remote' : 'none';
const frame = document.createElement('iframe');
frame.title = 'Recorded page';
frame.sandbox.add('allow-scripts', 'allow-same-origin');
// Where remote assets are loaded, they are asked for without the viewer's cookies.
frame.setAttribute('credentialless', '');
frame.src = dataUrlOf(REPLAY, assets);
// It loads before anyone asks for it. This document has loaded once that one has, so the port finds it there.
document.body.append(frame);

addEventListener('message', function onMessage(message: MessageEvent<unknown>): void {
  const port = message.ports[0];
  if (message.source !== parent || message.origin !== location.origin || port === undefined) return;
  removeEventListener('message', onMessage);
  frame.contentWindow?.postMessage({ kind: 'reelcase-connect' }, '*', [port]);
});
