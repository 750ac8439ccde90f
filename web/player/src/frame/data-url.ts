import type { Assets } from '../place.ts';

/** The document that replays, and the policies of its two variants, as the build makes them. */
export type Replay = {
  /** `{assets}` and `{policy}` stand in it for what is filled in here. */
  readonly document: string;
  readonly policies: Readonly<Record<Assets, string>>;
};

/**
 * The address of the replay document. A `data:` document has an opaque origin without a sandbox flag, and its
 * `about:blank` children share it: see `shell.ts`.
 */
export function dataUrlOf({ document, policies }: Replay, assets: Assets): string {
  const html = document.replace('{assets}', () => assets).replace('{policy}', () => policies[assets]);
  // Only what an address would lose is written in another way: the document is long, and each escape is read twice.
  return `data:text/html;charset=utf-8,${html.replace(/[%#\t\n\r]/g, encodeURIComponent)}`;
}
