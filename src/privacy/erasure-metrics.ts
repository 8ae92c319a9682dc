import { Counter, Histogram, type Registry } from 'prom-client';

export interface ErasureMetrics {
  readonly dropped: Counter;
  readonly erasures: Counter<'subject' | 'outcome'>;
  readonly seconds: Histogram<'subject'>;
  readonly requests: Counter<'type' | 'outcome'>;
}

export function erasureMetrics(registry: Registry): ErasureMetrics {
  const registers = [registry];
  return {
    dropped: new Counter({
      name: 'seentics_erased_rows_dropped_total',
      help: 'Rows that came out of a stream after their site or visitor was erased, and were not stored',
      registers,
    }),
    erasures: new Counter({
      name: 'seentics_erasures_total',
      help: 'Erasures of sites and visitors by outcome; a failed one is tried again',
      labelNames: ['subject', 'outcome'],
      registers,
    }),
    seconds: new Histogram({
      name: 'seentics_erasure_seconds',
      help: 'Time that an erasure took, draining the streams included',
      labelNames: ['subject'],
      buckets: [0.5, 1, 2.5, 5, 10, 30, 60, 300],
      registers,
    }),
    requests: new Counter({
      name: 'seentics_privacy_requests_total',
      help: 'Attempts to do what accounts asked for about personal data',
      labelNames: ['type', 'outcome'],
      registers,
    }),
  };
}
