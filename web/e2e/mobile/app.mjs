// An app on a phone, as PostHog's mobile libraries record it: every view there is, in every style.

import { randomUUID } from 'node:crypto';
import { gzipSync } from 'node:zlib';

const WIDTH = 390;
const HEIGHT = 844;

let ids = 4_300_000_000;
/** A view. Ids are addresses in memory on iOS: larger than most numbers of a recording. */
export const view = (type, x, y, width, height, more = {}) => ({
  id: ++ids,
  ...(type === null ? {} : { type }),
  x,
  y,
  width,
  height,
  ...more,
});
export const words = (text, x, y, width, height, style = {}) =>
  view('text', x, y, width, height, { text, style });
export const field = (inputType, x, y, width, height, more = {}) =>
  view('input', x, y, width, height, { inputType, ...more });

/** A small picture in each of the three forms in which apps send one. */
export const PICTURES = {
  png: 'iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAYAAAAf8/9hAAAB4ElEQVR4AXSSPWuVQRCF512YuT/Ez87OysrGzsrKxk4QP7gExMb4EYNRQ2olqARDiEowCHY2+QchJOTn7OQ5u/eGBPJeuOyemTnnzMy+5cb3tby5sZa3Nlbz9o/VvLP5Me9ufch7Wyt5f/t9Pthezoe/lvPx76Vc2FnKFztv8tWf1/ludzE//V3MMhnMwqpF4RyqTYYE8y/8uU84XXHOmJ0dm+ksCoosEBQ5pH5WRJOitEkxc0sLct5EhCtmZkXkUJBkUCTH4D7vTLiT0voJWfXNrFpRUI4i6XSNg0CPUyzRGe6dVJwTsaSzNHaQJmeRJSLHvW/79v/rgf1bP7Dd9UP7+eXINj8fQ6pnxkowAo66yE5b/Uwb+7WxqJeJOtXCi0BzHngF2hceE5CJ8s5Y2p1wcUgSEGhBkmMCnVzb7EHH2knrQGQle3B8BKf9ZgI5uMu8KCglx7kFSY52ACnIqz64y/RcBz5LPnpy3aZPr9nzZ1ft5fSKvZ1etpWFS2y9moiusdt3oFfAWduck5XsONusDVMcM/HAWa8VDSOgNk7JBJV0ino8eXc+JsWJSUz54B68mjA7qDhRRFsXvXNAPjtzxwgT10LZAWRAd5RYmjOWkk48cHPE5ezc587CMVQ7AQAA//8ZStOmAAAABklEQVQDAJke5Uw88UEoAAAAAElFTkSuQmCC',
  jpeg: '/9j/4AAQSkZJRgABAQAAAQABAAD/4gHYSUNDX1BST0ZJTEUAAQEAAAHIAAAAAAQwAABtbnRyUkdCIFhZWiAH4AABAAEAAAAAAABhY3NwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAQAA9tYAAQAAAADTLQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAlkZXNjAAAA8AAAACRyWFlaAAABFAAAABRnWFlaAAABKAAAABRiWFlaAAABPAAAABR3dHB0AAABUAAAABRyVFJDAAABZAAAAChnVFJDAAABZAAAAChiVFJDAAABZAAAAChjcHJ0AAABjAAAADxtbHVjAAAAAAAAAAEAAAAMZW5VUwAAAAgAAAAcAHMAUgBHAEJYWVogAAAAAAAAb6IAADj1AAADkFhZWiAAAAAAAABimQAAt4UAABjaWFlaIAAAAAAAACSgAAAPhAAAts9YWVogAAAAAAAA9tYAAQAAAADTLXBhcmEAAAAAAAQAAAACZmYAAPKnAAANWQAAE9AAAApbAAAAAAAAAABtbHVjAAAAAAAAAAEAAAAMZW5VUwAAACAAAAAcAEcAbwBvAGcAbABlACAASQBuAGMALgAgADIAMAAxADb/2wBDABQODxIPDRQSEBIXFRQYHjIhHhwcHj0sLiQySUBMS0dARkVQWnNiUFVtVkVGZIhlbXd7gYKBTmCNl4x9lnN+gXz/2wBDARUXFx4aHjshITt8U0ZTfHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHz/wAARCAAQABADASIAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAAAAP/xAAbEAACAgMBAAAAAAAAAAAAAAABAgMEABEhIv/EABQBAQAAAAAAAAAAAAAAAAAAAAP/xAAZEQADAAMAAAAAAAAAAAAAAAAAAgMBEWH/2gAMAwEAAhEDEQA/AEsqV4w7gkE65l6cqWYy6AgA67iaolmMI5YAHfnL06aVYyiFiCd+sF3xroM5n//Z',
  webp: 'UklGRjgCAABXRUJQVlA4WAoAAAAgAAAADwAADwAASUNDUMgBAAAAAAHIAAAAAAQwAABtbnRyUkdCIFhZWiAH4AABAAEAAAAAAABhY3NwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAQAA9tYAAQAAAADTLQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAlkZXNjAAAA8AAAACRyWFlaAAABFAAAABRnWFlaAAABKAAAABRiWFlaAAABPAAAABR3dHB0AAABUAAAABRyVFJDAAABZAAAAChnVFJDAAABZAAAAChiVFJDAAABZAAAAChjcHJ0AAABjAAAADxtbHVjAAAAAAAAAAEAAAAMZW5VUwAAAAgAAAAcAHMAUgBHAEJYWVogAAAAAAAAb6IAADj1AAADkFhZWiAAAAAAAABimQAAt4UAABjaWFlaIAAAAAAAACSgAAAPhAAAts9YWVogAAAAAAAA9tYAAQAAAADTLXBhcmEAAAAAAAQAAAACZmYAAPKnAAANWQAAE9AAAApbAAAAAAAAAABtbHVjAAAAAAAAAAEAAAAMZW5VUwAAACAAAAAcAEcAbwBvAGcAbABlACAASQBuAGMALgAgADIAMAAxADZWUDggSgAAAHACAJ0BKhAAEAADgFolsAKw5QAqJGIaS0tKjYAArD13sBJ9tz36nc78SObkvs9fJ1xK7yycO3d1Dlw+HB1XYdPO340YJWjoWAAA',
};

