import { describe, expect, it } from 'vitest';
import { spooled } from '../storage/stream/spooled.js';
import {
  type FrameStream,
  StreamFullError,
  type StreamStatus,
  StreamUnavailableError,
} from '../storage/stream/stream.js';
import { silentTelemetry } from '../telemetry.js';
import { measureParts, readiness } from './readiness.js';

const MIB = 1 << 20;

/** A stream of which nothing is asked but its status. */
function streamOf(kind: FrameStream['kind'], status: () => Promise<Partial<StreamStatus>>): FrameStream {
  return {
    kind,
    partitions: 1,
    append: async () => {
      const { reachable = true } = await status();
      throw reachable ? new StreamFullError('full') : new StreamUnavailableError('away');
    },
    consume: async () => ({ owned: () => [], stop: async () => {} }),
    status: async () => {
      const figures = {
        reachable: true,
        lagMessages: 0,
        bytes: 0,
        limitBytes: 100 * MIB,
        ...(await status()),
      };
      return { ...figures, fill: figures.bytes / figures.limitBytes };
    },
    drain: async () => {},
    close: async () => {},
  };
}

async function stateOf(stream: FrameStream): Promise<string | undefined> {
  const choice = { part: 'stream', embedded: false, where: '' } as const;
  const [part] = await readiness({ probes: [], stream: { choice, stream } })();
  await stream.close();
  return part?.state;
}

const UP = {};
const AWAY = { reachable: false };
/** There is room for a small message yet, but not for each. */
const FULL = { bytes: 100 * MIB - 50_000 };

describe('the readiness of the stream', () => {
  it.each([
    ['up', UP],
    ['down', AWAY],
    ['down', FULL],
  ])('is %s for a log that says %j', async (state, status) => {
    expect(await stateOf(streamOf('local', async () => status))).toBe(state);
  });

  it.each([
    ['up', UP, UP],
    ['up', UP, AWAY],
    ['degraded', AWAY, UP],
    ['degraded', FULL, UP],
    ['down', AWAY, FULL],
    ['down', AWAY, AWAY],
    ['down', FULL, AWAY],
  ])('is %s for NATS that says %j and a spool that says %j', async (state, nats, spool) => {
    const stream = await spooled({
      primary: streamOf('jetstream', async () => nats),
      spool: streamOf('local', async () => spool),
      telemetry: silentTelemetry(),
    });
    expect(await stateOf(stream)).toBe(state);
  });

  it('is a metric, as that of every part', async () => {
    const { registry } = silentTelemetry();
    const states = { stream: 'degraded', metadata: 'up', cache: 'down' } as const;
    measureParts(registry, async () =>
      Object.entries(states).map(([name, state]) => ({
        name,
        state,
        adapter: 'x',
        embedded: false,
        required: true,
      })),
    );
    expect(await registry.getSingleMetricAsString('seentics_part_state')).toMatch(
      /"stream",adapter="x"\} 0.5\n.*"metadata".* 1\n.*"cache".* 0$/,
    );
  });

  it('is degraded, not unknown, while NATS hangs', async () => {
    const stream = await spooled({
      primary: streamOf('jetstream', () => new Promise(() => {})),
      spool: streamOf('local', async () => UP),
      telemetry: silentTelemetry(),
    });
    expect(await stateOf(stream)).toBe('degraded');
  });
});
