/**
 * A recording in a page: `<reelcase-player src="https://replay.example.com/embed/TOKEN" start="12" label="The checkout">`.
 * Importing the module defines the element.
 *
 * - `src`: the address of a link for frames. Anything but http and https shows nothing.
 * - `start`: the second at which playback begins.
 * - `label`: what screen readers call it; "Session replay" where nothing is given.
 */
export declare class ReelcasePlayer extends HTMLElement {}

declare global {
  interface HTMLElementTagNameMap {
    'reelcase-player': ReelcasePlayer;
  }
}
