import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { pause, until } from '../../../test/support/wait.js';
import { Fifo } from './waiting.js';

describe('Fifo', () => {
  it('gives in order what was put in, at any length', () => {
    const queue = new Fifo<number>();
    const taken: number[] = [];
    const put: number[] = [];
    for (let round = 1; round <= 60; round++) {
      for (let i = 0; i < round * 3; i++) {
        queue.push(put.length);
        put.push(put.length);
      }
      for (let i = 0; i < (round < 50 ? round * 2 : round * 6); i++) {
        const item = queue.shift();
        if (item !== undefined) taken.push(item);
      }
      expect(queue.length).toBe(put.length - taken.length);
    }
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) taken.push(item);
    expect(taken).toEqual(put);
    expect(queue.length).toBe(0);
  });

  it('holds nothing of what was taken, whether others wait or not', async () => {
    setFlagsFromString('--expose-gc');
    const collect: unknown = runInNewContext('gc');
    if (typeof collect !== 'function') throw new Error('no gc');
    for (const others of [0, 1]) {
      const queue = new Fifo<object>();
      const taken: WeakRef<object>[] = [];
      (() => {
        for (let i = 0; i < 10; i++) queue.push({ payload: new Uint8Array(1024) });
        for (let i = 0; i < 10 - others; i++) taken.push(new WeakRef(queue.shift() ?? {}));
      })();
      await until(
        async () => {
          // A reference made in this turn of the event loop is kept to its end.
          await pause(0);
          collect();
          return taken.every((item) => item.deref() === undefined);
        },
        { what: 'what was taken to be free', timeoutMs: 5_000 },
      );
      expect(queue.length).toBe(others);
    }
  });
});
