import { Counter, Histogram, type Registry } from 'prom-client';

export interface RecordingStoreMetrics {
  readonly putSeconds: Histogram;
  readonly objects: Counter;
  readonly objectBytes: Counter;
  readonly dropped: Counter;
  readonly rewritten: Counter;
  readonly orphans: Counter;
  readonly sweepFailures: Counter;
  readonly missing: Counter;
}

export function recordingStoreMetrics(registry: Registry): RecordingStoreMetrics {
  const registers = [registry];
  const counter = (name: string, help: string) => new Counter({ name, help, registers });
  return {
    putSeconds: new Histogram({
      name: 'seentics_recording_put_seconds',
      help: 'Time of writing an object with recordings',
      buckets: [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
      registers,
    }),
    objects: counter('seentics_recording_objects_total', 'Objects with recordings written'),
    objectBytes: counter('seentics_recording_object_bytes_total', 'Bytes of them'),
    dropped: counter(
      'seentics_recording_dropped_parts_total',
      'Parts that came for a session or a site after its deletion',
    ),
    rewritten: counter(
      'seentics_replay_rewritten_objects_total',
      'Objects written anew without a deleted session',
    ),
    orphans: counter(
      'seentics_replay_orphans_total',
      'Objects that a crash had left without a row in the index, removed',
    ),
    sweepFailures: counter(
      'seentics_replay_sweep_failures_total',
      'Rounds of upkeep that failed and come again',
    ),
    missing: counter('seentics_replay_missing_chunks_total', 'Chunks that could not be read when asked for'),
  };
}