const EDGE = { borderWidth: 1, borderColor: '#9AA3AD', borderRadius: 8 };

/** Boxes, texts and pictures in every style. */
export function looks() {
  const label = { color: '#5B6470', fontSize: 12 };
  return [
    view('status_bar', 0, 0, WIDTH, 44, { style: { backgroundColor: '#0B3D4C' } }),
    view(null, 0, 0, WIDTH, HEIGHT, {
      style: { backgroundColor: '#F5F7F9' },
      childWireframes: [
        view('rectangle', 0, 44, WIDTH, 56, {
          style: { backgroundColor: '#0B3D4C' },
          childWireframes: [
            words('Every view', 16, 60, 200, 24, {
              color: '#FFFFFF',
              fontSize: 20,
              fontFamily: '.SFUI-Bold',
            }),
          ],
        }),
        ...['left', 'center', 'right'].map((horizontalAlign, i) =>
          words(horizontalAlign, 16 + i * 120, 116, 112, 44, {
            horizontalAlign,
            verticalAlign: ['top', 'center', 'bottom'][i],
            fontSize: 14,
            backgroundColor: '#FFFFFF',
            paddingLeft: 6,
            paddingRight: '6px',
            ...EDGE,
          }),
        ),
        words(
          'A text of more than one line, which breaks where its box ends.\nAnd a second one.',
          16,
          172,
          358,
          60,
          {
            fontSize: '15px',
            color: 'rgb(20, 80, 60)',
            fontFamily: 'Georgia',
          },
        ),
        words('One line that is wider here than it was there', 16, 238, 296, 18, { fontSize: 14 }),
        words('padding', 16, 266, 112, 48, {
          backgroundColor: '#E7F0FE',
          paddingTop: 20,
          paddingLeft: 30,
          paddingBottom: 2,
          fontSize: 13,
        }),
        words('monospace', 140, 266, 112, 48, {
          backgroundColor: '#E7F0FE',
          fontFamily: 'monospace',
          fontSize: 13,
        }),
        view('rectangle', 264, 266, 110, 48, {
          style: { borderWidth: '3px', borderColor: '#C0392B', borderRadius: '24px' },
        }),
        words('png', 16, 322, 60, 14, label),
        words('jpeg', 108, 322, 60, 14, label),
        words('webp', 200, 322, 60, 14, label),
        words('masked', 292, 322, 60, 14, label),
        view('image', 16, 340, 80, 80, { base64: PICTURES.png, style: { borderRadius: 40 } }),
        view('image', 108, 340, 80, 80, { base64: `data:image/jpeg;base64,${PICTURES.jpeg}` }),
        view('image', 200, 340, 80, 80, { base64: `data:image/webp;base64,\n${PICTURES.webp}` }),
        view('image', 292, 340, 80, 80),
        ...['contain', 'cover', 'auto'].map((backgroundSize, i) =>
          view('div', 16 + i * 120, 436, 112, 64, {
            style: { backgroundImage: PICTURES.png, backgroundSize, backgroundColor: '#D8E2EA' },
            childWireframes: [
              words(`background ${backgroundSize}`, 20 + i * 120, 482, 108, 14, { fontSize: 11 }),
            ],
          }),
        ),
        view('placeholder', 16, 516, 112, 90, { label: 'map of Berlin' }),
        view('placeholder', 140, 516, 112, 90),
        view('web_view', 264, 516, 110, 90, { url: 'https://shop.example.test/checkout?step=2' }),
        view('hologram', 16, 620, 358, 50, {
          style: { backgroundColor: '#FFF6E0', ...EDGE },
          childWireframes: [words('in a view of a later release', 30, 636, 300, 18, { fontSize: 14 })],
        }),
        view('image', 16, 690, 100, 80, {
          base64: PICTURES.png,
          childWireframes: [words('on a picture', 22, 720, 90, 18, { fontSize: 14, color: 'white' })],
        }),
      ],
    }),
    view('navigation_bar', 0, 796, WIDTH, 48, { style: { backgroundColor: '#FFFFFF' } }),
  ];
}

