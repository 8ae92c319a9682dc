import { Counter, Gauge, type Registry } from 'prom-client';

/** What goes out and comes in as files. */
export interface TransferMetrics {
  readonly exportedEvents: Counter;
  /** By `outcome`: added, duplicate, rejected. */
  readonly importedRows: Counter<'outcome'>;
  readonly importsRunning: Gauge;
  readonly importFailures: Counter;
}

export function transferMetrics(registry: Registry): TransferMetrics {
  const registers = [registry];
  return {
    exportedEvents: new Counter({
      name: 'seentics_export_events_total',
      help: 'Stored events that were written into files for their owners',
      registers,
    }),
    importedRows: new Counter({
      name: 'seentics_import_rows_total',
      help: 'Rows of imported files by what became of them: added, duplicate, rejected',
      labelNames: ['outcome'],
      registers,
    }),
    importsRunning: new Gauge({
      name: 'seentics_import_running',
      help: 'Imports, and undoings of imports, that this node is working on',
      registers,
    }),
    importFailures: new Counter({
      name: 'seentics_import_failures_total',
      help: 'Times that work on an import ended early: something was away, or a defect',
      registers,
    }),
  };
}
