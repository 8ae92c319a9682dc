import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants, getPriority } from 'node:os';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';

const AUTOGROUP = '/proc/self/autogroup';

/** Lets a process that leads its own session give way; answers what has become of its niceness and of its session's. */
async function afterGiving(by: number): Promise<{ niceness: number; session: string }> {
  const code = `
    const { giveWay } = await import(${JSON.stringify(new URL('./give-way.ts', import.meta.url).href)});
    const { getPriority } = await import('node:os');
    const { existsSync, readFileSync } = await import('node:fs');
    giveWay(${by});
    const session = existsSync('${AUTOGROUP}') ? readFileSync('${AUTOGROUP}', 'utf8') : '';
    console.log(JSON.stringify({ niceness: getPriority(), session }));`;
  const args = ['--import', 'tsx', '--input-type=module', '--eval', code];
  const child = spawn(process.execPath, args, { detached: true, stdio: ['ignore', 'pipe', 'inherit'] });
  return JSON.parse(await text(child.stdout));
}

describe('giveWay', () => {
  it('makes the process nicer than it was started, never as nice as it may not be', async () => {
    const own = getPriority();
    expect((await afterGiving(3)).niceness).toBe(Math.min(constants.priority.PRIORITY_LOW, own + 3));
    expect((await afterGiving(30)).niceness).toBe(constants.priority.PRIORITY_LOW);
  });

  it.skipIf(!existsSync(AUTOGROUP))(
    'makes its session nicer where the kernel looks at sessions',
    async () => {
      const { niceness, session } = await afterGiving(4);
      expect(session).toMatch(new RegExp(` nice ${niceness}\n$`));
    },
  );
});
