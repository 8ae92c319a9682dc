import { Counter, Gauge, type Registry } from 'prom-client';

/** What becomes of uploads; `reason` is one of a few words of ours. */
export type UploadOutcome = 'stored' | 'ignored' | 'rejected' | 'busy' | 'failed';

export interface RecorderMetrics {
  readonly uploads: Counter<'outcome' | 'reason'>;
  readonly rawBytes: Counter;
  readonly storedBytes: Counter;
  readonly events: Counter;
  readonly removed: Counter;
}

/** @param inFlight bytes of the uploads that are not answered yet */
export function recorderMetrics(registry: Registry, inFlight: () => number): RecorderMetrics {
  const registers = [registry];
  const counter = (name: string, help: string) => new Counter({ name, help, registers });
  new Gauge({
    name: 'seentics_recording_in_flight_bytes',
    help: 'Bytes of the uploads that are not answered yet',
    registers,
    collect() {
      this.set(inFlight());
    },
  });
  return {
    uploads: new Counter({
      name: 'seentics_recording_uploads_total',
      help: 'Uploads of recorders by what became of them, and why',
      labelNames: ['outcome', 'reason'],
      registers,
    }),
    rawBytes: counter('seentics_recording_raw_bytes_total', 'Bytes of events accepted, as JSON text'),
    storedBytes: counter(
      'seentics_recording_compressed_bytes_total',
      'The same bytes compressed, as they are stored',
    ),
    events: counter('seentics_recording_events_total', 'Events of recordings accepted'),
    removed: counter('seentics_recording_removed_total', 'Scripts, handlers, links and frames taken out'),
  };
}
