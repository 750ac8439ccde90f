/** Outline icons on a 16 by 16 grid, drawn with a stroke. */
export const ICONS = {
  back: 'M10 3 5 8l5 5',
  check: 'm3 8.5 3.2 3.2L13 4.8',
  clear: 'm4 4 8 8m0-8-8 8',
  copy: 'M5.5 5.5v-3h8v8h-3m-8-5h8v8h-8z',
  dark: 'M13.2 9.8A5.6 5.6 0 0 1 6.2 2.8a5.6 5.6 0 1 0 7 7z',
  download: 'M8 2.5v7.5m-3-3 3 3 3-3m-8.5 6h11',
  auto: 'M2 3.5h12v8H2zm4 10h4m-2-2v2',
  eye: 'M1.5 8S4 3.5 8 3.5 14.5 8 14.5 8 12 12.5 8 12.5 1.5 8 1.5 8M8 6a2 2 0 1 0 0 4 2 2 0 0 0 0-4',
  filter: 'M2 4h12M4.5 8h7M6.5 12h3',
  light:
    'M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6M8 1.2v1.6m0 10.4v1.6M1.2 8h1.6m10.4 0h1.6M3.2 3.2l1.1 1.1m7.4 7.4 1.1 1.1m0-9.6-1.1 1.1m-7.4 7.4-1.1 1.1',
  link: 'M6.7 9.3a2.7 2.7 0 0 0 3.9.1l2.4-2.4a2.7 2.7 0 0 0-3.8-3.8l-.9.9m1 2.6a2.7 2.7 0 0 0-3.9-.1L3 9a2.7 2.7 0 0 0 3.8 3.8l.9-.9',
  collect: 'M2.5 4.5h8m-8 3.5h6m-6 3.5h4M11.5 8v5M9 10.5h5',
  comment: 'M2.5 3h11v7.5H8L4.8 13v-2.5H2.5z',
  pin: 'M5.5 2h5l-.7 4.5 2.2 2.5H4l2.2-2.5zM8 9v5',
  trash: 'M2.5 4h11M6 4V2.5h4V4M4 4l.7 9.5h6.6L12 4',
  play: 'M5 3.2v9.6l7.8-4.8z',
  search: 'M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9m3.3 7.8 3.4 3.4',
  up: 'M8 13V3M4 7l4-4 4 4',
  warn: 'M8 2.3 14.3 13H1.7zM8 6.5v3m0 1.7v.1',
} as const;

/** Name of an icon. */
export type IconName = keyof typeof ICONS;
