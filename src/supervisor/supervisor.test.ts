import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { silentTelemetry } from '../telemetry.js';
import { type Supervisor, supervise } from './supervisor.js';

const directory = mkdtempSync(join(tmpdir(), 'supervisor-'));
afterAll(() => rmSync(directory, { recursive: true }));

/** A process that says it is up, and lives as it is told. */
const script = join(directory, 'child.mjs');
writeFileSync(
  script,
  `const [number, life, stubborn] = process.argv.slice(2);
  process.on('SIGTERM', () => stubborn || process.exit(0));
  process.on('disconnect', () => process.exit(0));
  setInterval(() => {}, 1_000);
  const early = /^early (\\d+)$/.exec(life);
  if (early) process.exit(Number(early[1]));
  process.send({ kind: 'up', facts: 'first of ' + number });
  const later = /^later (\\d+)$/.exec(life);
  if (later) setTimeout(() => process.exit(Number(later[1])), 30);`,
);

describe('the parent of processes', () => {
  let supervisor: Supervisor | undefined;
  afterEach(async () => {
    supervisor?.stop();
    await supervisor?.ended;
  });

  /** @param lives what process 1, 2 ... does at its first, second ... start; the last goes on */
  const start = (lives: readonly (readonly string[])[], graceMs = 2_000) => {
    const starts: number[] = [];
    const children: ChildProcess[] = [];
    supervisor = supervise({
      ...{ processes: lives.length, graceMs, telemetry: silentTelemetry() },
      fork(number) {
        const life = lives[number - 1] ?? [];
        const nth = starts.filter((earlier) => earlier === number).length;
        starts.push(number);
        if (life[nth] === 'none') throw new Error('spawn ENOMEM');
        const child = fork(script, [
          `${number}`,
          life[nth] ?? life.at(-1) ?? 'calm',
          life[0] === 'stubborn' ? 'x' : '',
        ]);
        children.push(child);
        return child;
      },
    });
    return { supervisor, starts, children };
  };

  it('tells when all are up, and ends all when asked', async () => {
    const { supervisor, starts, children } = start([['calm'], ['calm']]);
    expect(await supervisor.allUp).toBe('first of 1');
    supervisor.stop();
    expect(await supervisor.ended).toBe(0);
    expect(starts).toEqual([1, 2]);
    expect(children.map((child) => child.exitCode)).toEqual([0, 0]);
  });

  it('ends all with the code of one that fails before all have come up', async () => {
    const { supervisor, starts, children } = start([['calm'], ['early 3']]);
    expect(await supervisor.ended).toBe(3);
    expect(starts).toEqual([1, 2]);
    expect(children.every((child) => child.exitCode !== null || child.signalCode !== null)).toBe(true);
  });

  it('starts one again that ends later, unless its configuration is at fault', async () => {
    const { supervisor, starts } = start([['calm'], ['later 1', 'later 2']]);
    await supervisor.allUp;
    expect(await supervisor.ended).toBe(2);
    expect(starts).toEqual([1, 2, 2]);
  });

  it('tries again when one cannot be started at the moment', async () => {
    const { supervisor, starts } = start([['calm'], ['later 1', 'none', 'later 2']]);
    await supervisor.allUp;
    expect(await supervisor.ended).toBe(2);
    expect(starts).toEqual([1, 2, 2, 2]);
  });

  it('kills what does not end in time, and says so by its exit code', async () => {
    const { supervisor, children } = start([['stubborn']], 200);
    await supervisor.allUp;
    supervisor.stop();
    expect(await supervisor.ended).toBe(1);
    expect(children[0]?.signalCode).toBe('SIGKILL');
  });
});
