import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { SERVERS as NAMED } from '../../test/support/server-settings.js';
import { readConfig } from '../config-read.js';
import { silentTelemetry } from '../telemetry.js';
import { countProcesses, placeArgument, readPlace, shareOf } from './place.js';

const SERVERS = { ...NAMED, JWT_SECRET: 'a secret that is long enough for production use' };

describe('processes of a node', () => {
  it('`auto` are as many as cores where every part is a server, else one', () => {
    const { log } = silentTelemetry();
    expect(countProcesses(readConfig({ ...SERVERS, PROCESSES: 'auto' }), log)).toBe(availableParallelism());
    expect(countProcesses(readConfig({ ...SERVERS, S3_ENDPOINT: '', PROCESSES: 'auto' }), log)).toBe(1);
    expect(countProcesses(readConfig({ ...SERVERS, PROCESSES: '3' }), log)).toBe(3);
    expect(countProcesses(readConfig({}), log)).toBe(1);
  });

  it('are told their place by an argument', () => {
    expect(readPlace(['x', placeArgument(2, 3)], '/data')).toEqual({
      ...{ process: 2, processes: 3, nodeDir: '/data' },
    });
    expect(readPlace(['x'], '/data')).toBeUndefined();
  });

  it('divide what the node may take, and keep what servers limit', async () => {
    const config = readConfig({
      ...SERVERS,
      ...{ NODE_ID: 'a', ENRICH_THREADS: '8', DB_MAX_CONNS: '40', DB_MIN_CONNS: '20' },
      ...{ SPOOL_LIMIT_MB: '400', DEDUPE_WINDOW_EVENTS: '8000000', SITE_EVENTS_PER_MINUTE: '1000' },
    });
    const share = await shareOf(config, { process: 2, processes: 4, nodeDir: '/data' });
    expect(share).toMatchObject({
      ...{ DATA_DIR: join('/data', 'process-2'), NODE_ID: 'a-2', ENRICH_THREADS: 2 },
      ...{ DB_MAX_CONNS: 10, DB_MIN_CONNS: 10, SPOOL_LIMIT_MB: 100 },
      ...{ DEDUPE_WINDOW_EVENTS: 2_000_000, SITE_EVENTS_PER_MINUTE: 250, LOOK_AHEAD_PERCENT: 1.25 },
      ...{ STREAM_LIMIT_MB: config.STREAM_LIMIT_MB, RATE_LIMIT_API: config.RATE_LIMIT_API },
    });
  });

  it('have at least what one can work with, and no quota where the node has none', async () => {
    const config = readConfig({ ...SERVERS, ENRICH_THREADS: '1', DB_MAX_CONNS: '2' });
    const share = await shareOf(config, { process: 1, processes: 64, nodeDir: '/data' });
    expect(share).toMatchObject({ ENRICH_THREADS: 1, DB_MAX_CONNS: 2, SITE_EVENTS_PER_MINUTE: 0 });
    const many = await shareOf(readConfig(SERVERS), { process: 1, processes: 64, nodeDir: '/data' });
    expect(many).toMatchObject({ ENRICH_THREADS: 1, DB_MAX_CONNS: 4 });
  });
});
