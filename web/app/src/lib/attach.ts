/**
 * What puts the link to the current recording where people ask for it: into support desks, error trackers, chats. Each
 * is whole, for a page that has posthog-js or a backend behind it, and stands in `docs/snippets.md` as well.
 */
export type Attachment = {
  readonly id: 'intercom' | 'zendesk' | 'crisp' | 'sentry' | 'backend' | 'slack';
  readonly name: string;
  /** Where it goes, and what has to be there. */
  readonly about: string;
  /** `base` is where this server is, with a slash at the end. */
  readonly code: (base: string) => string;
};

export const ATTACHMENTS: readonly Attachment[] = [
  {
    id: 'intercom',
    name: 'Intercom',
    about:
      'In the page, behind Intercom’s own snippet. Make session_recording an attribute of people in Intercom.',
    code: (base) => `posthog.onSessionId((id) => {
  Intercom('update', { session_recording: '${base}recordings/' + id })
})`,
  },
  {
    id: 'zendesk',
    name: 'Zendesk',
    about:
      'In the page, behind Zendesk’s own snippet. FIELD_ID is the number of a text field of tickets that end users may edit.',
    code: (base) => `posthog.onSessionId((id) => {
  zE('messenger:set', 'conversationFields', [
    { id: 'FIELD_ID', value: '${base}recordings/' + id },
  ])
})`,
  },
  {
    id: 'crisp',
    name: 'Crisp',
    about: 'In the page. It stands beside the conversation, among the data of the session.',
    code: (base) => `window.$crisp = window.$crisp || []
posthog.onSessionId((id) => {
  $crisp.push(['set', 'session:data', [[['session_recording', '${base}recordings/' + id]]]])
})`,
  },
  {
    id: 'sentry',
    name: 'Sentry',
    about: 'In the page, behind Sentry.init. Each event has the link as a tag, which leads to its recording.',
    code: (base) => `Sentry.addEventProcessor((event) => {
  const link = '${base}recordings/' + posthog.get_session_id()
  event.tags = { ...event.tags, session_recording: link }
  return event
})`,
  },
  {
    id: 'backend',
    name: 'Your backend',
    about: 'In the page: whatever it sends takes the id of the recording along, as here a form for feedback.',
    code: () => `function sendFeedback(text) {
  return fetch('/feedback', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ text, session_id: posthog.get_session_id() }),
  })
}`,
  },
  {
    id: 'slack',
    name: 'Slack',
    about: 'On your backend, with the id that the page sent: the address of a Slack webhook is a secret.',
    code: (base) => `export async function tellSlack(text, sessionId) {
  // What a page sends is anybody's guess: only what can be an id becomes a link.
  const isId = /^[A-Za-z0-9-]{1,70}$/.test(sessionId)
  const plain = text.replace(/[&<>]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[c])
  const link = isId ? \` <${base}recordings/\${sessionId}|Watch what happened>\` : ''
  const reply = await fetch(process.env.SLACK_WEBHOOK_URL, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ text: plain + link }),
  })
  if (!reply.ok) throw new Error(\`Slack answered \${reply.status}\`)
}`,
  },
];
