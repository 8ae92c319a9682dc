/** Entry of an enrichment worker: one task in, one result out, both as transferred buffers. */
import { move, workerData } from 'piscina';
import { ByteWriter } from './byte-writer.js';
import { RequestEnricher } from './enrich-request.js';
import type { EnrichOutcome, EnrichRequest, EnrichWorkerOptions } from './protocol.js';
import { type ReadySite, SiteTable } from './site-table.js';
import { decodeTask, encodeResult } from './wire.js';

/** Sites a worker remembers decoded. */
const SITES = 10_000;
/** The scratch buffer starts with this size and is let go when one task has made it larger than the limit. */
const SCRATCH_BYTES = 256 << 10;
const SCRATCH_LIMIT_BYTES = 8 << 20;

const options: EnrichWorkerOptions = workerData;
const enricher = new RequestEnricher(options);
const sites = new SiteTable(SITES);
let failure: string | null = null;
let scratch = new ByteWriter(SCRATCH_BYTES);

export default function run(task: ArrayBuffer): unknown {
  const outcomes: EnrichOutcome[] = [];
  const tookMs: number[] = [];
  scratch.at = 0;
  failure = null;
  const { salts, requests } = decodeTask(task, sites);
  enricher.salts = salts;
  let before = performance.now();
  for (const { request, site } of requests) {
    outcomes.push(enrichSafely(request, site));
    const after = performance.now();
    tookMs.push(after - before);
    before = after;
  }
  // Keys of the day live no longer here than a task.
  enricher.salts = [];
  for (const { key } of salts) key.fill(0);
  const result = encodeResult(scratch, {
    outcomes,
    tookMs,
    geoFailure: enricher.geo.takeFailure(),
    failure,
  });
  if (scratch.buffer.length > SCRATCH_LIMIT_BYTES) scratch = new ByteWriter(SCRATCH_BYTES);
  return move(result);
}

/** A failure that no input should be able to cause; the neighbours in the task must not pay for it. */
function enrichSafely(request: EnrichRequest, site: ReadySite | null): EnrichOutcome {
  const start = scratch.at;
  try {
    return enricher.enrich(request, site, scratch);
  } catch (error) {
    scratch.at = start;
    failure = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { outcome: 'refused', code: 'internal', message: 'the event could not be processed', received: 1 };
  }
}
