/** Webhooks, as the server knows them. */
import { ask, type Outcome, tell } from './api';
import { at } from './base';

/** Who is told that a recording has ended. */
export type Webhook = {
  readonly id: string;
  readonly url: string;
  /** Conditions of the API's list, as the query of an address. */
  readonly query: string;
  readonly quietS: number;
  readonly isOn: boolean;
  readonly pending: number;
  readonly nextAtMs: number | null;
  readonly sent: number;
  readonly givenUp: number;
  readonly recent: readonly Attempt[];
};

/** What became of one sending. */
export type Attempt = {
  readonly id: string;
  /** Null for a test. */
  readonly recording: string | null;
  readonly atMs: number;
  readonly status: number | null;
  readonly error: string | null;
};

/** What a webhook is to be; what is absent stays, or is as by default. */
export type WebhookTerms = {
  readonly url?: string;
  readonly secret?: string;
  readonly query?: string;
  readonly quiet_s?: number;
  readonly is_on?: boolean;
};

/** Asks for all webhooks. */
export function fetchWebhooks(): Promise<Outcome<readonly Webhook[]>> {
  return ask(at('/api/webhooks'), (json) => listOf(objectOf(json)['webhooks']).map(webhookFrom));
}

/** Makes a webhook, and learns its secret, which nobody can know later. */
export function createWebhook(terms: WebhookTerms): Promise<Outcome<string>> {
  return tell('POST', at('/api/webhooks'), terms, (json) => String(objectOf(json)['secret']));
}

/** Changes a webhook. */
export function changeWebhook(id: string, terms: WebhookTerms): Promise<Outcome<Webhook>> {
  return tell('PATCH', urlOf(id), terms, webhookFrom);
}

/** Deletes a webhook, and what waits to be sent by it. */
export function deleteWebhook(id: string): Promise<Outcome<null>> {
  return tell('DELETE', urlOf(id), null, () => null);
}

/** Sends a test. */
export function testWebhook(id: string): Promise<Outcome<Attempt>> {
  return tell('POST', `${urlOf(id)}/test`, null, attemptFrom);
}

function urlOf(id: string): string {
  return at(`/api/webhooks/${encodeURIComponent(id)}`);
}

function webhookFrom(json: unknown): Webhook {
  const from = objectOf(json);
  return {
    id: String(from['id']),
    url: String(from['url']),
    query: String(from['query'] ?? ''),
    quietS: Number(from['quiet_s']),
    isOn: from['is_on'] === true,
    pending: Number(from['pending_count']),
    nextAtMs: typeof from['next_at_ms'] === 'number' ? from['next_at_ms'] : null,
    sent: Number(from['sent_count']),
    givenUp: Number(from['given_up_count']),
    recent: listOf(from['recent']).map(attemptFrom),
  };
}

function attemptFrom(json: unknown): Attempt {
  const from = objectOf(json);
  return {
    id: String(from['id']),
    recording: typeof from['recording'] === 'string' ? from['recording'] : null,
    atMs: Number(from['at_ms']),
    status: typeof from['status'] === 'number' ? from['status'] : null,
    error: typeof from['error'] === 'string' ? from['error'] : null,
  };
}

function objectOf(json: unknown): Readonly<Record<string, unknown>> {
  return typeof json === 'object' && json !== null ? (json as Record<string, unknown>) : {};
}

function listOf(json: unknown): readonly unknown[] {
  return Array.isArray(json) ? json : [];
}
