export interface AheadOptions<T, R> {
  /** Items under way or waiting to be taken, at most. */
  readonly width: number;
  /** Their weight together, about; one item always goes. */
  readonly weight: number;
  readonly weigh: (item: T) => number;
  readonly load: (item: T) => Promise<R>;
}

/** Loads items ahead of who takes them, and hands them out in their order. When nobody takes more, no more is loaded. */
export async function* inOrderAhead<T, R>(
  items: Iterable<T>,
  { width, weight, weigh, load }: AheadOptions<T, R>,
): AsyncGenerator<{ readonly item: T; readonly loaded: R }, void, undefined> {
  const waiting: { item: T; loading: Promise<R> }[] = [];
  let held = 0;
  const source = items[Symbol.iterator]();
  const fill = () => {
    while (waiting.length === 0 || (waiting.length < width && held < weight)) {
      const next = source.next();
      if (next.done === true) return;
      const loading = load(next.value);
      // Whoever takes it hears of its failure; until then it is nobody's.
      loading.catch(() => {});
      waiting.push({ item: next.value, loading });
      held += weigh(next.value);
    }
  };
  fill();
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    const { item } = next;
    const loaded = await next.loading;
    held -= weigh(item);
    fill();
    yield { item, loaded };
  }
}
