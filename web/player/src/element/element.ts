/** A bundle may be read where there is no page, as by a server that draws pages; there is nothing to show there. */
const Base = globalThis.HTMLElement ?? (class {} as typeof HTMLElement);

/**
 * `<reelcase-player src="https://replay.example.com/embed/TOKEN" start="12">`: a recording in a page. The player runs in
 * a frame of the server's origin; the page around it gets nothing of the recording, and the frame nothing of the page.
 */
export class ReelcasePlayer extends Base {
  static readonly observedAttributes = ['src', 'start', 'label'];
  readonly #frame = document.createElement('iframe');

  constructor() {
    super();
    const style = document.createElement('style');
    style.textContent =
      ':host{display:block;aspect-ratio:8/5;min-height:320px}iframe{display:block;width:100%;height:100%;border:0}';
    this.#frame.allow = 'fullscreen';
    this.#frame.loading = 'lazy';
    this.#frame.referrerPolicy = 'strict-origin-when-cross-origin';
    this.attachShadow({ mode: 'closed' }).append(style, this.#frame);
  }

  connectedCallback(): void {
    this.#show();
  }

  attributeChangedCallback(): void {
    if (this.isConnected) this.#show();
  }

  #show(): void {
    this.#frame.title = this.getAttribute('label') ?? 'Session replay';
    const address = addressOf(this.getAttribute('src'), this.getAttribute('start'));
    // An address that is the same already would load the recording anew, which is another view.
    if (address === null) this.#frame.removeAttribute('src');
    else if (this.#frame.src !== address) this.#frame.src = address;
  }
}

/** The address of the frame. Only what leads to a server: a `javascript:` address would run in the page around it. */
function addressOf(src: string | null, start: string | null): string | null {
  if (src === null || !URL.canParse(src, location.href)) return null;
  const url = new URL(src, location.href);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return null;
  const second = Number(start);
  if (start !== null && second > 0) url.searchParams.set('t', String(second));
  return url.href;
}

const elements = globalThis.customElements;
if (elements !== undefined && elements.get('reelcase-player') === undefined)
  elements.define('reelcase-player', ReelcasePlayer);
