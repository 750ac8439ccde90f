import { paintTheme, storedTheme, storeTheme, type Theme, themeAfter } from './theme';

let current = $state<Theme>(storedTheme());

/** The theme that is on now. */
export function theme(): Theme {
  return current;
}

/** Goes on to the next theme and remembers it. */
export function nextTheme(): void {
  current = themeAfter(current);
  paintTheme(current);
  storeTheme(current);
}
