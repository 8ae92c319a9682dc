import { Counter, Histogram, type Registry } from 'prom-client';
import type { RowTable } from '../../events/tables.js';
import { type EventStore, RowsRefusedError } from './event-store.js';

/** Measures the inserts of a store. */
export class InsertMetrics {
  private readonly seconds: Histogram<'store' | 'table' | 'outcome'>;
  private readonly rows: Counter<'store' | 'table'>;
  private readonly bytes: Counter<'store' | 'table'>;

  constructor(
    registry: Registry,
    private readonly store: EventStore['kind'],
  ) {
    this.seconds = new Histogram({
      name: 'seentics_event_store_insert_seconds',
      help: 'Time of one insert into the event store by outcome (stored, refused, unavailable).',
      labelNames: ['store', 'table', 'outcome'],
      buckets: [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
      registers: [registry],
    });
    this.rows = new Counter({
      name: 'seentics_event_store_rows_total',
      help: 'Rows of inserts that the event store has confirmed, repeated blocks included.',
      labelNames: ['store', 'table'],
      registers: [registry],
    });
    this.bytes = new Counter({
      name: 'seentics_event_store_bytes_total',
      help: 'Row bytes of inserts that the event store has confirmed, repeated blocks included.',
      labelNames: ['store', 'table'],
      registers: [registry],
    });
  }

  /** Runs an insert and counts how it went. */
  async measure(table: RowTable, rows: readonly Uint8Array[], insert: () => Promise<void>): Promise<void> {
    const labels = { store: this.store, table };
    const end = this.seconds.startTimer(labels);
    try {
      await insert();
    } catch (error) {
      end({ outcome: error instanceof RowsRefusedError ? 'refused' : 'unavailable' });
      throw error;
    }
    end({ outcome: 'stored' });
    this.rows.inc(labels, rows.length);
    let bytes = 0;
    for (const row of rows) bytes += row.length;
    this.bytes.inc(labels, bytes);
  }
}
