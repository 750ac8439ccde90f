/**
 * The document at `/player/frame`. It opens the replay document from a `data:` URL and passes the page's port on.
 *
 * Why not simply a sandboxed frame: the replayer reaches into a frame of its own, and below a sandbox without
 * `allow-same-origin` every frame gets an origin of its own, so that it could not. A `data:` document has an opaque
 * origin without a sandbox flag, and its `about:blank` children share it. So the replayer is cut off from this
 * server's origin and can still do its work. This shell never sees a recording.
 */

/** The replay document; the build puts it here. `{assets}` and `{policy}` are filled in below. */
declare const REPLAY_DOCUMENT: string;
/** The policies of the two variants; the build puts them here. */
declare const POLICIES: { readonly none: string; readonly remote: string };

const assets = new URLSearchParams(location.search).get('assets') === 'remote' ? 'remote' : 'none';
const html = REPLAY_DOCUMENT.replace('{assets}', () => assets).replace('{policy}', () => POLICIES[assets]);
const frame = document.createElement('iframe');
frame.title = 'Recorded page';
frame.sandbox.add('allow-scripts', 'allow-same-origin');
// Where remote assets are loaded, they are asked for without the viewer's cookies.
frame.setAttribute('credentialless', '');
// Only what an address would lose is written in another way: the document is long, and each escape would be read twice.
frame.src = `data:text/html;charset=utf-8,${html.replace(/[%#\t\n\r]/g, encodeURIComponent)}`;
// It loads before anyone asks for it. This document has loaded once that one has, so the port finds it there.
document.body.append(frame);

addEventListener('message', function onMessage(message: MessageEvent<unknown>): void {
  const port = message.ports[0];
  if (message.source !== parent || message.origin !== location.origin || port === undefined) return;
  removeEventListener('message', onMessage);
  frame.contentWindow?.postMessage({ kind: 'reelcase-connect' }, '*', [port]);
});
