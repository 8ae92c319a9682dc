/**
 * A ClickHouse cluster of two shards. The servers, and all that goes between them, are real: what is sharded, sent on, and asked of both.
 * The engine of the npm package is built without the two things that need Keeper, so a proxy stands in for them: it has a statement with ON
 * CLUSTER run by every server, and tables are not replicated (one replica a shard).
 */
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import type { Guard } from '../guard.js';
import { freePorts } from '../ports.js';
import { type ClickhouseServer, startClickhouse } from './clickhouse.js';

export const CLUSTER = 'main';
/** A cluster of the same servers that is not set up for replicated tables. */
export const DOUBLING_CLUSTER = 'doubling';

export interface ClickhouseCluster {
  /** What the product speaks to: the first server, behind the proxy. */
  readonly url: string;
  /** URLs of the servers, one a shard. */
  readonly shards: readonly string[];
  /** A database that exists nowhere yet. */
  readonly database: string;
  /** Statements with ON CLUSTER so far. */
  readonly distributed: readonly string[];
  close(): Promise<void>;
}

interface Ports {
  readonly httpPort: number;
  readonly tcpPort: number;
}

/** Starts the servers on free ports of the loopback address; they end with the guard. */
export async function startClickhouseCluster(guard: Guard): Promise<ClickhouseCluster> {
  const [http1 = 0, tcp1 = 0, http2 = 0, tcp2 = 0] = await freePorts(4);
  const ports = [
    { httpPort: http1, tcpPort: tcp1 },
    { httpPort: http2, tcpPort: tcp2 },
  ];
  const servers = await Promise.all(ports.map((_, shard) => startShard(guard, ports, shard)));
  const shards = servers.map(({ url }) => url);
  const distributed: string[] = [];
  const proxy = createServer((request, response) => {
    pass(shards, distributed, request, response).catch((error: unknown) => {
      response.writeHead(502).end(String(error));
    });
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const address = proxy.address();
  if (address === null || typeof address === 'string') throw new Error('no TCP address');
  return {
    url: `http://127.0.0.1:${address.port}`,
    ...{ shards, distributed },
    database: 'clustered',
    async close() {
      proxy.closeAllConnections();
      await new Promise((closed) => proxy.close(closed));
    },
  };
}

async function startShard(guard: Guard, ports: readonly Ports[], shard: number): Promise<ClickhouseServer> {
  const own = ports[shard];
  if (own === undefined) throw new Error(`no shard ${shard}`);
  const configFile = join(guard.directory, `clickhouse-${own.httpPort}.xml`);
  const shards = (isReplicating: boolean) =>
    ports
      .map(({ tcpPort }) => {
        const replica = `<replica><host>127.0.0.1</host><port>${tcpPort}</port></replica>`;
        return `<shard><internal_replication>${isReplicating}</internal_replication>${replica}</shard>`;
      })
      .join('');
  await writeFile(
    configFile,
    `<clickhouse>
      <remote_servers>
        <${CLUSTER}>${shards(true)}</${CLUSTER}>
        <${DOUBLING_CLUSTER}>${shards(false)}</${DOUBLING_CLUSTER}>
      </remote_servers>
      <macros><shard>${shard + 1}</shard><replica>a</replica></macros>
      <max_server_memory_usage>1000000000</max_server_memory_usage>
      <mark_cache_size>16777216</mark_cache_size>
      <background_pool_size>4</background_pool_size>
      <background_schedule_pool_size>4</background_schedule_pool_size>
      <merge_tree>
        <number_of_free_entries_in_pool_to_execute_mutation>1</number_of_free_entries_in_pool_to_execute_mutation>
        <number_of_free_entries_in_pool_to_lower_max_size_of_merge>1</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
        <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>1</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
      </merge_tree>
    </clickhouse>`,
  );
  return startClickhouse(guard, undefined, { ...own, configFile });
}

const ON_CLUSTER = ` ON CLUSTER '${CLUSTER}'`;

async function pass(
  shards: readonly string[],
  distributed: string[],
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const body = await bytesOf(request);
  const isDistributed = body.includes(ON_CLUSTER);
  const targets = isDistributed ? shards : shards.slice(0, 1);
  if (isDistributed) distributed.push(body.toString());
  const sent = isDistributed ? forOneServer(body) : body;
  const answers = await Promise.all(
    targets.map(async (target) => {
      const answer = await fetch(`${target}${request.url ?? ''}`, {
        method: request.method ?? 'GET',
        headers: headersFor(request),
        ...(sent.length === 0 ? {} : { body: sent }),
      });
      return { answer, bytes: Buffer.from(await answer.arrayBuffer()) };
    }),
  );
  const told = answers.find(({ answer }) => !answer.ok) ?? answers[0];
  if (told === undefined) throw new Error('no server');
  const kept = [...told.answer.headers].filter(([name]) => /^x-clickhouse|^content-type$/.test(name));
  response.writeHead(told.answer.status, Object.fromEntries(kept)).end(told.bytes);
}

/** What a server makes of the statement that Keeper hands it. */
const forOneServer = (body: Buffer): Buffer =>
  Buffer.from(
    body
      .toString()
      .replaceAll(ON_CLUSTER, '')
      .replace(/Replicated(\w*MergeTree)\('[^']*', '[^']*'(?:, )?/g, '$1('),
  );

function headersFor({ headers }: IncomingMessage): Record<string, string> {
  const own = /^(host|connection|content-length|transfer-encoding|expect)$/;
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      typeof value === 'string' && !own.test(name) ? [[name, value]] : [],
    ),
  );
}

async function bytesOf(request: IncomingMessage): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of request) pieces.push(piece);
  return Buffer.concat(pieces);
}
