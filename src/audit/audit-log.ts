import { Counter, Gauge } from 'prom-client';
import type { AuditEntry, AuditStore } from '../storage/metadata/audit.js';
import type { Telemetry } from '../telemetry.js';
import { isUuid } from '../uuid.js';
import { networkOf } from './network.js';

export interface AuditLogOptions {
  readonly store: Pick<AuditStore, 'append' | 'expire'>;
  readonly telemetry: Telemetry;
  /** Days that entries are kept; 0: for ever. */
  readonly retentionDays: number;
  /** ms between two writes; default 1,000. */
  readonly everyMs?: number;
  /** Entries that may wait for the store; default 10,000. */
  readonly maxWaiting?: number;
}

/** What happened, before its time and its cut address. */
export type AuditFact = Omit<AuditEntry, 'at' | 'network'> & {
  /** Of the client; only its network is kept. */
  readonly address: string;
};

/** Who did what, when: noted at once, stored soon after. Holds ids and never names, addresses of mail or secrets. */
export interface AuditLog {
  /** Never waits and never throws; when the store has been away for too long, the entry is dropped and counted. */
  record(fact: AuditFact): void;
  /** Stores what waits. Never rejects: what could not be stored waits still. */
  flush(): Promise<void>;
  /** Deletes entries that are older than the retention. Never rejects. */
  expire(): Promise<void>;
  /** Stores what waits and stops. */
  close(): Promise<void>;
}

const BATCH = 500;
const EXPIRE_EVERY_MS = 3_600_000;
const DAY_MS = 86_400_000;

export function createAuditLog(options: AuditLogOptions): AuditLog {
  const { store, telemetry, retentionDays, everyMs = 1_000, maxWaiting = 10_000 } = options;
  const waiting: AuditEntry[] = [];
  const entries = new Counter({
    name: 'seentics_audit_entries_total',
    help: 'Entries of the audit log by what became of them',
    labelNames: ['outcome'],
    registers: [telemetry.registry],
  });
  new Gauge({
    name: 'seentics_audit_waiting_entries',
    help: 'Entries of the audit log that are not stored yet',
    registers: [telemetry.registry],
    collect() {
      this.set(waiting.length);
    },
  });
  let isLosing = false;

  const storeAll = async () => {
    while (waiting.length > 0) {
      const batch = waiting.slice(0, BATCH);
      await store.append(batch);
      waiting.splice(0, batch.length);
      entries.inc({ outcome: 'stored' }, batch.length);
      isLosing = false;
    }
  };
  let storing: Promise<void> = Promise.resolve();
  const flush = () => {
    storing = storing
      .then(storeAll)
      .catch((err: unknown) => telemetry.log.warn({ err }, 'the audit log was not stored; trying again'));
    return storing;
  };

  const expire = async () => {
    if (retentionDays === 0) return;
    try {
      const gone = await store.expire(new Date(Date.now() - retentionDays * DAY_MS));
      if (gone > 0) entries.inc({ outcome: 'expired' }, gone);
    } catch (err) {
      telemetry.log.warn({ err }, 'old entries of the audit log stay; the next hour tries again');
    }
  };

  const timers = [
    setInterval(() => waiting.length > 0 && void flush(), everyMs),
    setInterval(() => void expire(), EXPIRE_EVERY_MS),
  ];
  for (const timer of timers) timer.unref();

  return {
    record({ address, ...fact }) {
      if (waiting.length >= maxWaiting) {
        entries.inc({ outcome: 'dropped' });
        if (!isLosing) telemetry.log.error('the audit log loses entries: its store is away for too long');
        isLosing = true;
        return;
      }
      waiting.push({
        ...fact,
        at: new Date(),
        userId: idOrNull(fact.userId),
        keyId: idOrNull(fact.keyId),
        websiteId: idOrNull(fact.websiteId),
        targetId: idOrNull(fact.targetId),
        network: networkOf(address),
      });
    },
    flush,
    expire,
    async close() {
      for (const timer of timers) clearInterval(timer);
      await flush();
    },
  };
}

/** What is no id of ours (of a gateway, of a visitor) is not kept. */
const idOrNull = (id: string | null): string | null => (id !== null && isUuid(id) ? id : null);
