import { partitionOf } from '../../src/events/partition.js';
import { copyTables, type RowTable } from '../../src/events/tables.js';
import {
  type BookEntry,
  type EventStore,
  type IdCandidates,
  type QuarantinedRow,
  RowsRefusedError,
  StoreUnavailableError,
} from '../../src/storage/events/event-store.js';

/**
 * What happens to the next call: it works; the store is away; it works but its answer is lost; its answer is lost and it takes effect
 * a little later, or as late as its deadline allows.
 */
export type Fault = 'none' | 'away' | 'answer lost' | 'late' | 'very late';

const LATE_MS = 3;
const VERY_LATE_MS = 60;

type WriterStore = Pick<
  EventStore,
  'insertRows' | 'addToBooks' | 'quarantine' | 'existingIds' | 'recentIds' | 'repair'
>;

interface Stored {
  readonly id: string;
  readonly site: string;
  readonly timestamp: number;
  readonly receivedAt: number;
  readonly table: RowTable;
}

/**
 * A fake: the promises of EventStore in memory, with faults on demand, to drive the writer through cases that a real server shows too
 * rarely. The real stores are driven by test/integration/partition-writer.test.ts.
 */
export class FakeStore {
  readonly rows: Stored[] = [];
  readonly books: BookEntry[] = [];
  readonly kept = new Map<string, QuarantinedRow>();
  readonly inserts: { table: RowTable; rows: number; token: string }[] = [];
  /** Steps that took effect, in order. */
  readonly steps: string[] = [];
  readonly #tokens = new Set<string>();
  /** Decides the fault of a call. */
  fault: (step: string) => Fault = () => 'none';
  /** Rows that are never taken. */
  refuses: (row: Uint8Array) => boolean = (row) => row.at(-1) === 1;
  /** Ids that it finds within its time. */
  findsIds = Number.POSITIVE_INFINITY;
  /** Whether a refusal tells which rows are bad. */
  namesBadRows = false;

  /** The store as one node sees it, until the node dies: then nothing it calls comes back or takes effect. */
  connect(): { store: WriterStore; die(): void } {
    let dead = false;
    const run = async <Result>(step: string, deadline: number, effect: () => Result): Promise<Result> => {
      await new Promise((resolve) => setImmediate(resolve));
      if (dead) return new Promise(() => {});
      const fault = this.fault(step);
      if (fault === 'away') throw new StoreUnavailableError(`${step}: away`);
      if (Date.now() > deadline) throw new StoreUnavailableError(`${step}: past the deadline`);
      if (fault === 'late' || fault === 'very late') {
        // What was sent takes effect although its sender is gone, but never after the deadline.
        const left = Math.min(VERY_LATE_MS, deadline - Date.now() - 1);
        setTimeout(
          () => {
            try {
              if (Date.now() <= deadline) effect();
            } catch {
              // Refused; nobody is there to hear it.
            }
          },
          fault === 'late' ? LATE_MS : left,
        );
        throw new StoreUnavailableError(`${step}: time-out`);
      }
      const result = effect();
      this.steps.push(step);
      await new Promise((resolve) => setImmediate(resolve));
      if (dead) return new Promise(() => {});
      if (fault === 'answer lost') throw new StoreUnavailableError(`${step}: answer lost`);
      return result;
    };
    const store: WriterStore = {
      insertRows: (table, rows, token, deadline) =>
        run('insert', deadline, () => this.#insert(table, rows, token)),
      addToBooks: (entries, token) =>
        run('book', Number.POSITIVE_INFINITY, () =>
          this.#once(token, () => {
            // An unsigned number of 32 bits in the real one.
            for (const { hour } of entries) Buffer.alloc(4).writeUInt32LE(hour / 1_000);
            this.books.push(...entries);
          }),
        ),
      quarantine: (entries, token) =>
        run('quarantine', Number.POSITIVE_INFINITY, () =>
          this.#once(token, () => {
            for (const entry of entries) this.kept.set(`${entry.siteId} ${entry.id}`, entry);
          }),
        ),
      existingIds: (candidates) =>
        run('look up', Number.POSITIVE_INFINITY, () => {
          const asked = candidates.reduce((sum, { ids }) => sum + ids.length, 0);
          if (asked > this.findsIds) throw new StoreUnavailableError('look up: time-out');
          return this.#existing(candidates);
        }),
      repair: () => run('repair', Number.POSITIVE_INFINITY, () => 0),
      recentIds: (partition, partitions, since, limit) =>
        run('refill', Number.POSITIVE_INFINITY, () => this.#recent(partition, partitions, since, limit)),
    };
    return {
      store,
      die() {
        dead = true;
      },
    };
  }

  /** How often each row (site and id, and the table of what is no event) is stored. */
  counts(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const { site, id, table } of this.rows) {
      const key = rowKey(site, id, table);
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    return counts;
  }

  totals(): Record<'received' | 'stored' | 'duplicate' | 'bot' | 'rejected' | 'quarantined', number> {
    const totals = { received: 0, stored: 0, duplicate: 0, bot: 0, rejected: 0, quarantined: 0 };
    for (const entry of this.books) {
      totals.received += entry.received;
      totals.stored += entry.stored;
      totals.duplicate += entry.duplicate;
      totals.bot += entry.bot;
      totals.rejected += entry.rejected;
      totals.quarantined += entry.quarantined;
    }
    return totals;
  }

  #once(token: string, effect: () => void): void {
    if (this.#tokens.has(token)) return;
    this.#tokens.add(token);
    effect();
  }

  #insert(table: RowTable, rows: readonly Uint8Array[], token: string): void {
    const bad = [...rows.keys()].filter((index) => this.refuses(rows[index] ?? new Uint8Array()));
    if (bad.length > 0)
      throw new RowsRefusedError(
        `row ${bad[0]} of ${rows.length}: cannot be parsed`,
        this.namesBadRows ? bad : undefined,
      );
    this.#once(token, () => {
      this.inserts.push({ table, rows: rows.length, token });
      for (const row of rows) this.rows.push(parse(table, row));
    });
  }

  #existing(candidates: readonly IdCandidates[]): Set<string> {
    const found = new Set<string>();
    for (const {
      siteId,
      table,
      ids,
      from = Number.NEGATIVE_INFINITY,
      to = Number.POSITIVE_INFINITY,
    } of candidates) {
      const asked = new Set(ids.map((id) => Buffer.from(id).toString('hex')));
      const tables = copyTables(table);
      for (const row of this.rows.filter((one) => tables.includes(one.table)))
        if (row.site === siteId && asked.has(row.id) && row.timestamp >= from && row.timestamp <= to)
          found.add(row.id);
    }
    return found;
  }

  #recent(partition: number, partitions: number, since: number, limit: number): Uint8Array[] | null {
    const ids = this.rows
      .filter(({ site, receivedAt }) => receivedAt >= since && partitionOf(site, partitions) === partition)
      .map(({ id }) => Buffer.from(id, 'hex'));
    return ids.length > limit ? null : ids;
  }
}

/** What is one row: bots and others of the same id are copies of one event. */
export function rowKey(site: string, id: string, table: RowTable): string {
  return copyTables(table).includes('events') ? `${site} ${id}` : `${site} ${id} ${table}`;
}

function parse(table: RowTable, row: Uint8Array): Stored {
  const bytes = Buffer.from(row);
  return {
    table,
    id: bytes.toString('hex', 0, 16),
    timestamp: Number(bytes.readBigInt64LE(16)),
    receivedAt: Number(bytes.readBigInt64LE(24)),
    site: bytes.toString('latin1', 33, 33 + (bytes[32] ?? 0)),
  };
}
