import { asObject, type Json } from '../core/record.ts';

const NAMES = ['email', '$email', 'name', '$name', 'username'] as const;
const GENERATED = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** How to call who was recorded, by what the server or the file says of the recording. */
export function personNameOf(recording: Json): string {
  const person = asObject(recording['person']);
  const properties = asObject(person?.['properties']) ?? {};
  for (const name of NAMES) {
    const value = properties[name];
    if (typeof value === 'string' && value.trim() !== '') return value.trim();
  }
  const list = person?.['distinct_ids'];
  const ids = Array.isArray(list) ? list.filter((id) => typeof id === 'string') : [];
  const generated = ids[0];
  const named = ids.find((id) => !GENERATED.test(id));
  return named ?? (generated === undefined ? 'Recording' : `Anonymous ${generated.slice(-6)}`);
}
