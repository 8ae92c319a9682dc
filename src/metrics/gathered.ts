interface Member<M, R> {
  readonly what: M;
  readonly signal: AbortSignal;
  resolve(answer: R): void;
  reject(reason: unknown): void;
}

export interface GatheredOptions {
  /** Who comes this much later than the first is still taken along. */
  readonly gatherMs: number;
  /** So many go together. */
  readonly most: number;
}

/** Questions that are asked at the same time and answered together; what is done for them ends when all who wait have left. */
export class Gathered<M, R> {
  private readonly gathering = new Map<string, Member<M, R>[]>();

  /** @param answer answers in the order of what was asked, all of one key */
  constructor(
    private readonly options: GatheredOptions,
    private readonly answer: (asked: readonly M[], signal: AbortSignal) => Promise<readonly R[]>,
  ) {}

  /**
   * @param key those of one key can be answered together
   * @throws what answering throws, the signal's reason when the caller has left
   */
  ask(key: string, what: M, signal: AbortSignal): Promise<R> {
    return new Promise((resolve, reject) => {
      const member: Member<M, R> = { what, signal, resolve, reject };
      const open = this.gathering.get(key);
      if (open && open.length < this.options.most) {
        open.push(member);
        return;
      }
      const members = [member];
      this.gathering.set(key, members);
      setTimeout(() => {
        if (this.gathering.get(key) === members) this.gathering.delete(key);
        void this.run(members);
      }, this.options.gatherMs);
    });
  }

  private async run(gathered: readonly Member<M, R>[]): Promise<void> {
    const members = gathered.filter(({ signal }) => !signal.aborted);
    for (const { signal, reject } of gathered) if (signal.aborted) reject(signal.reason);
    if (members.length === 0) return;
    const controller = new AbortController();
    let waiting = members.length;
    const leave = (member: Member<M, R>) => () => {
      member.reject(member.signal.reason);
      if (--waiting === 0) controller.abort(member.signal.reason);
    };
    const leaving = members.map((member) => [member.signal, leave(member)] as const);
    for (const [signal, left] of leaving) signal.addEventListener('abort', left, { once: true });
    try {
      const answers = await this.answer(
        members.map(({ what }) => what),
        controller.signal,
      );
      members.forEach(({ resolve, reject }, i) => {
        const answer = answers[i];
        if (answer === undefined) reject(new TypeError('a gathered question without an answer'));
        else resolve(answer);
      });
    } catch (error) {
      for (const { reject } of members) reject(error);
    } finally {
      for (const [signal, left] of leaving) signal.removeEventListener('abort', left);
    }
  }
}
