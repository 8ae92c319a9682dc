import { readdir, readFile } from 'node:fs/promises';

/** Linux counts CPU time in ticks of 1/100 s (USER_HZ). */
const TICKS_PER_SECOND = 100;

interface Usage {
  readonly parent: number;
  /** User and system time of the process and of its ended children, seconds. */
  readonly seconds: number;
  readonly residentBytes: number;
}

async function allUsage(): Promise<Map<number, Usage>> {
  const usage = new Map<number, Usage>();
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '');
    // The command is in parentheses and may hold anything; fields are counted after it (proc(5): state is field 3).
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const field = (number: number) => Number(fields[number - 3] ?? 0);
    if (fields.length < 22) continue;
    usage.set(Number(name), {
      parent: field(4),
      seconds: (field(14) + field(15) + field(16) + field(17)) / TICKS_PER_SECOND,
      residentBytes: field(24) * 4096,
    });
  }
  return usage;
}

export interface TreeUsage {
  readonly seconds: number;
  readonly residentBytes: number;
  /** CPU seconds of each root with its descendants. */
  readonly byRoot: ReadonlyMap<string, number>;
}

/** CPU seconds used so far by processes and all their descendants (memory: resident pages, shared ones counted in each). */
export async function treeUsage(roots: Readonly<Record<string, number>>): Promise<TreeUsage> {
  const all = await allUsage();
  const byRoot = new Map<string, number>();
  let residentBytes = 0;
  const counted = new Set<number>();
  for (const [name, root] of Object.entries(roots)) {
    let seconds = 0;
    for (const [pid, usage] of all) {
      if (counted.has(pid) || !isWithin(all, pid, root)) continue;
      counted.add(pid);
      seconds += usage.seconds;
      residentBytes += usage.residentBytes;
    }
    byRoot.set(name, seconds);
  }
  return { seconds: [...byRoot.values()].reduce((sum, seconds) => sum + seconds, 0), residentBytes, byRoot };
}

function isWithin(all: ReadonlyMap<number, Usage>, pid: number, root: number): boolean {
  for (let at = pid; at > 1; at = all.get(at)?.parent ?? 0) if (at === root) return true;
  return false;
}
