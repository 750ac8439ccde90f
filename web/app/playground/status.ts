import { fetchInfo, fetchRecording } from '../src/lib/api';
import { at, BASE } from '../src/lib/base';
import { counted, number } from '../src/lib/format';
import { loadPostHog, type PostHog } from './posthog';

const LOOK_MS = 1_000;
const LOOK_AGAIN_MS = 4_000;
/** How long after the first touch the first upload should be there, if the browser does not report it itself. */
const FIRST_UPLOAD_MS = 3_000;

/** How the recorder is doing, in one sentence and a colour. */
type Tone = 'plain' | 'ok' | 'warn' | 'danger';

/** Starts the recorder and keeps the strip at the top of the page true. Returns posthog once it is there. */
export async function startRecording(): Promise<PostHog | null> {
  const info = await fetchInfo();
  if (info.kind === 'unauthorized') {
    say('danger', 'you are not in: open the address printed in the terminal first');
    return null;
  }
  if (info.kind !== 'ok') {
    say('danger', 'the server does not answer; reload to try again');
    return null;
  }
  const wanted = new URLSearchParams(location.search).get('project');
  const key = wanted ?? info.value.projects[0]?.key ?? 'phc_reelcase';
  return new Promise((resolve) => {
    const config = {
      api_host: location.origin + BASE,
      persistence: 'memory',
      person_profiles: 'always',
      opt_out_useragent_filter: true,
      loaded: (posthog: PostHog) => {
        say('ok', 'running; do something and it is sent');
        follow(posthog);
        resolve(posthog);
      },
    } as const;
    loadPostHog(key, config, () => {
      say('danger', 'posthog-js could not be loaded from /static/array.js');
      resolve(null);
    });
  });
}

/** Counts uploads as the browser reports them, and asks for the recording once there can be one. */
function follow(posthog: PostHog): void {
  let uploads = 0;
  let isLooking = false;
  show('recording-id', posthog.get_session_id());
  const startLooking = () => {
    if (isLooking) return;
    isLooking = true;
    void look(posthog);
  };
  // Nothing is sent before somebody does something. A browser that does not report uploads must not keep us waiting.
  const onTouch = () => setTimeout(startLooking, FIRST_UPLOAD_MS);
  addEventListener('pointerdown', onTouch, { once: true });
  addEventListener('keydown', onTouch, { once: true });
  const observer = new PerformanceObserver((entries) => {
    for (const entry of entries.getEntries()) {
      if (new URL(entry.name).pathname.replace(/\/$/, '') !== at('/s')) continue;
      if (entry instanceof PerformanceResourceTiming && entry.responseStatus >= 400) {
        say('danger', `an upload was refused with status ${entry.responseStatus}`);
        continue;
      }
      uploads += 1;
    }
    show('uploads', number(uploads));
    show('recording-id', posthog.get_session_id());
    if (uploads > 0) startLooking();
  });
  observer.observe({ type: 'resource', buffered: true });
}

async function look(posthog: PostHog): Promise<void> {
  const id = posthog.get_session_id();
  const answer = await fetchRecording(id);
  if (answer.kind === 'ok') {
    say('ok', 'running; this page can be watched');
    show('kept', counted(answer.value.event_count, 'event'));
    const link = document.getElementById('watch');
    link?.setAttribute('href', at(`/recordings/${encodeURIComponent(id)}`));
    link?.classList.add('primary');
    show('watch', 'Watch it');
  } else if (answer.kind === 'offline') {
    say('warn', 'the server does not answer; trying again');
  }
  setTimeout(() => void look(posthog), answer.kind === 'ok' ? LOOK_AGAIN_MS : LOOK_MS);
}

function say(tone: Tone, sentence: string): void {
  const place = document.getElementById('recorder');
  if (!place) return;
  place.dataset['tone'] = tone;
  place.textContent = sentence;
}

/** Writes only what changed: every write is recorded. */
function show(id: string, value: string): void {
  const place = document.getElementById(id);
  if (place && place.textContent !== value) place.textContent = value;
}
