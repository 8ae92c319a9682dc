import type { Logger } from '../telemetry.js';

interface Step {
  readonly name: string;
  readonly close: () => Promise<unknown>;
}

/** Closes what was opened, last first, so that nothing loses what it stands on. */
export class Lifecycle {
  readonly #steps: Step[] = [];

  constructor(private readonly log: Logger) {}

  /** Registers how to close something; returns the thing itself. */
  add<T>(name: string, thing: T, close: (thing: T) => Promise<unknown>): T {
    this.#steps.push({ name, close: () => close(thing) });
    return thing;
  }

  /**
   * Closes everything. A step that fails or is late is logged and left behind: the later ones still run.
   * @param budgetMs for all steps together; when it is used up, each further step still gets a moment
   */
  async close(budgetMs: number): Promise<void> {
    const deadline = Date.now() + budgetMs;
    for (let step = this.#steps.pop(); step; step = this.#steps.pop()) {
      const { name, close } = step;
      const late = new Promise<'late'>((resolve) =>
        setTimeout(resolve, Math.max(200, deadline - Date.now()), 'late').unref(),
      );
      const outcome = await Promise.race([
        close().catch((err: unknown) => this.log.error({ err, part: name }, 'closing failed')),
        late,
      ]);
      if (outcome === 'late') this.log.warn({ part: name }, 'closing took too long, going on without it');
    }
  }
}
