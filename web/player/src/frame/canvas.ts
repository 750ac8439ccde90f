import { isObject } from './model.ts';

/**
 * Draws recorded canvas commands on a canvas of the frame's own. The replayer's way needs scripts in the replayed
 * page; this one needs none: the page shows the result as a background picture.
 */

const METHODS = new Set(
  (
    'arc arcTo beginPath bezierCurveTo clearRect clip closePath drawImage ellipse fill fillRect fillText lineTo moveTo ' +
    'putImageData quadraticCurveTo rect resetTransform restore rotate roundRect save scale setLineDash setTransform ' +
    'stroke strokeRect strokeText transform translate'
  ).split(' '),
);
const SETTERS = new Set(
  (
    'direction fillStyle filter font fontKerning globalAlpha globalCompositeOperation imageSmoothingEnabled lineCap ' +
    'lineDashOffset lineJoin lineWidth miterLimit shadowBlur shadowColor shadowOffsetX shadowOffsetY strokeStyle ' +
    'textAlign textBaseline'
  ).split(' '),
);
const PIXELS_MAX = 4096 * 4096;

type Command = { readonly property: string; readonly args: readonly unknown[]; readonly setter: boolean };
type Context = OffscreenCanvasRenderingContext2D;

/** The commands of a canvas event, from either form: a list, or one command as recorded before 1.1. */
export function readCommands(data: Record<string, unknown>): Command[] {
  const list = Array.isArray(data['commands']) ? data['commands'] : [data];
  return list.filter(isObject).flatMap((item) => {
    const { property, args, setter } = item;
    if (typeof property !== 'string' || !Array.isArray(args)) return [];
    if (!(setter === true ? SETTERS : METHODS).has(property)) return [];
    return [{ property, args, setter: setter === true }];
  });
}

/** One recorded canvas. Commands run one after another because decoding pictures takes time. */
export class CanvasReplica {
  readonly #canvas: OffscreenCanvas;
  readonly #context: Context | null;
  readonly #show: (picture: Blob) => void;
  #work: Promise<void> = Promise.resolve();
  #pending = 0;

  constructor(width: number, height: number, show: (picture: Blob) => void) {
    const fits = width > 0 && height > 0 && width * height <= PIXELS_MAX;
    this.#canvas = new OffscreenCanvas(fits ? width : 300, fits ? height : 150);
    this.#context = this.#canvas.getContext('2d');
    this.#show = show;
  }

  /** Starts from a picture of the whole canvas, as full snapshots hold it. */
  base(dataUrl: string): void {
    this.#queue(async (context) => {
      const picture = await decode(dataUrl);
      if (picture !== null) context.drawImage(picture, 0, 0);
    });
  }

  run(commands: readonly Command[]): void {
    if (commands.length === 0) return;
    this.#queue(async (context) => {
      for (const command of commands) await apply(context, command);
    });
  }

  #queue(step: (context: Context) => Promise<void>): void {
    const context = this.#context;
    if (context === null) return;
    this.#pending++;
    this.#work = this.#work
      .then(() => step(context))
      .catch(() => {})
      .then(async () => {
        this.#pending--;
        // Only the last of a row of changes is worth a picture.
        if (this.#pending === 0) this.#show(await this.#canvas.convertToBlob());
      });
  }
}

async function apply(context: Context, command: Command): Promise<void> {
  const args = await Promise.all(command.args.map(value));
  if (args.includes(undefined)) return;
  try {
    if (command.setter) Reflect.set(context, command.property, args[0]);
    else {
      const method: unknown = Reflect.get(context, command.property);
      if (typeof method === 'function') Reflect.apply(method, context, args);
    }
  } catch {
    // A command with arguments that do not fit draws nothing, as it did in the recorded page.
  }
}

/** What an argument stands for; undefined where it cannot be had, and then its command is left out. */
async function value(arg: unknown): Promise<unknown> {
  if (Array.isArray(arg)) return Promise.all(arg.map(value));
  if (!isObject(arg)) return arg;
  const list = Array.isArray(arg['args']) ? arg['args'] : [];
  switch (arg['rr_type']) {
    case 'HTMLImageElement':
      return typeof arg['src'] === 'string' ? ((await decode(arg['src'])) ?? undefined) : undefined;
    case 'ImageBitmap': {
      const blob = await value(list[0]);
      return blob instanceof Blob ? createImageBitmap(blob) : undefined;
    }
    case 'Blob': {
      const parts = await Promise.all((Array.isArray(arg['data']) ? arg['data'] : []).map(value));
      const bytes = parts.filter((part) => part instanceof ArrayBuffer);
      return new Blob(bytes, { type: typeof arg['type'] === 'string' ? arg['type'] : '' });
    }
    case 'ArrayBuffer':
      return typeof arg['base64'] === 'string' ? fromBase64(arg['base64']) : undefined;
    case 'Uint8ClampedArray':
      return Array.isArray(list[0]) ? Uint8ClampedArray.from(list[0].map(Number)) : undefined;
    case 'ImageData': {
      const pixels = await value(list[0]);
      if (!(pixels instanceof Uint8ClampedArray)) return undefined;
      return new ImageData(Uint8ClampedArray.from(pixels), Number(list[1]), Number(list[2]));
    }
    default:
      return undefined;
  }
}

function fromBase64(text: string): ArrayBuffer {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
}

/** A picture from a data URL. It is decoded by hand: the policy forbids every fetch, also of data. */
async function decode(url: string): Promise<ImageBitmap | null> {
  const match = /^data:(image\/[\w.+-]+);base64,([A-Za-z0-9+/=\s]*)$/.exec(url);
  const [, type, text] = match ?? [];
  if (type === undefined || text === undefined) return null;
  try {
    return await createImageBitmap(new Blob([fromBase64(text)], { type }));
  } catch {
    return null;
  }
}
