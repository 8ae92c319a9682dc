import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
/** `nobody`, which every Unix has. */
const NOBODY = 65_534;

export interface RunAs {
  /** Owner that files of the server need; undefined: the current user. */
  readonly uid?: number;
  readonly gid?: number;
  /** The command line and identity to start a program with. */
  wrap(
    command: string,
    args: readonly string[],
  ): { command: string; args: string[]; uid?: number; gid?: number };
}

/**
 * Postgres refuses to run as root. As root it is started as `nobody`; where `nobody` cannot reach the program or the data (a checkout
 * under /root), it keeps the one capability that lets it pass directory permissions, by util-linux's `setpriv`.
 * @param program file that must be reachable
 * @param directory data folder that must be reachable
 * @throws Error with advice when neither way works
 */
export async function runAs(program: string, directory: string): Promise<RunAs> {
  if (process.getuid?.() !== 0) return { wrap: (command, args) => ({ command, args: [...args] }) };
  if ((await othersCanReach(program)) && (await othersCanReach(directory))) {
    return {
      uid: NOBODY,
      gid: NOBODY,
      wrap: (command, args) => ({ command, args: [...args], uid: NOBODY, gid: NOBODY }),
    };
  }
  const flags = [
    `--reuid=${NOBODY}`,
    `--regid=${NOBODY}`,
    '--clear-groups',
    '--inh-caps=+dac_override',
    '--ambient-caps=+dac_override',
    // access(2), by which initdb looks for its programs, ignores the capability of a user other than root without this.
    '--securebits=+no_setuid_fixup',
  ];
  await run('setpriv', [...flags, 'true']).catch((cause: unknown) => {
    throw new Error(
      'Postgres does not run as root, and an unprivileged user cannot reach the program or its data: ' +
        'start as another user, move the folder out of a private home, or set DATABASE_URL',
      { cause },
    );
  });
  return {
    uid: NOBODY,
    gid: NOBODY,
    wrap: (command, args) => ({ command: 'setpriv', args: [...flags, command, ...args] }),
  };
}

async function othersCanReach(path: string): Promise<boolean> {
  for (let at = dirname(path); ; at = dirname(at)) {
    const info = await stat(at).catch(() => null);
    if (info !== null && (info.mode & constants.S_IXOTH) === 0) return false;
    if (at === dirname(at)) break;
  }
  return true;
}
