import { Counter, type Registry } from 'prom-client';

/** What goes out and comes in as files. */
export interface TransferMetrics {
  readonly exportedEvents: Counter;
}

export function transferMetrics(registry: Registry): TransferMetrics {
  return {
    exportedEvents: new Counter({
      name: 'seentics_export_events_total',
      help: 'Stored events that were written into files for their owners',
      registers: [registry],
    }),
  };
}
