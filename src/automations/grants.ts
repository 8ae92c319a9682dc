import type { NewExecution } from '../storage/metadata/executions.js';
import type { Allowance } from './allowance.js';

/** Decisions that are remembered; the oldest go first, and are then taken anew. */
const MAX_REMEMBERED = 100_000;

/**
 * Asks the allowances for executions and remembers the answers until these are stored: while the database is away the same ones come
 * again and again, and would use up by themselves what they are waiting for.
 */
export class Grants {
  readonly #decided = new Map<string, boolean>();

  constructor(private readonly allowance: Allowance) {}

  /** Those that may begin: of each automation the first ones. All allowances are asked at once, so one that hangs holds up nobody twice. */
  async allowed(executions: readonly NewExecution[]): Promise<NewExecution[]> {
    const open = new Map<string, NewExecution[]>();
    for (const execution of executions) {
      if (this.#decided.has(execution.id)) continue;
      const same = open.get(execution.automationId);
      if (same === undefined) open.set(execution.automationId, [execution]);
      else same.push(execution);
    }
    await Promise.all(
      Array.from(open, async ([automationId, asked]) => {
        const granted = await this.allowance.take(automationId, asked.length);
        for (const [index, { id }] of asked.entries()) this.#decided.set(id, index < granted);
      }),
    );
    const allowed = executions.filter(({ id }) => this.#decided.get(id) === true);
    for (const id of this.#decided.keys()) {
      if (this.#decided.size <= MAX_REMEMBERED) break;
      this.#decided.delete(id);
    }
    return allowed;
  }

  /** What became of these is stored. */
  settled(executions: readonly NewExecution[]): void {
    for (const { id } of executions) this.#decided.delete(id);
  }
}
