/**
 * Whole field lines that are added to a head. Instead of an array, as cutting that to nothing for each request costs as
 * much as parsing a field: the engine frees its memory, and the next line has it made anew.
 */
export class FieldLines {
  readonly #lines: Uint8Array[] = [];
  length = 0;

  push(line: Uint8Array): void {
    this.#lines[this.length++] = line;
  }

  /** The line at a position below `length`. */
  at(n: number): Uint8Array {
    return this.#lines[n]!;
  }

  clear(): void {
    this.length = 0;
  }

  includes(line: Uint8Array): boolean {
    for (let n = 0; n < this.length; n++) if (this.#lines[n] === line) return true;
    return false;
  }

  *[Symbol.iterator](): IterableIterator<Uint8Array> {
    for (let n = 0; n < this.length; n++) yield this.#lines[n]!;
  }
}
