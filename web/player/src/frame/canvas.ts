import { LIMITS } from '../limits.ts';
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
/** Commands that draw all points of the path so far. */
const DRAWS_PATH = new Set(['clip', 'fill', 'stroke']);
const PATH = new Set(
  'arc arcTo bezierCurveTo ellipse lineTo moveTo quadraticCurveTo rect roundRect'.split(' '),
);
/** How many arrays may lie in each other in an argument. */
const ARGUMENT_DEPTH = 4;
/** Longest that drawing may keep the page from answering the viewer. */
const TURN_MS = 12;

type Command = { readonly property: string; readonly args: readonly unknown[]; readonly setter: boolean };
type Context = OffscreenCanvasRenderingContext2D;

/** The commands of a canvas event, from either form: a list, or one command as recorded before 1.1. */
export function readCommands(data: Record<string, unknown>): Command[] {
  const list = Array.isArray(data['commands']) ? data['commands'] : [data];
  return list.filter(isObject).flatMap((item) => {
    const { property, args, setter } = item;
    if (typeof property !== 'string' || !Array.isArray(args)) return [];
    if (!(setter === true ? SETTERS : METHODS).has(property)) return [];
    // A filter can name a drawing in another file.
    if (property === 'filter' && /url/i.test(String(args[0]))) return [];
    return [{ property, args, setter: setter === true }];
  });
}

/** How much all canvases of a page may take together. */
export class CanvasRoom {
  #pixels = 0;
  #count = 0;

  /** Whether there is room for one more canvas; it is taken then. */
  take(width: number, height: number): boolean {
    const pixels = width * height;
    if (this.#count >= LIMITS.canvases || this.#pixels + pixels > LIMITS.canvasPixels) return false;
    this.#count++;
    this.#pixels += pixels;
    return true;
  }

  give(width: number, height: number): void {
    this.#count--;
    this.#pixels -= width * height;
  }
}

/** A size as the canvas element reads it. */
export function canvasSide(value: unknown, usual: number): number {
  const side = Math.floor(Number(value ?? usual));
  return Number.isFinite(side) && side > 0 ? side : usual;
}

/** One recorded canvas. Commands run one after another because decoding pictures takes time. */
export class CanvasReplica {
  readonly #canvas: OffscreenCanvas;
  readonly #context: Context | null;
  readonly #show: (picture: Blob) => void;
  readonly #refuse: () => void;
  #steps: (readonly Command[] | string)[] = [];
  #waiting = 0;
  #points = 0;
  #turnEnds = 0;
  #isDrawing = false;
  /** Over as soon as all that was recorded until now is drawn. */
  drawn: Promise<void> = Promise.resolve();

  /** Draws off the screen and hands over a picture when it changed. `refuse` hears of what was left out. */
  constructor(width: number, height: number, show: (picture: Blob) => void, refuse: () => void) {
    this.#canvas = new OffscreenCanvas(width, height);
    this.#context = this.#canvas.getContext('2d');
    this.#show = show;
    this.#refuse = refuse;
  }

  /** Starts from a picture of the whole canvas, as full snapshots hold it. */
  base(dataUrl: string): void {
    this.#queue(dataUrl, 1);
  }

  run(commands: readonly Command[]): void {
    if (commands.length === 0) return;
    if (this.#isWholeFrame(commands)) {
      // Nothing of what was to be drawn before it can be seen after it.
      this.#steps = [];
      this.#waiting = 0;
    }
    this.#queue(commands, commands.length);
  }

  /** The form in which recorders that sample canvases write a frame: clear everything, draw one picture. */
  #isWholeFrame(commands: readonly Command[]): boolean {
    const [clear, draw, ...more] = commands;
    if (clear?.property !== 'clearRect' || draw?.property !== 'drawImage' || more.length > 0) return false;
    const [x, y, width, height] = clear.args.map(Number);
    return x === 0 && y === 0 && Number(width) >= this.#canvas.width && Number(height) >= this.#canvas.height;
  }

