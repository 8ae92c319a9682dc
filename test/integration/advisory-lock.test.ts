import { expect, test } from 'vitest';
import { openAdvisoryLocks } from '../../src/storage/advisory-lock.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshPostgres } from '../support/fresh.js';

test('many that wait for one lock keep nobody from another, and take turns', async () => {
  const { url, drop } = await freshPostgres();
  const telemetry = silentTelemetry();
  // Two of them, as in two nodes.
  const [here, there] = [openAdvisoryLocks(url, telemetry), openAdvisoryLocks(url, silentTelemetry())];
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  let [inside, most, done] = [0, 0, 0];
  const work = async () => {
    most = Math.max(most, ++inside);
    await held;
    inside--;
    if (++done === 3) throw new Error('one that fails');
  };
  try {
    const busy = [...Array.from({ length: 10 }, () => here), there].map((locks) => locks.run('busy', work));
    const ended = Promise.allSettled(busy);
    expect(await here.run('other', async () => 'in between')).toBe('in between');
    expect(await telemetry.registry.metrics()).toContain('seentics_lock_waiting 9');
    release();
    const outcomes = (await ended).map(({ status }) => status).sort();
    expect(outcomes).toEqual([...Array.from({ length: 10 }, () => 'fulfilled'), 'rejected']);
    expect([most, done]).toEqual([1, 11]);
    expect(await telemetry.registry.metrics()).toContain('seentics_lock_waiting 0');
  } finally {
    release();
    await Promise.all([here.close(), there.close()]);
    await drop();
  }
});
