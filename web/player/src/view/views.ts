/** What the inspector can show. */
export const VIEWS = [
  { id: 'events', name: 'Events' },
  { id: 'console', name: 'Console' },
  { id: 'network', name: 'Network' },
  { id: 'errors', name: 'Errors' },
  { id: 'performance', name: 'Performance' },
  { id: 'dom', name: 'DOM' },
  { id: 'info', name: 'Info' },
  { id: 'comments', name: 'Comments' },
] as const;
export type ViewId = (typeof VIEWS)[number]['id'];