  #queue(step: readonly Command[] | string, size: number): void {
    if (this.#context === null) return;
    if (this.#waiting + size > LIMITS.canvasCommands) {
      this.#refuse();
      return;
    }
    this.#waiting += size;
    this.#steps.push(step);
    if (!this.#isDrawing) this.drawn = this.#draw(this.#context);
  }

  async #draw(context: Context): Promise<void> {
    this.#isDrawing = true;
    this.#turnEnds = performance.now() + TURN_MS;
    for (let step = this.#steps.shift(); step !== undefined; step = this.#steps.shift()) {
      this.#waiting -= typeof step === 'string' ? 1 : step.length;
      if (typeof step === 'string') {
        const picture = await decodeUrl(step, this.#refuse);
        if (picture !== null) context.drawImage(picture, 0, 0);
      } else {
        for (const command of step) await this.#apply(context, command);
      }
      // Only the last of a row of changes is worth a picture.
      if (this.#steps.length === 0) {
        try {
          this.#show(await this.#canvas.convertToBlob());
        } catch {
          this.#refuse();
        }
      }
    }
    this.#isDrawing = false;
  }

  async #apply(context: Context, command: Command): Promise<void> {
    if (performance.now() > this.#turnEnds) {
      await new Promise((done) => setTimeout(done));
      this.#turnEnds = performance.now() + TURN_MS;
    }
    if (command.property === 'beginPath') this.#points = 0;
    if (PATH.has(command.property) && ++this.#points > LIMITS.canvasPathPoints) return this.#refuse();
    // What a stroke costs grows with its path; the screen gets its turn between two that are long.
    if (DRAWS_PATH.has(command.property) && this.#points > 5_000) this.#turnEnds = 0;
    try {
      await apply(context, command, this.#refuse);
    } catch {
      // A command with arguments that do not fit draws nothing, as it did in the recorded page.
    }
  }
}

async function apply(context: Context, command: Command, refuse: () => void): Promise<void> {
  const args: unknown[] = [];
  // Plain values are the rule; only pictures are worth waiting for.
  for (const arg of command.args) args.push(isPlain(arg) ? plain(arg) : await value(arg, 0, refuse));
  if (args.includes(undefined)) return;
  if (command.setter) Reflect.set(context, command.property, args[0]);
  else {
    const method: unknown = Reflect.get(context, command.property);
    if (typeof method === 'function') Reflect.apply(method, context, args);
  }
}

const isPlain = (arg: unknown) => typeof arg !== 'object' || arg === null;
const plain = (arg: unknown) => (typeof arg === 'string' ? arg.slice(0, LIMITS.canvasTextChars) : arg);

/** What an argument stands for; undefined where it cannot be had, and then its command is left out. */
async function value(arg: unknown, depth: number, refuse: () => void): Promise<unknown> {
  if (isPlain(arg)) return plain(arg);
  if (depth > ARGUMENT_DEPTH) return undefined;
  const inner = (item: unknown) => value(item, depth + 1, refuse);
  if (Array.isArray(arg)) return Promise.all(arg.map(inner));
  if (!isObject(arg)) return undefined;
  const list = Array.isArray(arg['args']) ? arg['args'] : [];
  switch (arg['rr_type']) {
    case 'HTMLImageElement':
      return typeof arg['src'] === 'string'
        ? ((await decodeUrl(arg['src'], refuse)) ?? undefined)
        : undefined;
    case 'ImageBitmap': {
      const blob = await inner(list[0]);
      return blob instanceof Blob ? ((await decode(blob, refuse)) ?? undefined) : undefined;
    }
    case 'Blob': {
      const parts = await Promise.all((Array.isArray(arg['data']) ? arg['data'] : []).map(inner));
      const bytes = parts.filter((part) => part instanceof ArrayBuffer);
      return new Blob(bytes, { type: typeof arg['type'] === 'string' ? arg['type'] : '' });
    }
    case 'ArrayBuffer':
      return typeof arg['base64'] === 'string' ? fromBase64(arg['base64']) : undefined;
    case 'Uint8ClampedArray':
      return Array.isArray(list[0]) ? Uint8ClampedArray.from(list[0].map(Number)) : undefined;
    case 'ImageData': {
      const pixels = await inner(list[0]);
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
async function decodeUrl(url: string, refuse: () => void): Promise<ImageBitmap | null> {
  const match = /^data:(image\/[\w.+-]+);base64,([A-Za-z0-9+/=\s]*)$/.exec(url);
  const [, type, text] = match ?? [];
  if (type === undefined || text === undefined) return null;
  try {
    return await decode(new Blob([fromBase64(text)], { type }), refuse);
  } catch {
    return null;
  }
}

/** The pixels of a picture, unless it has too many: a few kilobytes can claim to be a gigabyte of them. */
async function decode(blob: Blob, refuse: () => void): Promise<ImageBitmap | null> {
  const image = new Image();
  const url = URL.createObjectURL(blob);
  try {
    // Loading reads the size; pixels are made only where they are drawn.
    await new Promise((done, failed) => {
      image.onload = done;
      image.onerror = failed;
      image.src = url;
    });
    if (image.naturalWidth * image.naturalHeight > LIMITS.picturePixels) {
      refuse();
      return null;
    }
    return await createImageBitmap(image);
  } catch {
    return null;
  } finally {
    URL.revokeObjectURL(url);
  }
}