/** Every field and control. */
export function inputs() {
  const kinds = ['text', 'password', 'email', 'number', 'search', 'tel', 'url'];
  const values = ['Ada', 'secret', 'ada@example.test', '***', 'shoes', '+49 30 1234', 'https://a.test'];
  const row = (i) => 60 + i * 44;
  return [
    view('status_bar', 0, 0, WIDTH, 44, { style: { backgroundColor: '#FFFFFF' } }),
    view('div', 0, 0, WIDTH, HEIGHT, {
      style: { backgroundColor: '#FFFFFF' },
      childWireframes: [
        ...kinds.map((kind, i) =>
          field(kind, 16, row(i), 200, 36, {
            value: values[i],
            disabled: i === 4,
            style: { fontSize: 14, paddingLeft: 8, ...(i < 3 ? EDGE : {}) },
          }),
        ),
        field('text_area', 232, row(0), 142, 80, {
          value: 'several\nlines',
          style: { ...EDGE, paddingLeft: 8 },
        }),
        field('select', 232, row(2), 142, 36, { value: 'EUR', options: ['USD', 'EUR', 'GBP'], style: EDGE }),
        field('select', 232, row(3), 142, 36, { value: 'CHF', options: [] }),
        field('button', 232, row(4), 142, 36, {
          value: 'Pay now',
          style: { backgroundColor: '#0B6E4F', color: '#FFFFFF', borderRadius: 18, fontSize: 15 },
        }),
        field('button', 232, row(5), 142, 36, {
          value: 'Disabled',
          disabled: true,
          style: { borderWidth: 1, borderColor: '#0B6E4F' },
        }),
        field('text', 232, row(6), 142, 36, {
          value: 'icons',
          style: {
            iconLeft: PICTURES.png,
            iconRight: PICTURES.png,
            ...EDGE,
            paddingLeft: 6,
            paddingRight: 6,
          },
        }),
        field('checkbox', 16, row(7), 170, 32, { checked: true, label: 'Checked' }),
        field('checkbox', 200, row(7), 170, 32, { checked: false, label: 'Not checked' }),
        view('radio_group', 16, row(8), 358, 32, {
          childWireframes: [
            field('radio', 16, row(8), 170, 32, {
              checked: true,
              label: 'Card',
              style: { color: '#0B6E4F' },
            }),
            field('radio', 200, row(8), 170, 32, {
              checked: false,
              label: 'Bank',
              style: { color: '#0B6E4F' },
            }),
          ],
        }),
        field('toggle', 16, row(9), 170, 32, { checked: true, label: 'On' }),
        field('toggle', 200, row(9), 170, 32, { checked: false, label: 'Off', style: { color: '#C0392B' } }),
        field('toggle', 16, row(10), 60, 32, { checked: true, style: { color: '#0B6E4F' } }),
        field('checkbox', 100, row(10), 32, 32, { checked: true, disabled: true }),
        field('progress', 200, row(10), 170, 32, { value: 30, max: 100, style: { bar: 'horizontal' } }),
        field('progress', 200, row(11), 170, 32, { style: { bar: 'horizontal', color: '#0B6E4F' } }),
        field('progress', 16, row(12), 60, 60, { value: 0.66, style: { bar: 'circular' } }),
        field('progress', 100, row(12), 60, 60, { style: { bar: 'circular', color: '#C0392B' } }),
        field('progress', 200, row(12), 170, 32, { value: 3.5, max: 5, style: { bar: 'rating' } }),
        field('progress', 200, row(13), 170, 32, {
          value: '2',
          max: '4',
          style: { bar: 'rating', color: '#0B6E4F' },
        }),
        field('progress', 16, row(14), 110, 32, { style: { bar: 'rating' } }),
        field('dial', 140, row(14), 110, 32),
      ],
    }),
    view('navigation_bar', 0, 796, WIDTH, 48, { style: { backgroundColor: '#101418' } }),
  ];
}

