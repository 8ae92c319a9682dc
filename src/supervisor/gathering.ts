import { GATHER_MS, type Gathered, type Topic } from './protocol.js';

interface Round {
  readonly asked: Set<number>;
  readonly answers: Gathered['answers'];
  readonly missing: number[];
  readonly done: (gathered: Gathered) => void;
  readonly late: NodeJS.Timeout;
}

/** Rounds of questions to all processes: each ends when the last has answered, has died, or the time is over. */
export class Gathering {
  readonly #rounds = new Map<number, Round>();
  #lastId = 0;

  /**
   * @param up processes that can be asked
   * @param away processes that cannot
   * @param ask sends the question
   */
  start(
    topic: Topic,
    up: readonly number[],
    away: readonly number[],
    ask: (process: number, id: number, topic: Topic) => void,
  ): Promise<Gathered> {
    const id = ++this.#lastId;
    return new Promise((done) => {
      const late = setTimeout(() => this.#end(id), GATHER_MS);
      this.#rounds.set(id, { asked: new Set(up), answers: [], missing: [...away], done, late });
      for (const process of up) ask(process, id, topic);
      this.#endIfComplete(id);
    });
  }

  /** @param data undefined: it has no answer */
  answered(process: number, id: number, data: unknown): void {
    const round = this.#rounds.get(id);
    if (round?.asked.delete(process) !== true) return;
    if (data === undefined) round.missing.push(process);
    else round.answers.push({ process, data });
    this.#endIfComplete(id);
  }

  /** A process has ended: nobody waits for it any longer. */
  gone(process: number): void {
    for (const id of [...this.#rounds.keys()]) this.answered(process, id, undefined);
  }

  #endIfComplete(id: number): void {
    if (this.#rounds.get(id)?.asked.size === 0) this.#end(id);
  }

  #end(id: number): void {
    const round = this.#rounds.get(id);
    if (round === undefined) return;
    this.#rounds.delete(id);
    clearTimeout(round.late);
    const byProcess = (a: number, b: number) => a - b;
    round.done({
      answers: round.answers.toSorted((a, b) => byProcess(a.process, b.process)),
      missing: [...round.missing, ...round.asked].sort(byProcess),
    });
  }
}
