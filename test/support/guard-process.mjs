/**
 * The guard: a process of its own that outlives a killed test run just long enough to clean up after it. Plain JavaScript, for it is
 * started by nearly every file of tests and has to be there at once.
 * Standard input carries one order a line; when it closes, for whatever reason, every process group still watched is
 * ended (by the signal it was registered with, after 5 s by SIGKILL) and every directory is removed.
 */
import { rmSync } from 'node:fs';
import { createInterface } from 'node:readline';

/** Process groups, and the signal that ends each: SIGTERM or SIGKILL. */
const groups = new Map();
const directories = new Set();
const graceMs = 5_000;

function signal(group, name) {
  try {
    process.kill(-group, name);
    return true;
  } catch {
    return false;
  }
}

async function end() {
  for (const [group, ending] of groups) signal(group, ending);
  const deadline = Date.now() + graceMs;
  while ([...groups.keys()].some((group) => signal(group, 0)) && Date.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  for (const group of groups.keys()) signal(group, 'SIGKILL');
  for (const directory of directories) rmSync(directory, { recursive: true, force: true, maxRetries: 20 });
  process.exit(0);
}

for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(name, () => {});
const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const [order, value = '', ending] = line.split('\t');
  if (order === 'watch') groups.set(Number(value), ending === 'SIGKILL' ? 'SIGKILL' : 'SIGTERM');
  else if (order === 'gone') groups.delete(Number(value));
  else if (order === 'directory') directories.add(value);
});
lines.on('close', () => void end());