export const meta = (at, href, width = WIDTH, height = HEIGHT) => ({
  type: 4,
  timestamp: at,
  data: { href, width, height },
});
export const snapshot = (at, wireframes) => ({
  timestamp: at,
  data: { initialOffset: { top: 0, left: 0 }, wireframes },
  type: 2,
});
export const mutation = (at, { adds = [], updates = [], removes = [] }) => ({
  type: 3,
  timestamp: at,
  data: { source: 0, adds, updates, removes },
});
export const touch = (at, type, x, y) => ({
  type: 3,
  timestamp: at,
  data: { source: 2, type, id: 0, x, y, pointerType: 2 },
});
export const tap = (at, x, y) => [touch(at, 7, x, y), touch(at + 60, 9, x, y)];
export const keyboard = (at, payload) => ({ type: 5, timestamp: at, data: { tag: 'keyboard', payload } });

/** Sends events as a mobile library does: a list, packed, and it says that it is. */
export async function sendFromPhone(url, session, events, { agent = 'posthog-android/3.60.4' } = {}) {
  const at = new Date(events[0].timestamp).toISOString();
  const properties = {
    $snapshot_source: 'mobile',
    $snapshot_data: events,
    $session_id: session,
    distinct_id: 'phone-1',
  };
  const item = { event: '$snapshot', distinct_id: 'phone-1', uuid: randomUUID(), timestamp: at, properties };
  const reply = await fetch(`${url}/s/`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json; charset=utf-8',
      'content-encoding': 'gzip',
      'user-agent': agent,
    },
    body: gzipSync(JSON.stringify([{ api_key: 'phc_app', ...item }])),
  });
  if (reply.status !== 200) throw new Error(`${reply.status} ${await reply.text()}`);
}

/** A visit to a shop: a list, a dialogue that comes and goes, a keyboard, a turn of the phone. */
export function visit(start) {
  const row = (i, name) =>
    view(null, 0, 100 + i * 64, WIDTH, 64, {
      style: { backgroundColor: '#FFFFFF', borderWidth: 1, borderColor: '#E3E7EB' },
      childWireframes: [words(name, 16, 122 + i * 64, 200, 20, { fontSize: 16 })],
    });
  const rows = ['Camera', 'Lens', 'Tripod'].map((name, i) => row(i, name));
  const screen = view('div', 0, 0, WIDTH, HEIGHT, {
    style: { backgroundColor: '#F5F7F9' },
    childWireframes: rows,
  });
  const dialogue = view(null, 40, 300, 310, 160, {
    style: { backgroundColor: '#FFFFFF', borderRadius: 16, borderWidth: 1, borderColor: '#C5CCD3' },
    childWireframes: [
      words('Add to cart?', 60, 320, 200, 24, { fontSize: 18 }),
      field('text', 60, 356, 270, 36, { value: '1', style: EDGE }),
      field('button', 220, 408, 110, 36, {
        value: 'Add',
        style: { backgroundColor: '#0B6E4F', color: '#FFFFFF', borderRadius: 18 },
      }),
    ],
  });
  const status = view('status_bar', 0, 0, WIDTH, 44, { style: { backgroundColor: '#FFFFFF' } });
  const sold = {
    ...rows[1],
    childWireframes: [words('Lens – sold out', 16, 186, 200, 20, { fontSize: 16, color: '#C0392B' })],
  };
  const wide = view('div', 0, 0, HEIGHT, WIDTH, {
    style: { backgroundColor: '#10303A' },
    childWireframes: [words('On its side', 300, 180, 240, 30, { fontSize: 24, color: '#FFFFFF' })],
  });
  return [
    meta(start, 'ProductList'),
    snapshot(start, [screen, status]),
    ...tap(start + 1000, 300, 130),
    mutation(start + 1200, { adds: [{ parentId: screen.id, wireframe: dialogue }] }),
    ...tap(start + 2000, 100, 370),
    keyboard(start + 2200, { open: true, height: 300 }),
    mutation(start + 3000, { updates: [{ parentId: screen.id, wireframe: sold }] }),
    keyboard(start + 3600, { open: false }),
    ...tap(start + 4000, 270, 424),
    mutation(start + 4200, { removes: [{ parentId: screen.id, id: dialogue.id }] }),
    touch(start + 5000, 7, 200, 700),
    touch(start + 5300, 9, 205, 300),
    meta(start + 6000, 'Viewer', HEIGHT, WIDTH),
    snapshot(start + 6000, [wide]),
    ...tap(start + 8000, 10, 10),
  ];
}
