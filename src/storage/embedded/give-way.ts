import { writeFileSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';

const MOST = 19;

/**
 * Makes this process, which leads a session of its own, give way to others where they want the processor as well. Threads that are made
 * later inherit it. Linux may share the processor out between sessions before it looks at processes (autogroups: the default outside of
 * containers and services); there a process' niceness counts within its own session only, so the session gets one too.
 * @param by how much nicer than it was started, 1 to 19
 */
export function giveWay(by: number): void {
  const niceness = Math.min(MOST, getPriority() + by);
  setPriority(niceness);
  try {
    writeFileSync('/proc/self/autogroup', `${Math.max(0, niceness)}`);
  } catch {
    // Another system, or a kernel without autogroups.
  }
}
