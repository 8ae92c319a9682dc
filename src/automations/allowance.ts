import { Counter, type Registry } from 'prom-client';
import type { Cache } from '../storage/cache/cache.js';
import type { Telemetry } from '../telemetry.js';

const MINUTE_MS = 60_000;

/** How many executions of an automation may begin within a minute, on all nodes together: whoever forges events or reports gets no further. */
export interface Allowance {
  /** How many of `wanted` may begin now. While the counters cannot be reached, all. */
  take(automationId: string, wanted: number): Promise<number>;
}

export function createAllowance(options: {
  readonly cache: Pick<Cache, 'increment'>;
  readonly perMinute: number;
  readonly telemetry: Telemetry;
}): Allowance {
  const { cache, perMinute, telemetry } = options;
  const dropped = droppedCounter(telemetry.registry);
  return {
    async take(automationId, wanted) {
      const minute = Math.floor(Date.now() / MINUTE_MS);
      let count: number;
      try {
        count = await cache.increment(`automation:${automationId}:${minute}`, wanted, 2 * MINUTE_MS);
      } catch (err) {
        telemetry.log.warn(
          { err },
          'executions of automations are not limited: the counters cannot be reached',
        );
        return wanted;
      }
      const granted = Math.max(0, Math.min(wanted, perMinute - (count - wanted)));
      dropped.inc({ reason: 'rate' }, wanted - granted);
      return granted;
    },
  };
}

const counters = new WeakMap<Registry, Counter<'reason'>>();

/** Matches and reports that began no execution, by reason. */
export function droppedCounter(registry: Registry): Counter<'reason'> {
  const known = counters.get(registry);
  if (known) return known;
  const counter = new Counter({
    name: 'seentics_automation_dropped_total',
    help: 'Matches and reports that began no execution: rate, known (repeated, capped by the frequency, or of a website with ten thousand overdue), stale, unknown, invalid, condition, excess.',
    labelNames: ['reason'],
    registers: [registry],
  });
  counters.set(registry, counter);
  return counter;
}
