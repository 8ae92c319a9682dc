/** Which addresses the processes of a program are connected with, as the kernel tells. */
import { readdir, readFile, readlink } from 'node:fs/promises';
import ipaddr from 'ipaddr.js';

export interface Connection {
  readonly pid: number;
  readonly protocol: string;
  readonly localPort: number;
  /** Canonical text; IPv4 within IPv6 as IPv4. */
  readonly remoteAddress: string;
  readonly remotePort: number;
}

const TABLES = ['tcp', 'tcp6', 'udp', 'udp6'] as const;

/** Sockets of these processes that have a remote end, also those that are just being connected. */
export async function connectionsOf(pids: readonly number[]): Promise<Connection[]> {
  const found = await Promise.all(pids.map((pid) => ofProcess(pid).catch(goneIsNone)));
  return found.flat();
}

/** A process that ended meanwhile has none. */
function goneIsNone(error: unknown): Connection[] {
  if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH'))
    return [];
  throw error;
}

async function ofProcess(pid: number): Promise<Connection[]> {
  const own = await socketsOf(pid);
  const tables = await Promise.all(
    TABLES.map(async (protocol) => {
      const text = await readFile(`/proc/${pid}/net/${protocol}`, 'utf8');
      return text
        .split('\n')
        .slice(1)
        .flatMap((line) => connectionOf(line, own, pid, protocol));
    }),
  );
  return tables.flat();
}

/** Inodes of the process's sockets; the tables hold those of the whole machine. */
async function socketsOf(pid: number): Promise<Set<string>> {
  const names = await readdir(`/proc/${pid}/fd`);
  const links = await Promise.all(names.map((name) => readlink(`/proc/${pid}/fd/${name}`).catch(() => '')));
  return new Set(links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []));
}

function connectionOf(line: string, own: ReadonlySet<string>, pid: number, protocol: string): Connection[] {
  const fields = line.trim().split(/\s+/);
  const [, local = '', remote = ''] = fields;
  const inode = fields[9] ?? '';
  const [address = '', port = ''] = remote.split(':');
  const remotePort = Number.parseInt(port, 16);
  if (!own.has(inode) || remotePort === 0) return [];
  const localPort = Number.parseInt(local.split(':')[1] ?? '', 16);
  return [{ pid, protocol, localPort, remoteAddress: addressOf(address), remotePort }];
}

/** The kernel writes addresses as little-endian 32-bit words in hex. */
function addressOf(hex: string): string {
  const bytes = Buffer.from(hex, 'hex').swap32();
  return ipaddr.process(ipaddr.fromByteArray([...bytes]).toString()).toString();
}
