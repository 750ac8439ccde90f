/** The ways by which a recorded node or style sheet gets into the replayed page. Every vector takes all of them. */
import { h, Recording, t } from './recording.mjs';

/** What a vector is given: its name in this delivery, a script and addresses that tell the canary about it. */
export function context(slug, delivery) {
  const name = `${slug}-${delivery}`;
  const host = `${slug}.${delivery}.canary.test`;
  return {
    name,
    run: `try{__ran("${name}")}catch(e){}`,
    js: `http://${host}/x.js`,
    url: (path) => `http://${host}/${path}`,
  };
}

const marked = (delivery) => (vector) =>
  h('div', { 'data-v': `${vector.slug}-${delivery}` }, vector.node(context(vector.slug, delivery)));

/** Nodes in the full snapshot: as they are, in a shadow tree, and in the document of a frame. */
export function inSnapshot(vectors, suffix = '') {
  const shadowed = marked(`shadow${suffix}`);
  const shadows = vectors.map((vector) => ({
    ...h('section', {}, { ...shadowed(vector), isShadow: true }),
    isShadowHost: true,
  }));
  const frame = { ...h('iframe', { width: '300', height: '100' }), id: 9 };
  const recording = new Recording();
  recording.snapshot([frame, ...vectors.map(marked(`light${suffix}`)), ...shadows]);
  recording.after(20).attach(9, vectors.map(marked(`frame${suffix}`)));
  return recording.end();
}

/** Nodes added to a page that stands, and bare nodes that get their attributes later. */
export function byMutation(vectors, suffix = '') {
  const recording = new Recording().snapshot([h('p', {}, t('before'))]);
  recording.after(400).add(5, vectors.map(marked(`added${suffix}`)));
  recording.after(200).add(5, vectors.map(marked(`late${suffix}`)), { bare: true });
  return recording.end();
}

/** Style sheets of every origin, and single declarations. */
export function asStyles(styles, suffix = '') {
  const target = (way) => (vector) => {
    const { name } = context(vector.slug, `${way}${suffix}`);
    return h('p', { class: `v${name}`, 'data-v': name }, t('x'));
  };
  const css = (way) => (vector) => vector.css(context(vector.slug, `${way}${suffix}`));
  const ways = ['element', 'text', 'link', 'rule', 'adopted', 'replaced', 'changed'];
  const head = [
    ...styles.map((vector) => h('style', {}, t(css('element')(vector)))),
    ...styles.map((vector) => h('style', { _cssText: css('text')(vector) })),
    ...styles.map((vector) => h('link', { _cssText: css('link')(vector) })),
    { ...h('style', {}, { ...t('a{}'), id: 901 }), id: 900 },
    ...styles.map((_, i) => ({ ...h('style', {}, { ...t('a{}'), id: 1001 + 2 * i }), id: 1000 + 2 * i })),
  ];
  const secret = h('input', { value: 'secret' });
  const recording = new Recording();
  recording.snapshot(
    [secret, ...ways.flatMap((way) => styles.map(target(way))), { ...h('p', {}, t('x')), id: 902 }],
    head,
  );
  recording.after(100);
  for (const vector of styles)
    recording.increment(8, { id: 900, adds: [{ rule: css('rule')(vector), index: 0 }] });
  const adopted = styles.map((vector, i) => ({
    styleId: i + 1,
    rules: [{ rule: css('adopted')(vector), index: 0 }],
  }));
  const replaced = { styleId: 900, rules: [] };
  recording.increment(15, {
    id: 1,
    styleIds: [...adopted, replaced].map(({ styleId }) => styleId),
    styles: [...adopted, replaced],
  });
  recording.after(100).increment(8, { styleId: 900, replaceSync: styles.map(css('replaced')).join('\n') });
  const texts = styles.map((vector, i) => ({ id: 1001 + 2 * i, value: css('changed')(vector) }));
  recording.after(100).increment(0, { adds: [], removes: [], attributes: [], texts });
  const url = (way) => context('c-declaration', `${way}${suffix}`).url('x');
  recording.after(100);
  recording.attributes([
    {
      id: 902,
      attributes: {
        style: {
          'background-image': `url(${url('object')})`,
          cursor: [`url(${url('list')}), auto`, 'important'],
        },
      },
    },
  ]);
  recording.attributes([
    { id: 902, attributes: { style: `list-style: url(${url('string')}); display: list-item` } },
  ]);
  recording.increment(13, {
    id: 900,
    index: [0],
    set: { property: 'background', value: `url(${url('declared')})`, priority: 'important' },
  });
  recording.increment(10, {
    family: 'hostile',
    fontSource: `url(${url('font')})`,
    buffer: false,
    descriptors: {},
  });
  return recording.end();
}
