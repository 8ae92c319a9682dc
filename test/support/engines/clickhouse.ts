import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Guard, type Guarded, untilServing } from '../guard.js';
import { freePorts } from '../ports.js';

/** Whether a ClickHouse answers under the URL. */
export async function clickhouseAnswers(url: string): Promise<boolean> {
  const answer = await fetch(`${url}/ping`, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined);
  return answer !== undefined && (await answer.text()) === 'Ok.\n';
}

/** A ClickHouse server that can be killed and started again on the same port and data. */
export interface ClickhouseServer {
  /** HTTP URL, user `default`, no password. */
  readonly url: string;
  process: Guarded;
  /** Starts it again after it was ended. */
  restart(): Promise<void>;
}

/** What a node of a cluster is started with. */
export interface ClickhouseNode {
  readonly httpPort: number;
  readonly tcpPort: number;
  readonly configFile: string;
}

/** A ClickHouse of its own with an empty data directory, or with one that another process has left. */
export async function startClickhouse(
  guard: Guard,
  existing?: string,
  node?: ClickhouseNode,
): Promise<ClickhouseServer> {
  const [httpPort, tcpPort] = node ? [node.httpPort, node.tcpPort] : await freePorts(2);
  const directory = existing ?? join(guard.directory, `clickhouse-${httpPort}`);
  await mkdir(directory, { recursive: true });
  const script = fileURLToPath(new URL('./clickhouse-process.mjs', import.meta.url));
  const url = `http://127.0.0.1:${httpPort}`;
  const launch = async () => {
    const args = [script, directory, `${httpPort}`, `${tcpPort}`, ...(node ? [node.configFile] : [])];
    const server = guard.start('clickhouse', process.execPath, args, { stdin: 'pipe' });
    await untilServing(server, 'ClickHouse to answer', () => clickhouseAnswers(url), 90_000);
    return server;
  };
  const self: ClickhouseServer = {
    url,
    process: await launch(),
    restart: async () => {
      self.process = await launch();
    },
  };
  return self;
}
