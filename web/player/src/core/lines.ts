/** Cuts a stream of bytes into lines of text. A character split between two chunks is put together again. */
export class LineSplitter {
  readonly #decoder = new TextDecoder();
  #parts: string[] = [];

  /** The lines that this chunk completed. */
  push(chunk: Uint8Array): string[] {
    return this.#cut(this.#decoder.decode(chunk, { stream: true }));
  }

  /** The last line, where the stream did not end with a newline. */
  finish(): string[] {
    const lines = this.#cut(this.#decoder.decode());
    const rest = this.#parts.join('');
    this.#parts = [];
    if (rest !== '') lines.push(rest);
    return lines;
  }

  #cut(text: string): string[] {
    const lines: string[] = [];
    let start = 0;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', start)) {
      this.#parts.push(text.slice(start, end));
      const line = this.#parts.join('');
      this.#parts = [];
      if (line !== '') lines.push(line);
      start = end + 1;
    }
    if (start < text.length) this.#parts.push(text.slice(start));
    return lines;
  }
}
