import bcrypt from 'bcryptjs';
import { Registry } from 'prom-client';
import { beforeAll, describe, expect, it } from 'vitest';
import { createPasswords, type Passwords } from './passwords.js';

describe('passwords', () => {
  let passwords: Passwords;
  beforeAll(async () => {
    passwords = await createPasswords({ registry: new Registry(), refusalMs: 0 });
  });

  it('makes argon2id hashes that fit their password only', async () => {
    const hash = await passwords.hash('correct horse');
    expect(hash).toMatch(/^\$argon2id\$v=19\$m=19456,/);
    expect(await passwords.verify(hash, 'correct horse')).toBe(true);
    expect(await passwords.verify(hash, 'correct horsf')).toBe(false);
    expect(passwords.isOutdated(hash)).toBe(false);
  });

  it.each(['$2a$', '$2b$'])('knows %s hashes of the original and calls them outdated', async (prefix) => {
    const hash = (await bcrypt.hash('correct horse', 4)).replace(/^\$2.\$/, prefix);
    expect(await passwords.verify(hash, 'correct horse')).toBe(true);
    expect(await passwords.verify(hash, 'correct horsf')).toBe(false);
    expect(passwords.isOutdated(hash)).toBe(true);
  });

  it('does not take a longer password with the same 72 bytes for the right one', async () => {
    const hash = await bcrypt.hash('x'.repeat(72), 4);
    expect(await passwords.verify(hash, 'x'.repeat(72))).toBe(true);
    expect(await passwords.verify(hash, 'x'.repeat(73))).toBe(false);
  });

  it.each([null, '', 'plain', '$1$abc$def'])('says no to %j', async (hash) => {
    expect(await passwords.verify(hash, 'correct horse')).toBe(false);
  });

  it('takes the same time for a no, whichever hash there is or is not', async () => {
    const waiting = await createPasswords({ registry: new Registry(), concurrency: 8, refusalMs: 300 });
    const bcrypted = await bcrypt.hash('correct horse', 4);
    const times = [null, await waiting.hash('correct horse'), bcrypted].flatMap((hash) =>
      ['wrong', 'x'.repeat(80)].map(async (password) => {
        const began = performance.now();
        expect(await waiting.verify(hash, password)).toBe(false);
        return performance.now() - began;
      }),
    );
    // A timer may fire a millisecond early.
    for (const time of await Promise.all(times)) expect(time).toBeGreaterThan(298);
  });

  it('does not block the event loop, not even for bcrypt', async () => {
    const hash = bcrypt.hashSync('correct horse', 12);
    let longest = 0;
    const began = performance.now();
    let last = began;
    const clock = setInterval(() => {
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    }, 1);
    await passwords.verify(hash, 'correct horse');
    clearInterval(clock);
    expect(longest).toBeLessThan((performance.now() - began) / 3);
  });

  it('refuses what exceeds the line instead of letting it grow', async () => {
    const small = await createPasswords({ registry: new Registry(), concurrency: 1, maxWaiting: 3 });
    const answers = await Promise.allSettled(Array.from({ length: 10 }, () => small.verify(null, 'flood')));
    expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(4);
    expect(answers.find(({ status }) => status === 'rejected')).toMatchObject({
      reason: { code: 'overloaded' },
    });
    expect(await small.verify(null, 'after the flood')).toBe(false);
  });
});
