/** Screens of an app that lie: each field of a view holds what would run or call out, were it taken for more than a value. */
import { Recording } from './recording.mjs';

const TYPES =
  'div text image screenshot rectangle placeholder web_view input radio_group status_bar navigation_bar script constructor __proto__'.split(
    ' ',
  );
const INPUTS =
  'text password email number search tel url text_area button select checkbox radio toggle progress image script'.split(
    ' ',
  );
const STYLES =
  'color backgroundColor backgroundImage backgroundSize borderWidth borderRadius borderColor verticalAlign horizontalAlign fontSize fontFamily paddingLeft paddingRight paddingTop paddingBottom bar iconLeft iconRight'.split(
    ' ',
  );

/** What a field may hold, with an address or a script that tells the canary of it. */
const VALUES = [
  (slug) => `http://${slug}.wire.canary.test/x`,
  (slug) => `//${slug}.wire.canary.test/x`,
  (slug) => `url(http://${slug}.wire.canary.test/x)`,
  (slug) => `red;background:url("http://${slug}.wire.canary.test/x")`,
  (slug) => `x"} * { background: url(http://${slug}.wire.canary.test/x) } {"`,
  (slug) => `</style><img src="http://${slug}.wire.canary.test/x" onerror="__ran('${slug}')">`,
  (slug) => `"><img src=x onerror="__ran('${slug}')">`,
  (slug) => `javascript:__ran('${slug}')`,
  (slug) => `data:text/html,<script>__ran('${slug}')</script>`,
  (slug) =>
    `data:image/svg+xml;base64,${btoa(`<svg xmlns="http://www.w3.org/2000/svg" onload="__ran('${slug}')"><image href="http://${slug}.wire.canary.test/x"/></svg>`)}`,
  (slug) => `iVBORw0KGgo="onerror="__ran('${slug}')`,
  (slug) => ({ toString: `__ran('${slug}')`, __proto__: { polluted: 1 } }),
  (slug) => [`url(http://${slug}.wire.canary.test/x)`],
];

/** Every kind of view with each of these in every field, in a first screen, a later one and changes of it. */
export function wireframes() {
  let id = 0;
  const view = (type, value) => {
    const style = Object.fromEntries(STYLES.map((name) => [name, value]));
    const fields = Object.fromEntries(
      [
        'text',
        'label',
        'value',
        'url',
        'base64',
        'max',
        'checked',
        'disabled',
        'src',
        'onclick',
        'href',
        'tagName',
        'node',
      ].map((name) => [name, value]),
    );
    return { ...fields, id: ++id, x: 0, y: 0, width: 40, height: 20, type, style, options: [value] };
  };
  const all = (round) =>
    VALUES.flatMap((value, v) => [
      ...TYPES.map((type, t) => view(type, value(`w${round}-${v}-${t}`))),
      ...INPUTS.map((inputType, t) => ({ ...view('input', value(`i${round}-${v}-${t}`)), inputType })),
      {
        id: value(`id${round}-${v}`),
        type: value(`type${round}-${v}`),
        x: value('x'),
        width: value('y'),
        childWireframes: value('z'),
      },
    ]);
  const recording = new Recording({ href: "javascript:__ran('screen')", width: 390, height: 844 });
  recording.push(2, {
    wireframes: [{ ...view('text', 'kept'), style: {}, text: 'kept', y: 40 }, ...all(1)],
    initialOffset: 'x',
  });
  recording.after(300).increment(0, {
    adds: all(2).map((wireframe) => ({ parentId: 1, wireframe })),
    updates: [{ parentId: {}, wireframe: { ...view('image', VALUES[9]('update')), id: 2 } }, null, 7],
    removes: [{ id: {} }, null, { id: 5, parentId: 'x' }],
  });
  for (const value of VALUES) {
    const styles = { backgroundColor: value('key-b'), color: value('key-c') };
    recording.push(5, {
      tag: 'keyboard',
      payload: { open: true, height: value('key-h'), x: value('key-x'), styles },
    });
  }
  recording.after(300).push(2, {
    wireframes: [{ id: 1, type: 'text', text: 'kept', x: 0, y: 40, width: 90, height: 20 }, ...all(3)],
  });
  recording.push(4, { href: {}, width: 'x', height: -1 });
  return recording.end();
}
