import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** The metrics of all streams of a process; `stream` is `local`, `spool`, `jetstream` or `recordings`. */
export interface StreamMetrics {
  readonly appendSeconds: Histogram<'stream'>;
  readonly appendedMessages: Counter<'stream'>;
  readonly appendedBytes: Counter<'stream'>;
  readonly appendErrors: Counter<'stream' | 'reason'>;
  readonly deliveredMessages: Counter<'stream'>;
  readonly inFlightBytes: Gauge<'stream'>;
  readonly storedBytes: Gauge<'stream'>;
  readonly lagMessages: Gauge<'stream'>;
  readonly commits: Counter<'stream'>;
  readonly damagedBytes: Counter<'stream'>;
  readonly ownedPartitions: Gauge<'stream'>;
  readonly leaseChanges: Counter<'stream' | 'change'>;
  readonly spooledMessages: Counter<'direction'>;
  readonly watermarkRefusals: Counter<'source'>;
  readonly publisherBytes: Gauge;
  readonly publisherFrames: Counter;
  readonly publisherMessages: Counter;
}

const known = new WeakMap<Registry, StreamMetrics>();

/** The stream metrics of this registry, made at the first call: several streams share them, told apart by a label. */
export function streamMetrics(registry: Registry): StreamMetrics {
  let metrics = known.get(registry);
  if (metrics === undefined) {
    metrics = create(registry);
    known.set(registry, metrics);
  }
  return metrics;
}

function create(registry: Registry): StreamMetrics {
  const registers = [registry];
  const stream = { registers, labelNames: ['stream'] as const };
  return {
    appendSeconds: new Histogram({
      ...stream,
      name: 'seentics_stream_append_seconds',
      help: 'Time from append to durable acknowledgement.',
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    }),
    appendedMessages: new Counter({
      ...stream,
      name: 'seentics_stream_appended_messages_total',
      help: 'Messages acknowledged as durable.',
    }),
    appendedBytes: new Counter({
      ...stream,
      name: 'seentics_stream_appended_bytes_total',
      help: 'Payload bytes acknowledged as durable.',
    }),
    appendErrors: new Counter({
      registers,
      labelNames: ['stream', 'reason'] as const,
      name: 'seentics_stream_append_errors_total',
      help: 'Appends refused, by reason: full or unavailable.',
    }),
    deliveredMessages: new Counter({
      ...stream,
      name: 'seentics_stream_delivered_messages_total',
      help: 'Messages handed to the partition consumer.',
    }),
    inFlightBytes: new Gauge({
      ...stream,
      name: 'seentics_stream_in_flight_bytes',
      help: 'Payload bytes waiting for their durable acknowledgement.',
    }),
    storedBytes: new Gauge({ ...stream, name: 'seentics_stream_stored_bytes', help: 'Bytes in the stream.' }),
    lagMessages: new Gauge({
      ...stream,
      name: 'seentics_stream_lag_messages',
      help: 'Messages appended and not yet acknowledged by a writer.',
    }),
    commits: new Counter({
      ...stream,
      name: 'seentics_stream_commits_total',
      help: 'Group commits: one write and one flush to disk each.',
    }),
    damagedBytes: new Counter({
      ...stream,
      name: 'seentics_stream_damaged_bytes_total',
      help: 'Bytes of the local log that were damaged on disk and skipped.',
    }),
    ownedPartitions: new Gauge({
      ...stream,
      name: 'seentics_stream_owned_partitions',
      help: 'Partitions whose single consumer is this process.',
    }),
    leaseChanges: new Counter({
      registers,
      labelNames: ['stream', 'change'] as const,
      name: 'seentics_stream_lease_changes_total',
      help: 'Partition leases acquired, released and lost.',
    }),
    spooledMessages: new Counter({
      registers,
      labelNames: ['direction'] as const,
      name: 'seentics_stream_spooled_messages_total',
      help: 'Messages written to the spool because the stream was away (in), and moved from it to the stream (out).',
    }),
    watermarkRefusals: new Counter({
      registers,
      labelNames: ['source'] as const,
      name: 'seentics_publisher_watermark_refusals_total',
      help: 'Frames of heatmaps and funnels refused to leave the rest of the stream to events.',
    }),
    publisherBytes: new Gauge({
      registers,
      name: 'seentics_publisher_waiting_bytes',
      help: 'Bytes of site frames that wait for their durable acknowledgement.',
    }),
    publisherFrames: new Counter({
      registers,
      name: 'seentics_publisher_frames_total',
      help: 'Site frames that became durable.',
    }),
    publisherMessages: new Counter({
      registers,
      name: 'seentics_publisher_messages_total',
      help: 'Stream messages that carried them.',
    }),
  };
}
