import { at } from '../src/lib/base';
import type { PostHog } from './posthog';

const FILMS = [
  'Metropolis',
  'Nosferatu',
  'The General',
  'Sunrise',
  'M',
  'City Lights',
  'Vampyr',
  'Wings',
] as const;

/** Makes everything on the playground do what it says. */
export function toys(recorder: Promise<PostHog | null>): void {
  const films: string[] = FILMS.slice(0, 3).slice();
  let added = films.length;
  let count = 0;

  const actions: Readonly<Record<string, (button: HTMLElement) => void>> = {
    add: () => {
      films.unshift(`${FILMS[added % FILMS.length] ?? 'Film'}, reel ${added + 1}`);
      added += 1;
      showFilms(films);
    },
    remove: () => {
      films.pop();
      showFilms(films);
    },
    shuffle: () => {
      films.sort(() => Math.random() - 0.5);
      showFilms(films);
    },
    less: () => {
      count -= 1;
      write('count', String(count));
    },
    more: () => {
      count += 1;
      write('count', String(count));
    },
    dialog: () => {
      const dialog = document.getElementById('dialog');
      if (dialog instanceof HTMLDialogElement) dialog.showModal();
    },
    canvas: toggleCanvas,
    log: () => console.log('A line in the log', { at: new Date().toISOString(), count }),
    warn: () => console.warn('Something smells of nitrate'),
    error: () => console.error('The film broke', new Error('splice came apart')),
    throw: () => {
      throw new Error('Thrown on purpose');
    },
    'fetch-ok': () => void noise(at('/health')),
    'fetch-missing': () => void noise(at('/api/no-such-thing')),
    navigate: () => {
      const page = Number(new URLSearchParams(location.search).get('page') ?? '1') + 1;
      const query = new URLSearchParams(location.search);
      query.set('page', String(page));
      history.pushState(null, '', `/playground?${query}`);
      showPath();
    },
    identify: () =>
      void recorder.then((posthog) =>
        posthog?.identify('ada@example.com', { email: 'ada@example.com', name: 'Ada Lovelace' }),
      ),
  };

  document.addEventListener('click', (event) => {
    const button = event.target instanceof Element ? event.target.closest('[data-do]') : null;
    if (button instanceof HTMLElement) actions[button.dataset['do'] ?? '']?.(button);
  });
  document.getElementById('form')?.addEventListener('submit', (event) => {
    event.preventDefault();
    write('form-result', 'Sent, to nobody.');
    void recorder.then((posthog) => posthog?.capture('form sent'));
  });
  addEventListener('popstate', showPath);
  showFilms(films);
  showPath();
}

function showFilms(films: readonly string[]): void {
  const items = films.map((film) => {
    const item = document.createElement('li');
    item.textContent = film;
    return item;
  });
  document.getElementById('list')?.replaceChildren(...items);
}

function showPath(): void {
  write('path', location.pathname + location.search);
}

async function noise(url: string): Promise<void> {
  try {
    const response = await fetch(url);
    write('network-result', `${url} answered ${response.status}`);
  } catch {
    write('network-result', `${url} did not answer`);
  }
}

function toggleCanvas(button: HTMLElement): void {
  const canvas = document.getElementById('canvas');
  if (!(canvas instanceof HTMLCanvasElement)) return;
  canvas.hidden = !canvas.hidden;
  button.setAttribute('aria-pressed', String(!canvas.hidden));
  button.textContent = canvas.hidden ? 'Run the canvas' : 'Stop the canvas';
  if (!canvas.hidden) requestAnimationFrame(() => draw(canvas));
}

/** One frame of a turning reel; asks for the next until the canvas is hidden. */
function draw(canvas: HTMLCanvasElement): void {
  const context = canvas.getContext('2d');
  if (!context || canvas.hidden) return;
  const turn = performance.now() / 900;
  context.clearRect(0, 0, canvas.width, canvas.height);
  for (const [x, way] of [
    [90, 1],
    [230, -1],
  ] as const) {
    context.fillStyle = '#00788c';
    context.beginPath();
    context.arc(x, 60, 44, 0, Math.PI * 2);
    for (let hole = 0; hole < 3; hole += 1) {
      const angle = way * turn + (hole * Math.PI * 2) / 3;
      const [cx, cy] = [x + Math.cos(angle) * 24, 60 + Math.sin(angle) * 24];
      context.moveTo(cx + 12, cy);
      context.arc(cx, cy, 12, 0, Math.PI * 2, true);
    }
    context.fill();
  }
  requestAnimationFrame(() => draw(canvas));
}

function write(id: string, text: string): void {
  const place = document.getElementById(id);
  if (place) place.textContent = text;
}
