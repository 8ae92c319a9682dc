import { readdir, readFile } from 'node:fs/promises';
import { run } from './guard.js';

export interface ProcessInfo {
  readonly pid: number;
  readonly parent: number;
  readonly command: string;
}

/** A process by Linux' /proc, or undefined where it has ended meanwhile or is a zombie. */
async function fromProc(pid: string): Promise<ProcessInfo | undefined> {
  const files = ['stat', 'cmdline'].map((name) => readFile(`/proc/${pid}/${name}`, 'utf8'));
  const [stat, cmdline] = await Promise.all(files).catch(() => []);
  // proc(5): pid (name) state ppid ..., and the name may hold blanks and brackets.
  const [state, parent] = stat?.slice(stat.lastIndexOf(')') + 2).split(' ') ?? [];
  if (cmdline === undefined || state === 'Z' || parent === undefined) return undefined;
  return { pid: Number(pid), parent: Number(parent), command: cmdline.split('\0').join(' ').trim() };
}

/** A line of `ps`, or undefined for a zombie. */
function fromPs(line: string): ProcessInfo | undefined {
  const [, pid, parent, state, command] = /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line) ?? [];
  if (state === undefined || command === undefined || state.startsWith('Z')) return undefined;
  return { pid: Number(pid), parent: Number(parent), command };
}

/** Every process of the machine that is not a zombie. Small Linux images have no `ps`, other systems no /proc. */
async function allProcesses(): Promise<ProcessInfo[]> {
  const pids =
    process.platform === 'linux' ? (await readdir('/proc')).filter((name) => /^\d+$/.test(name)) : undefined;
  const found =
    pids === undefined
      ? (await run('ps', ['-A', '-ww', '-o', 'pid=,ppid=,state=,args='])).split('\n').map(fromPs)
      : await Promise.all(pids.map(fromProc));
  return found.filter((process) => process !== undefined);
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
