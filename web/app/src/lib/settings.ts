import type { SettingField, Settings, SettingValue, TriggerGroup } from './types';

/** The groups of settings in the order in which they are shown. A group that is not here comes last, by its name. */
export const GROUPS: readonly { readonly name: string; readonly title: string; readonly help: string }[] = [
  { name: 'what', title: 'What is recorded', help: 'The one switch for everything below.' },
  { name: 'when', title: 'When', help: 'Which sessions are recorded, and from which moment on.' },
  {
    name: 'privacy',
    title: 'Privacy',
    help: 'Happens in the visitor’s browser: what is masked is never sent. What a page sets itself counts more.',
  },
  {
    name: 'network',
    title: 'Network and console',
    help: 'What is shown beside the picture for whoever looks for a fault.',
  },
  { name: 'canvas', title: 'Canvas', help: 'Drawings, charts and maps that are no elements of the page.' },
  { name: 'where', title: 'Where', help: 'Which sites may use this project’s key to record.' },
  { name: 'recorder', title: 'Recorder', help: 'What runs in the visitor’s browser.' },
];

/** What a setting is while nobody decides. */
export function defaultOf(field: SettingField): SettingValue {
  switch (field.kind) {
    case 'list':
    case 'groups':
      return [];
    case 'text':
      return '';
    default:
      return field.default;
  }
}

/** What a value is called beside the setting. */
export function says(field: SettingField, value: SettingValue): string {
  switch (field.kind) {
    case 'switch':
      return value === true ? 'on' : 'off';
    case 'share':
      return `${Math.round(Number(value) * 100)} %`;
    case 'whole':
      return value === 0 ? 'none' : field.unit === 'ms' ? `${Number(value) / 1_000} s` : `${value}`;
    case 'list':
      return textsOf(value).join(', ') || 'none';
    case 'groups':
      return (
        groupsOf(value)
          .map((group) => group.name)
          .join(', ') || 'none'
      );
    case 'text':
      return value === '' ? 'none' : `${value}`;
    case 'choice':
      return (field.options.find((option) => option.value === value)?.label ?? `${value}`).toLowerCase();
  }
}

/** The texts in a value; none where it holds something else. */
export function textsOf(value: SettingValue): readonly string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
}

/** The groups in a value; none where it holds something else. */
export function groupsOf(value: SettingValue): readonly TriggerGroup[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'object') : [];
}

/** What to send so that `saved` becomes `draft`; null where something goes back to its default. */
export function changeBetween(saved: Settings, draft: Settings): Record<string, SettingValue | null> {
  const names = new Set([...Object.keys(saved), ...Object.keys(draft)]);
  const change: Record<string, SettingValue | null> = {};
  for (const name of names) {
    const [before, after] = [saved[name], draft[name]];
    if (JSON.stringify(before) !== JSON.stringify(after)) change[name] = after ?? null;
  }
  return change;
}
