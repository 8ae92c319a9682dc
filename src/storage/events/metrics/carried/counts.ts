/** Counts by label: what an answer that is carried on is made of. */
export type Counts = ReadonlyMap<string, readonly number[]>;

/** Counts of another answer with some labels changed, without a copy of it. Labels that count nothing are left out. */
export class ChangedCounts {
  private readonly changed = new Map<string, readonly number[]>();

  /** `base`, less what `before` counts, and what `after` counts on top. */
  constructor(
    private readonly base: Counts,
    before: Counts,
    after: Counts,
  ) {
    for (const label of new Set([...before.keys(), ...after.keys()])) {
      const terms = [this.base.get(label), after.get(label)];
      const length = (terms[0] ?? terms[1] ?? before.get(label) ?? []).length;
      const less = before.get(label);
      this.changed.set(
        label,
        Array.from({ length }, (_, i) =>
          terms.reduce((sum, term) => sum + (term?.[i] ?? 0), -(less?.[i] ?? 0)),
        ),
      );
    }
  }

  get(label: string): readonly number[] | undefined {
    return this.changed.get(label) ?? this.base.get(label);
  }

  /** All labels that count something, in no order. */
  *entries(): Generator<readonly [string, readonly number[]]> {
    for (const entry of this.base) if (!this.changed.has(entry[0])) yield entry;
    for (const entry of this.changed) if (entry[1].some((count) => count !== 0)) yield entry;
  }

  /** A table of its own. */
  settled(): Counts {
    return new Map(this.entries());
  }
}
