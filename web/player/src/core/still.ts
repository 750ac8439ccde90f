import { onServer } from '../place.ts';
import type { Picture } from './picture.ts';
import { Player } from './player.ts';

/** How long a picture is waited for: somebody wants the link, with or without it. */
const WAIT_MS = 10_000;

const DRAWN = new Set<Picture['status']['kind']>(['paused', 'ended']);
const OVER = new Set<Picture['status']['kind']>([...DRAWN, 'empty', 'damaged', 'failed']);

/** A JPEG of the page as it was at a time from the start of a recording; null where there is none to draw. */
export async function stillOf(recording: string, offset: number, base: string): Promise<Blob | null> {
  const place = onServer(base);
  const frame = document.createElement('iframe');
  frame.sandbox.add('allow-scripts', 'allow-same-origin');
  frame.src = place.frameUrl('none');
  frame.tabIndex = -1;
  frame.ariaHidden = 'true';
  // Where nobody sees it; what is not displayed at all would have no layout.
  frame.style.cssText = 'position:fixed;left:-2000px;top:0;width:1200px;height:630px;border:0';
  let hear: (picture: Picture) => void = () => {};
  const stands = new Promise<boolean>((done) => {
    hear = ({ status }) => {
      if (OVER.has(status.kind)) done(DRAWN.has(status.kind));
    };
  });
  const late = new Promise<null>((done) => setTimeout(() => done(null), WAIT_MS));
  const { frameOrigin } = place;
  const api = (path: string, signal?: AbortSignal) => fetch(path, signal ? { signal } : {});
  const player = new Player({ recording, base, api, frameOrigin, onPicture: (picture) => hear(picture) });
  player.attach(frame);
  player.pause();
  document.body.append(frame);
  try {
    void player.open(offset);
    const drawn = stands.then((isDrawn) => (isDrawn ? player.frame?.still() : null));
    return (await Promise.race([drawn, late])) ?? null;
  } finally {
    player.close();
    frame.remove();
  }
}
