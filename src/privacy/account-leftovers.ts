import { Gauge } from 'prom-client';
import type { AccountDeletionStore } from '../storage/metadata/account-deletion.js';
import type { Telemetry } from '../telemetry.js';

export interface AccountLeftoversOptions {
  readonly store: Pick<AccountDeletionStore, 'leftovers' | 'cleared'>;
  /** Removes what is kept of a deleted account outside of the database; may be done again. */
  readonly erase: (userId: string) => Promise<void>;
  readonly telemetry: Telemetry;
}

/** What is kept of deleted accounts outside of the database: removed after them, however often that takes. */
export interface AccountLeftovers {
  /** Now; what fails is done later by itself. */
  clear(userId: string): Promise<void>;
  start(): void;
  close(): Promise<void>;
}

const EVERY_MS = 10 * 60_000;
const ACCOUNTS_A_ROUND = 100;

export function createAccountLeftovers({
  store,
  erase,
  telemetry,
}: AccountLeftoversOptions): AccountLeftovers {
  const { log, registry } = telemetry;
  let left = 0;
  new Gauge({
    ...{ name: 'seentics_account_leftovers', registers: [registry] },
    help: 'Deleted accounts of which something was left outside of the database in the last round, a hundred at most',
    collect() {
      this.set(left);
    },
  });
  const clear = async (userId: string): Promise<boolean> => {
    try {
      await erase(userId);
      await store.cleared(userId);
      return true;
    } catch (err) {
      log.warn({ userId, err }, 'what is left of a deleted account could not be removed; it is tried again');
      return false;
    }
  };
  const round = async (): Promise<void> => {
    try {
      const accounts = await store.leftovers(ACCOUNTS_A_ROUND);
      left = accounts.length;
      for (const userId of accounts) if (await clear(userId)) left--;
    } catch (err) {
      log.warn({ err }, 'cannot look for what is left of deleted accounts');
    }
  };
  let running: Promise<void> | undefined;
  const tick = () => {
    running ??= round().finally(() => {
      running = undefined;
    });
  };
  let timer: NodeJS.Timeout | undefined;
  return {
    async clear(userId) {
      await clear(userId);
    },
    start() {
      tick();
      timer = setInterval(tick, EVERY_MS);
      timer.unref();
    },
    async close() {
      clearInterval(timer);
      await running;
    },
  };
}
