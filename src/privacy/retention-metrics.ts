import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

export function retentionMetrics(registry: Registry) {
  const registers = [registry];
  return {
    runs: new Counter({
      name: 'seentics_retention_runs_total',
      help: 'Runs that remove expired data: complete, partial (the time was over) or failed',
      labelNames: ['outcome'],
      registers,
    }),
    removed: new Counter({
      name: 'seentics_retention_removed_total',
      help: 'Expired rows (of recordings: objects) that were removed, by table',
      labelNames: ['what'],
      registers,
    }),
    seconds: new Histogram({
      name: 'seentics_retention_run_seconds',
      help: 'Time of a run, the waiting for other nodes included',
      buckets: [0.1, 1, 10, 60, 300, 1_800],
      registers,
    }),
    lastSuccess: new Gauge({
      name: 'seentics_retention_last_success_timestamp_seconds',
      help: 'When this node last completed a run; 0 never',
      registers,
    }),
  };
}

export type RetentionMetrics = ReturnType<typeof retentionMetrics>;
