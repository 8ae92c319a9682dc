import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { Flight } from './flight.js';

const GONE = AbortSignal.abort(new Error('gone'));

/** A flight whose work ends with an answer from outside. */
function flight() {
  let land: (answer: string) => void = () => {};
  const answer = new Promise<string>((resolve) => {
    land = resolve;
  });
  return { flight: new Flight(() => answer), land: (text: string) => land(text) };
}

describe('a caller who has left before it joined', () => {
  it('ends a flight that nobody else waits for', async () => {
    const { flight: alone } = flight();
    await expect(alone.join(GONE)).rejects.toThrow('gone');
    expect(alone.signal.aborted).toBe(true);
  });

  it('is not counted among those who wait', async () => {
    const { flight: shared } = flight();
    const other = new AbortController();
    const answer = shared.join(other.signal);
    await expect(shared.join(GONE)).rejects.toThrow('gone');
    expect(shared.signal.aborted).toBe(false);
    other.abort(new Error('gone, too'));
    await expect(answer).rejects.toThrow('gone, too');
    expect(shared.signal.aborted).toBe(true);
  });

  it('takes the answer from nobody', async () => {
    const { flight: shared, land } = flight();
    const answer = shared.join(new AbortController().signal);
    await expect(shared.join(GONE)).rejects.toThrow('gone');
    await turn();
    land('answer');
    expect(await answer).toBe('answer');
  });
});
