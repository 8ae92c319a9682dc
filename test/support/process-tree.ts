import { run } from './guard.js';

export interface ProcessInfo {
  readonly pid: number;
  readonly parent: number;
  readonly command: string;
}

/** Every process of the machine that is not a zombie. */
async function allProcesses(): Promise<ProcessInfo[]> {
  const table = await run('ps', ['-A', '-ww', '-o', 'pid=,ppid=,state=,args=']);
  return table.split('\n').flatMap((line) => {
    const [, pid, parent, state, command] = /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line) ?? [];
    if (state === undefined || command === undefined || state.startsWith('Z')) return [];
    return [{ pid: Number(pid), parent: Number(parent), command }];
  });
}

/** Children, grandchildren and so on of a process. */
export async function descendants(pid: number): Promise<ProcessInfo[]> {
  const all = await allProcesses();
  const found: ProcessInfo[] = [];
  for (let parents = [pid]; parents.length > 0; ) {
    const children = all.filter((process) => parents.includes(process.parent));
    found.push(...children);
    parents = children.map((child) => child.pid);
  }
  return found;
}

/** Those of the processes that still run (same pid and same command). */
export async function survivors(processes: readonly ProcessInfo[]): Promise<ProcessInfo[]> {
  const all = new Map((await allProcesses()).map((process) => [process.pid, process.command]));
  return processes.filter((process) => all.get(process.pid) === process.command);
}
