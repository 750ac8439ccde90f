// A shop with one page per product, drawn in the browser: list changes, navigation without loading, a basket.

const goods = [
  { id: 'storm', name: 'Storm lantern', price: 39 },
  { id: 'paper', name: 'Paper lantern', price: 12 },
  { id: 'brass', name: 'Brass lantern', price: 85 },
  { id: 'wick', name: 'Ten wicks', price: 5 },
  { id: 'oil', name: 'Lamp oil', price: 9 },
  { id: 'hook', name: 'Iron hook', price: 7 },
];
const view = document.getElementById('view');
const basket = [];

function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function card(good) {
  const link = el('a', { href: `/product/${good.id}`, 'data-route': '' }, good.name);
  const add = el('button', { type: 'button', 'data-add': good.id }, `Add for ${good.price} €`);
  return el('li', { id: `good-${good.id}` }, el('h3', {}, link), add);
}

function drawList(words = '') {
  const list = document.getElementById('goods');
  const wanted = goods.filter(({ name }) => name.toLowerCase().includes(words.toLowerCase()));
  list.replaceChildren(...wanted.map(card));
  document.getElementById('found').textContent = `${wanted.length} of ${goods.length} articles`;
}

function drawHome() {
  const search = el('input', { id: 'search', type: 'search', placeholder: 'Search', autocomplete: 'off' });
  search.addEventListener('input', () => drawList(search.value));
  const sort = el('button', { id: 'sort', type: 'button' }, 'Cheapest first');
  sort.addEventListener('click', () => {
    goods.sort((a, b) => a.price - b.price);
    drawList(search.value);
  });
  view.replaceChildren(
    el('h1', {}, 'Light for dark evenings'),
    el('p', {}, search, ' ', sort),
    el('p', { id: 'found' }),
    el('ul', { id: 'goods', class: 'goods' }),
  );
  drawList();
}

function drawProduct(good) {
  const reviews = Array.from({ length: 40 }, (_, i) =>
    el('p', {}, `Review ${i + 1}: burns for ${40 - i} hours`),
  );
  view.replaceChildren(
    el('h1', {}, good.name),
    el('p', {}, `Made by hand, ${good.price} €`),
    el('button', { type: 'button', 'data-add': good.id }, 'Into the basket'),
    el('div', { id: 'reviews', class: 'reviews' }, ...reviews),
  );
}

function draw() {
  const good = goods.find(({ id }) => location.pathname === `/product/${id}`);
  if (good) drawProduct(good);
  else drawHome();
}

function add(id) {
  basket.push(goods.find((good) => good.id === id));
  document.getElementById('count').textContent = String(basket.length);
  document.getElementById('basket').append(el('li', {}, basket.at(-1).name));
  document.getElementById(`good-${id}`)?.classList.add('sold');
}

document.addEventListener('click', (event) => {
  const route = event.target.closest('[data-route]');
  if (route) {
    event.preventDefault();
    history.pushState({}, '', route.href);
    draw();
    window.posthog?.capture?.('$pageview');
  }
  const bought = event.target.closest('[data-add]');
  if (bought) add(bought.dataset.add);
});
document.getElementById('coupon').addEventListener('click', () => {
  console.error('coupon service is down', { code: 503 });
  document.getElementById('news').textContent = 'The coupon could not be applied';
});
window.addEventListener('popstate', draw);
draw();
