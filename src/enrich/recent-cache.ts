/**
 * What was made for recent keys, in two generations: a full one becomes the older, and what was the older is forgotten unless it was asked
 * for meanwhile. A hit costs one look-up, where a list in the order of use is kept up to date with each (a fourteenth of a worker's time
 * went there).
 */
export class RecentCache<Value extends object> {
  readonly #half: number;
  #recent = new Map<string, Value>();
  #older = new Map<string, Value>();

  /** @param entries most values to remember */
  constructor(entries: number) {
    this.#half = Math.max(1, entries >> 1);
  }

  get size(): number {
    return this.#recent.size + this.#older.size;
  }

  get(key: string): Value | undefined {
    const recent = this.#recent.get(key);
    if (recent !== undefined) return recent;
    const older = this.#older.get(key);
    if (older === undefined) return undefined;
    this.#older.delete(key);
    this.set(key, older);
    return older;
  }

  set(key: string, value: Value): void {
    if (this.#recent.size >= this.#half) {
      this.#older = this.#recent;
      this.#recent = new Map();
    }
    this.#recent.set(key, value);
  }

  clear(): void {
    this.#recent.clear();
    this.#older.clear();
  }
}
