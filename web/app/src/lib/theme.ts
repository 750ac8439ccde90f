/** What colours the app shows: what the system asks for, or one of the two. */
export type Theme = 'auto' | 'light' | 'dark';

const STORED_AS = 'reelcase.theme';
const THEMES: readonly Theme[] = ['auto', 'light', 'dark'];

/** The choice of an earlier visit. */
export function storedTheme(): Theme {
  try {
    const stored = localStorage.getItem(STORED_AS);
    return THEMES.find((known) => known === stored) ?? 'auto';
  } catch {
    return 'auto';
  }
}

/** Remembers a choice for the next visit. */
export function storeTheme(theme: Theme): void {
  try {
    localStorage.setItem(STORED_AS, theme);
  } catch {
    // Storage is off in this browser. The choice then lasts until the page goes.
  }
}

/** Gives the page a theme's colours. Call it once before the first paint. */
export function paintTheme(theme: Theme): void {
  if (theme === 'auto') delete document.documentElement.dataset['theme'];
  else document.documentElement.dataset['theme'] = theme;
}

/** The theme the switch goes on to. */
export function themeAfter(theme: Theme): Theme {
  return THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? 'auto';
}
