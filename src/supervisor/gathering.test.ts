import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Gathering } from './gathering.js';
import { GATHER_MS } from './protocol.js';

describe('asking all processes', () => {
  let gathering: Gathering;
  let asked: { process: number; id: number }[];
  const ask = (process: number, id: number) => void asked.push({ process, id });

  beforeEach(() => {
    vi.useFakeTimers();
    gathering = new Gathering();
    asked = [];
  });
  afterEach(() => vi.useRealTimers());

  it('ends with the last answer, in the order of the processes', async () => {
    const round = gathering.start('parts', [1, 2], [], ask);
    for (const { process, id } of asked.toReversed()) gathering.answered(process, id, `of ${process}`);
    expect(await round).toEqual({
      answers: [
        { process: 1, data: 'of 1' },
        { process: 2, data: 'of 2' },
      ],
      missing: [],
    });
  });

  it('does not wait for processes that are away, have no answer or die meanwhile', async () => {
    const round = gathering.start('parts', [1, 2, 3], [4], ask);
    const [first, second] = asked;
    if (first === undefined || second === undefined) return expect.fail('nobody was asked');
    gathering.answered(1, first.id, 'of 1');
    gathering.answered(2, second.id, undefined);
    gathering.gone(3);
    expect(await round).toEqual({ answers: [{ process: 1, data: 'of 1' }], missing: [2, 3, 4] });
  });

  it('waits for a hanging process only so long, and takes no answer twice or late', async () => {
    const round = gathering.start('metrics', [1, 2], [], ask);
    const id = asked[0]?.id ?? 0;
    gathering.answered(1, id, 'of 1');
    gathering.answered(1, id, 'again');
    await vi.advanceTimersByTimeAsync(GATHER_MS);
    gathering.answered(2, id, 'late');
    expect(await round).toEqual({ answers: [{ process: 1, data: 'of 1' }], missing: [2] });
  });
});
