/** The part of posthog-js that the playground uses. */
export interface PostHog {
  get_session_id(): string;
  capture(name: string, properties?: Readonly<Record<string, unknown>>): void;
  identify(id: string, properties?: Readonly<Record<string, unknown>>): void;
}

/** What `posthog.init` is given here. Everything else stays at the library's defaults. */
export interface PostHogConfig {
  readonly api_host: string;
  readonly persistence: 'memory' | 'localStorage';
  readonly person_profiles: 'always' | 'identified_only';
  /** Driven browsers are not recorded without it. */
  readonly opt_out_useragent_filter: boolean;
  readonly loaded: (posthog: PostHog) => void;
}

/** What `array.js` looks for when it runs: the calls made before it was there. */
type Queue = unknown[] & { _i: unknown[][]; people: unknown[]; __SV: number };

declare global {
  interface Window {
    posthog?: unknown;
  }
}

/**
 * Does what PostHog's snippet does, spelled out: leaves a queue with one `init` in it where `array.js` looks, and loads
 * `array.js` from `api_host`. Calls `onfailed` if that does not come.
 */
export function loadPostHog(key: string, config: PostHogConfig, onfailed: () => void): void {
  const queue: Queue = Object.assign([], { _i: [[key, config, 'posthog']], people: [], __SV: 1 });
  window.posthog = queue;
  const script = document.createElement('script');
  script.async = true;
  script.crossOrigin = 'anonymous';
  script.src = `${config.api_host}/static/array.js`;
  script.addEventListener('error', onfailed);
  document.head.append(script);
}
