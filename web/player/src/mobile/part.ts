/** What a screen is made of: the elements and texts that stand for its wireframes. */
export type Part = Text | Element;

export type Text = {
  readonly kind: 'text';
  /** The node's number in the replay; 0 before it has one. */
  id: number;
  text: string;
};

export type Element = {
  readonly kind: 'element';
  id: number;
  readonly tag: string;
  attributes: Attributes;
  readonly children: Part[];
  parent: Element | null;
  /** The wireframe that it stands for, by the number that the app gave it; null where it is a part of one. */
  wire: number | null;
};

export type Attributes = Readonly<Record<string, string>>;

/** An element. Attributes without a value are left out. */
export function element(
  tag: string,
  attributes: Readonly<Record<string, string | null>> = {},
  children: readonly Part[] = [],
): Element {
  const kept = Object.entries(attributes).filter((entry): entry is [string, string] => entry[1] !== null);
  const made: Element = {
    kind: 'element',
    id: 0,
    tag,
    attributes: Object.fromEntries(kept),
    children: [...children],
    parent: null,
    wire: null,
  };
  for (const child of children) if (child.kind === 'element') child.parent = made;
  return made;
}

export function text(content: string): Text {
  return { kind: 'text', id: 0, text: content };
}
