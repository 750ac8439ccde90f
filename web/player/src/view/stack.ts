import { asObject, type Json } from '../core/record.ts';

/** One call of a stack. */
export type Call = { readonly name: string; readonly place: string; readonly isOurs?: boolean };

/** The calls of a console line, which recorders write as `function (address:line:column)`. */
export function callsOf(trace: unknown): Call[] {
  const lines = Array.isArray(trace) ? trace.filter((line) => typeof line === 'string') : [];
  return lines.map((line) => {
    const found = /^(.*?)\s*\((.*)\)$/s.exec(line.slice(0, 2_000));
    return found === null
      ? { name: '', place: line.slice(0, 2_000) }
      : { name: found[1] ?? '', place: found[2] ?? '' };
  });
}

/** The exceptions of an event, the one that was reported first, each with its calls from the innermost on. */
export function exceptionsOf(properties: Json): { title: string; calls: Call[] }[] {
  const list = Array.isArray(properties['$exception_list']) ? properties['$exception_list'] : [];
  return list.slice(0, 20).flatMap((item: unknown) => {
    const exception = asObject(item);
    if (exception === null) return [];
    const title = [exception['type'], exception['value']]
      .filter((part) => typeof part === 'string')
      .join(': ');
    const frames = asObject(exception['stacktrace'])?.['frames'];
    // Clients list the outermost call first.
    const calls = (Array.isArray(frames) ? frames : [])
      .map(asObject)
      .filter((frame) => frame !== null)
      .reverse();
    return [{ title, calls: calls.map(callOf) }];
  });
}

function callOf(frame: Json): Call {
  const file = frame['abs_path'] ?? frame['filename'] ?? frame['source'] ?? '';
  const place = [file, frame['lineno'] ?? frame['line'], frame['colno'] ?? frame['column']];
  const isOurs = frame['in_app'] !== false;
  const name = frame['function'] ?? frame['resolved_name'] ?? frame['mangled_name'] ?? '';
  return {
    name: String(name),
    place: place.filter((part) => part !== undefined && part !== null).join(':'),
    isOurs,
  };
}
