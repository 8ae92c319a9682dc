import { describe, expect, it } from 'vitest';
import { Gathered } from './gathered.js';

const wait = () => new AbortController().signal;

/** Answers by hand. */
function setUp(most = 3) {
  const runs: {
    asked: readonly string[];
    signal: AbortSignal;
    answer(answers: string[]): void;
    fail(): void;
  }[] = [];
  let started = () => {};
  const gathered = new Gathered<string, string>(
    { gatherMs: 1, most },
    (asked, signal) =>
      new Promise((resolve, reject) => {
        runs.push({ asked, signal, answer: resolve, fail: () => reject(new Error('broken')) });
        started();
      }),
  );
  /** Waits until so many runs have begun. */
  const begun = async (count: number) => {
    while (runs.length < count) await new Promise<void>((resolve) => (started = resolve));
    return runs;
  };
  return { gathered, begun };
}

describe('Gathered', () => {
  it('answers together what is asked together, by key, and each its own', async () => {
    const { gathered, begun } = setUp();
    const answers = Promise.all([
      gathered.ask('a', 'one', wait()),
      gathered.ask('b', 'other', wait()),
      gathered.ask('a', 'two', wait()),
    ]);
    const [a, b] = await begun(2);
    expect([a?.asked, b?.asked]).toEqual([['one', 'two'], ['other']]);
    a?.answer(['1', '2']);
    b?.answer(['3']);
    expect(await answers).toEqual(['1', '3', '2']);
  });

  it('takes only so many along, and those who come later by themselves', async () => {
    const { gathered, begun } = setUp(2);
    for (const what of ['1', '2', '3']) void gathered.ask('a', what, wait());
    await begun(2);
    void gathered.ask('a', '4', wait());
    const runs = await begun(3);
    expect(runs.map(({ asked }) => asked)).toEqual([['1', '2'], ['3'], ['4']]);
  });

  it('leaves out who has left, and ends when all have', async () => {
    const { gathered, begun } = setUp();
    const callers = Array.from({ length: 3 }, () => new AbortController());
    const asked = callers.map(({ signal }, i) => gathered.ask('a', `${i}`, signal).catch(String));
    callers[0]?.abort(new Error('gone'));
    const [run] = await begun(1);
    expect(await asked[0]).toBe('Error: gone');
    expect(run?.asked).toEqual(['1', '2']);
    callers[1]?.abort(new Error('gone, too'));
    expect(await asked[1]).toBe('Error: gone, too');
    expect(run?.signal.aborted).toBe(false);
    callers[2]?.abort(new Error('as well'));
    expect(run?.signal.aborted).toBe(true);
  });

  it('tells all of a failure', async () => {
    const { gathered, begun } = setUp();
    const asked = ['1', '2'].map((what) => gathered.ask('a', what, wait()).catch(String));
    (await begun(1))[0]?.fail();
    expect(await Promise.all(asked)).toEqual(['Error: broken', 'Error: broken']);
  });
});
