/** Whether pictures, styles, fonts and media of the recorded site are fetched from it. */
export type Assets = 'none' | 'remote';

/** What differs with where a player stands: in the app, in a page that was shared, in a file of its own. */
export type Place = {
  /** Address of the document that draws the page. */
  readonly frameUrl: (assets: Assets) => string;
  /** The origin of that document; `*` where it has none of its own. */
  readonly frameOrigin: string;
  /** Whether the viewer may choose to load remote assets. */
  readonly mayLoadAssets: boolean;
  /** The link to a second of the recording. */
  readonly linkTo: (second: number) => URL;
};

/** In a page of the server. */
export function onServer(base: string): Place {
  return {
    frameUrl: (assets) => `${base}/player/frame${assets === 'remote' ? '?assets=remote' : ''}`,
    frameOrigin: location.origin,
    mayLoadAssets: true,
    linkTo(second) {
      const url = new URL(location.href);
      url.searchParams.set('t', String(second));
      return url;
    },
  };
}
