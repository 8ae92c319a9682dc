/** Counters of the intake: plain numbers on the hot path, handed to Prometheus when it asks. */
import { Counter, Gauge, type Registry } from 'prom-client';
import type { ErrorCode } from '../errors.js';
import type { Source } from '../events/frame.js';
import type { FairQueue } from './fair-queue.js';
import type { RejectedEvent, RejectionCode } from './protocol.js';

export class IntakeMetrics {
  private readonly accepted = new Map<Source, number>();
  private lost = 0;
  private readonly rejections = new Map<RejectionCode | 'other', number>();
  private readonly refusals = new Map<ErrorCode, number>();

  constructor(registry: Registry, queue: FairQueue<unknown>) {
    const registers = [registry];
    labelled(
      registry,
      'seentics_ingest_events_accepted_total',
      'Events (bots included), heat points and funnel events turned into rows, by source.',
      this.accepted,
      'source',
    );
    counter(
      registry,
      'seentics_ingest_books_lost_total',
      'Refused events that could not be counted in the books.',
      () => this.lost,
    );
    labelled(
      registry,
      'seentics_ingest_events_rejected_total',
      'Single events refused for good.',
      this.rejections,
    );
    labelled(
      registry,
      'seentics_ingest_requests_refused_total',
      'Whole record requests not taken.',
      this.refusals,
    );
    new Gauge({
      name: 'seentics_ingest_queue_requests',
      help: 'Record requests that wait for enrichment.',
      registers,
      collect() {
        this.set(queue.items);
      },
    });
    new Gauge({
      name: 'seentics_ingest_queue_bytes',
      help: 'Bytes of the record requests that wait for enrichment.',
      registers,
      collect() {
        this.set(queue.bytes);
      },
    });
  }

  /** @param errors the first of the rejected; those beyond the list count as `other` */
  events(source: Source, accepted: number, rejected: number, errors: readonly RejectedEvent[]): void {
    add(this.accepted, source, accepted);
    if (rejected === 0) return;
    for (const { code } of errors) add(this.rejections, code, 1);
    if (rejected > errors.length) add(this.rejections, 'other', rejected - errors.length);
  }

  refused(code: ErrorCode): void {
    add(this.refusals, code, 1);
  }

  booksLost(events: number): void {
    this.lost += events;
  }
}

function add<K>(counts: Map<K, number>, key: K, by: number): void {
  counts.set(key, (counts.get(key) ?? 0) + by);
}

function counter(registry: Registry, name: string, help: string, value: () => number): void {
  new Counter({
    name,
    help,
    registers: [registry],
    collect() {
      this.reset();
      this.inc(value());
    },
  });
}

function labelled(
  registry: Registry,
  name: string,
  help: string,
  counts: ReadonlyMap<string, number>,
  label = 'code',
): void {
  new Counter({
    name,
    help,
    labelNames: [label],
    registers: [registry],
    collect() {
      this.reset();
      for (const [value, count] of counts) this.inc({ [label]: value }, count);
    },
  });
}
