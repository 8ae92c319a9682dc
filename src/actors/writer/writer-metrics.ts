import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

export type RowOutcome = 'stored' | 'duplicate' | 'bot' | 'rejected' | 'quarantined';

/** What the metrics read when they are scraped. */
export interface WriterFigures {
  rowsHeld(): number;
  bytesHeld(): number;
  windowIds(): number;
  windowBytes(): number;
}

export interface WriterMetrics {
  readonly rows: Counter<'outcome'>;
  readonly insertSeconds: Histogram<'table'>;
  readonly blockRows: Histogram;
  readonly observeSeconds: Histogram;
  readonly observedRows: Counter;
  readonly failures: Counter<'step'>;
  readonly unrepaired: Counter;
  readonly splits: Counter;
  readonly lookups: Counter;
  readonly undecodableMessages: Counter;
}

/** @param name of the writer, in front of its metrics: a process may have several */
export function writerMetrics(registry: Registry, figures: WriterFigures, name: string): WriterMetrics {
  const window = name === 'writer' ? 'seentics_dedupe_window' : `seentics_${name}_dedupe_window`;
  const gauge = (metric: string, help: string, value: () => number) =>
    new Gauge({
      name: metric,
      help,
      registers: [registry],
      collect() {
        this.set(value());
      },
    });
  gauge(`seentics_${name}_rows`, 'Rows taken from the stream and not stored yet', figures.rowsHeld);
  gauge(`seentics_${name}_bytes`, 'Bytes of messages taken and not acknowledged yet', figures.bytesHeld);
  gauge(`${window}_ids`, 'Ids in the dedupe window', figures.windowIds);
  gauge(`${window}_bytes`, 'Memory of the dedupe window', figures.windowBytes);
  return {
    rows: new Counter({
      name: `seentics_${name}_rows_total`,
      help: 'Rows by what became of them',
      labelNames: ['outcome'],
      registers: [registry],
    }),
    insertSeconds: new Histogram({
      name: `seentics_${name}_insert_seconds`,
      help: 'Time of an insert into the event store',
      labelNames: ['table'],
      buckets: [0.01, 0.03, 0.1, 0.3, 1, 3, 10],
      registers: [registry],
    }),
    blockRows: new Histogram({
      name: `seentics_${name}_block_rows`,
      help: 'Rows of a block',
      buckets: [1, 10, 100, 1_000, 10_000, 100_000],
      registers: [registry],
    }),
    observeSeconds: new Histogram({
      name: `seentics_${name}_observe_seconds`,
      help: 'Time in which a block was shown to the observer (automations) before it was stored',
      buckets: [0.001, 0.01, 0.03, 0.1, 0.3, 1, 3, 10],
      registers: [registry],
    }),
    observedRows: new Counter({
      name: `seentics_${name}_observed_rows_total`,
      help: 'Events that the observer (automations) has seen',
      registers: [registry],
    }),
    failures: new Counter({
      name: `seentics_${name}_failures_total`,
      help: 'Attempts that failed, by step: the event store did not answer, or the observer',
      labelNames: ['step'],
      registers: [registry],
    }),
    unrepaired: new Counter({
      name: `seentics_${name}_unrepaired_total`,
      help: 'Partitions whose figures could not be checked after a crash of the event store: they may be wrong',
      registers: [registry],
    }),
    splits: new Counter({
      name: `seentics_${name}_splits_total`,
      help: 'Blocks or parts of them that the event store refused',
      registers: [registry],
    }),
    lookups: new Counter({
      name: `seentics_${name}_lookup_ids_total`,
      help: 'Ids asked for in the event store',
      registers: [registry],
    }),
    undecodableMessages: new Counter({
      name: `seentics_${name}_undecodable_messages_total`,
      help: 'Messages of the stream that could not be decoded and went to the quarantine whole, under the empty site id',
      registers: [registry],
    }),
  };
}
