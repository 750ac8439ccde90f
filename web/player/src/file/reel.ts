import { decompress } from 'fzstd';
import type { BlockInfo, BlockList, Keyframe } from '../core/blocks.ts';
import { asObject, type Json } from '../core/record.ts';
import {
  COMMENT_CHARACTERS_MAX,
  COMMENTS_MAX,
  type Comment,
  commentFrom,
  TAGS_MAX,
} from '../view/comments.ts';
import type { Bytes } from './bytes.ts';

/** What `docs/format.md` calls the tail: always the last bytes of a file. */
const TAIL_BYTES = 64;
/** The first bytes of each frame that is not a block: magic number, length, tag, version, flags, check. */
const FRAME_HEAD_BYTES = 32;
const VERSION = 1;
/** The furthest moment that there is a date for, in milliseconds from 1970 either way. */
const MOMENT_MS_MAX = 8.64e15;

/** Where a block's zstd frame is. */
export type Extent = { readonly offset: number; readonly bytes: number };

/** A recording as the page shows it. */
export type Reel = {
  /** What the server would say of the recording. */
  readonly summary: Json;
  readonly id: string;
  readonly list: BlockList;
  /** What people said of it, where the file tells that. */
  readonly comments: readonly Comment[];
  /** By the address under which the list names it. */
  readonly extents: ReadonlyMap<string, Extent>;
};

/** Reads the index at the end of a `.reel` file. Throws, in words for the viewer, where there is none. */
export async function openReel(bytes: Bytes): Promise<Reel> {
  const tail = await bytes.read(bytes.length - TAIL_BYTES, TAIL_BYTES);
  const view = new DataView(tail.buffer);
  if (new TextDecoder().decode(tail.subarray(8, 12)) !== 'TAIL') throw new Error('the recording is cut off');
  if (view.getUint16(12, true) > VERSION) throw new Error('the recording is of a newer release');
  const [offset, length] = [Number(view.getBigUint64(32, true)), Number(view.getBigUint64(40, true))];
  const frame = await bytes.read(offset + FRAME_HEAD_BYTES, length - FRAME_HEAD_BYTES);
  const index = asObject(JSON.parse(new TextDecoder().decode(decompress(frame))));
  const recording = asObject(listOf(index?.['recordings'])[0]);
  if (recording === null) throw new Error('there is no recording in it');
  const all = listOf(index?.['blocks']).map(asObject);
  const entries = listOf(recording['blocks'])
    .map((ordinal) => all[Number(ordinal)] ?? null)
    .filter((entry) => entry !== null);
  const extents = new Map<string, Extent>();
  const blocks = entries.map((entry, index): BlockInfo => {
    const block = blockOf(entry, index);
    extents.set(block.url, { offset: Number(entry['offset']), bytes: block.stored_bytes });
    return block;
  });
  const summary = summaryOf(recording, blocks);
  const list = { blocks, is_live: false, version: 'file' };
  return { summary, id: String(recording['id']), list, comments: commentsOf(recording), extents };
}

/** What people said of the recording. What is no comment is passed over: the recording is as whole without it. */
function commentsOf(recording: Json): readonly Comment[] {
  const notes = asObject(asObject(recording['metadata'])?.['notes']);
  const comments = new Map<string, Comment>();
  for (const told of listOf(notes?.['comments'])) {
    const comment = commentFrom(told);
    if (isComment(comment)) comments.set(comment.id, comment);
    if (comments.size === COMMENTS_MAX) break;
  }
  return [...comments.values()];
}

function isComment({ text, tags, writtenAtMs }: Comment): boolean {
  const saysSomething = text !== '' || tags.length > 0;
  // A character takes two units at most.
  const isShort = text.length <= 2 * COMMENT_CHARACTERS_MAX && tags.length <= TAGS_MAX;
  return saysSomething && isShort && Math.abs(writtenAtMs) <= MOMENT_MS_MAX;
}

function blockOf(entry: Json, index: number): BlockInfo {
  const number = (name: string) => Number(entry[name] ?? 0);
  return {
    index,
    kind: entry['kind'] === 'events' ? 'events' : 'lines',
    start_ms: number('start_ms'),
    end_ms: number('end_ms'),
    event_count: number('event_count'),
    plain_bytes: number('plain_bytes'),
    stored_bytes: number('stored_bytes'),
    windows: listOf(entry['windows']).map(String),
    keyframes: listOf(entry['keyframes']) as Keyframe[],
    url: `/blocks/${index}`,
  };
}

/** The recording's entry in the form in which the API tells of it. */
function summaryOf(recording: Json, blocks: readonly BlockInfo[]): Json {
  const summary = asObject(recording['summary']) ?? {};
  const person = asObject(asObject(recording['metadata'])?.['person']);
  return {
    ...summary,
    id: recording['id'],
    project: recording['project'],
    duration_ms: Math.max(0, Number(summary['end_ms'] ?? 0) - Number(summary['start_ms'] ?? 0)),
    person: person ?? { distinct_ids: listOf(summary['distinct_ids']), properties: {} },
    stored_bytes: blocks.reduce((sum, block) => sum + block.stored_bytes, 0),
    is_live: false,
  };
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
