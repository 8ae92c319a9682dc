import { Counter, Gauge } from 'prom-client';
import type { ApiKeyStore } from '../storage/metadata/api-keys.js';
import type { Telemetry } from '../telemetry.js';

export interface KeyUsageOptions {
  readonly keys: Pick<ApiKeyStore, 'touch'>;
  readonly telemetry: Telemetry;
  /** ms between two writes; default 60,000. */
  readonly everyMs?: number;
}

/** Notes when API keys were last used: in memory at once, in the store once a minute for all keys together. */
export interface KeyUsage {
  used(id: string, at: Date): void;
  /** Stores what was noted. Never rejects: what could not be stored is noted still. */
  flush(): Promise<void>;
  /** Stores what was noted and stops. */
  close(): Promise<void>;
}

/** Keys noted at a time; of more, the first used are forgotten. */
const MAX_KEYS = 20_000;

export function createKeyUsage({ keys, telemetry, everyMs = 60_000 }: KeyUsageOptions): KeyUsage {
  let noted = new Map<string, Date>();
  new Gauge({
    name: 'seentics_api_keys_used',
    help: 'API keys used since their last use was last stored',
    registers: [telemetry.registry],
    collect() {
      this.set(noted.size);
    },
  });
  const failures = new Counter({
    name: 'seentics_api_key_use_failures_total',
    help: 'Attempts to store when API keys were last used that failed',
    registers: [telemetry.registry],
  });
  const used = (id: string, at: Date) => {
    noted.delete(id);
    noted.set(id, at);
    if (noted.size <= MAX_KEYS) return;
    const oldest = noted.keys().next();
    if (!oldest.done) noted.delete(oldest.value);
  };
  const flush = async () => {
    if (noted.size === 0) return;
    const batch = noted;
    noted = new Map();
    try {
      await keys.touch([...batch].map(([id, at]) => ({ id, at })));
    } catch (err) {
      failures.inc();
      telemetry.log.warn({ err }, 'the last use of API keys was not stored; the next minute tries again');
      for (const [id, at] of batch) if (!noted.has(id)) used(id, at);
    }
  };
  const timer = setInterval(flush, everyMs);
  timer.unref();
  return {
    used,
    flush,
    async close() {
      clearInterval(timer);
      await flush();
    },
  };
}
