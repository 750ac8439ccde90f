/**
 * Closes a menu when people follow a link in it or turn to something else: they press beside it, go on with the
 * keyboard, or press into the recorded page, of which only the window hears. Escape closes it, too, and goes back to
 * what opened it.
 */
export function closesItself(menu: HTMLDetailsElement): () => void {
  const done = new AbortController();
  const on = { signal: done.signal };
  const close = () => {
    menu.open = false;
  };
  const closeOutside = ({ target }: Event) => {
    if (target instanceof Node && !menu.contains(target)) close();
  };
  addEventListener('pointerdown', closeOutside, on);
  addEventListener('focusin', closeOutside, on);
  addEventListener('blur', close, on);
  const closeOnLink = ({ target }: Event) => {
    if (target instanceof Element && target.closest('a') !== null) close();
  };
  menu.addEventListener('click', closeOnLink, on);
  const closeOnEscape = ({ key }: KeyboardEvent) => {
    if (key !== 'Escape' || !menu.open) return;
    close();
    menu.querySelector('summary')?.focus();
  };
  addEventListener('keydown', closeOnEscape, on);
  return () => done.abort();
}
