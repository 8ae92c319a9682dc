import { Gauge, type Registry } from 'prom-client';
import type { PartStatus } from '../edge/routes/system.js';
import { type FrameStream, takesMessages } from '../storage/stream/stream.js';
import type { PartChoice } from './engines.js';

/** Less than `/ready` waits for all parts, so that it can name the one that hangs. */
const PROBE_TIMEOUT_MS = 1_500;

interface Probe {
  readonly kind: string;
  readonly choice: PartChoice;
  /** Throws when the part does not answer. */
  ping(): Promise<void>;
  readonly required: boolean;
}

export interface ReadinessParts {
  readonly probes: readonly Probe[];
  readonly stream: { readonly choice: PartChoice; readonly stream: FrameStream };
}

/** Asks every part, all at once, each for a moment at most. */
export function readiness({ probes, stream }: ReadinessParts): () => Promise<readonly PartStatus[]> {
  return () => Promise.all([...probes.map(probePart), probeStream(stream.choice, stream.stream)]);
}

const STATE_VALUES = { up: 1, degraded: 0.5, down: 0 } as const satisfies Record<PartStatus['state'], number>;

/** The state of every part, asked for when the metrics are, so that who watches those need not ask `/ready` as well. */
export function measureParts(registry: Registry, parts: () => Promise<readonly PartStatus[]>): void {
  new Gauge({
    name: 'seentics_part_state',
    help: 'State of a part: 1 up, 0.5 degraded, 0 down.',
    labelNames: ['part', 'adapter'],
    registers: [registry],
    async collect() {
      for (const { name: part, adapter, state } of await parts())
        this.set({ part, adapter }, STATE_VALUES[state]);
    },
  });
}

async function probePart(probe: Probe): Promise<PartStatus> {
  const base = {
    name: probe.choice.part,
    adapter: probe.kind,
    embedded: probe.choice.embedded,
    required: probe.required,
  };
  try {
    await withTimeout(probe.ping());
    return { ...base, state: 'up' };
  } catch (error) {
    return { ...base, state: 'down', detail: error instanceof Error ? error.name : 'no answer' };
  }
}

/** A stream that is away or full but spooled keeps requests going, so it is degraded, not down; one that takes nothing is down. */
async function probeStream(choice: PartChoice, stream: FrameStream): Promise<PartStatus> {
  const base = { name: choice.part, adapter: stream.kind, embedded: choice.embedded, required: true };
  try {
    const status = await withTimeout(stream.status());
    // The sums of a spooled stream say nothing about the room in the part that is written to; it says itself whether there is any.
    const takes = stream.kind === 'spooled' ? status.reachable : takesMessages(status);
    const state = !takes ? 'down' : status.isSpooling === true ? 'degraded' : 'up';
    return {
      ...base,
      state,
      backlog: status.lagMessages,
      ...(status.detail === undefined ? {} : { detail: status.detail }),
    };
  } catch (error) {
    return { ...base, state: 'down', detail: error instanceof Error ? error.name : 'no answer' };
  }
}

async function withTimeout<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('no answer in time')), PROBE_TIMEOUT_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
