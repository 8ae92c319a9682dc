/** The enrichment pool: worker threads that share the geo databases. */
import { fileURLToPath } from 'node:url';
import { Piscina } from 'piscina';
import { Counter, Gauge, Histogram } from 'prom-client';
import { AppError } from '../errors.js';
import type { Telemetry } from '../telemetry.js';
import { type GeoImage, type GeoSource, loadGeoImage } from './geo-database.js';
import {
  DEFAULT_LIMITS,
  type EnrichLimits,
  type EnrichRequest,
  type EnrichResult,
  type EnrichWorkerOptions,
} from './protocol.js';
import type { DailySalt } from './visitor-hash.js';
import { decodeResult, encodeTask } from './wire.js';

export interface EnrichPoolOptions {
  /** Worker threads, at least 1. */
  readonly threads: number;
  /** Most tasks that wait for a worker; the intake keeps fewer in flight. Default: two a thread. */
  readonly maxQueue?: number;
  readonly geo: GeoSource;
  readonly production: boolean;
  /** Default: 1,000 events a batch, 30 days. */
  readonly limits?: Partial<EnrichLimits>;
  /** The keys of the present moment for visitors who bring no id; without, their events are rejected. */
  readonly salts?: () => readonly DailySalt[];
  readonly telemetry: Telemetry;
}

export interface EnrichPool {
  readonly threads: number;
  /** Whether places can be looked up. */
  readonly geoEnabled: boolean;
  /**
   * Enriches a micro-batch of requests; outcomes in their order.
   * @throws AppError `overloaded` when too many tasks wait or the worker died
   */
  enrich(requests: readonly EnrichRequest[]): Promise<EnrichResult>;
  /** Ends the workers when their tasks are done. */
  close(): Promise<void>;
}

/** A pool and the databases that it has loaded, for others who look places up in workers of their own. */
export interface LoadedEnrichPool extends EnrichPool {
  readonly geoImage: GeoImage;
}

/**
 * Loads the geo databases and starts the workers.
 * @throws Error when the workers cannot run
 */
export async function createEnrichPool(options: EnrichPoolOptions): Promise<LoadedEnrichPool> {
  const { threads, telemetry } = options;
  const geo = await loadGeoImage(options.geo, telemetry.log);
  const workerData: EnrichWorkerOptions = {
    geo,
    production: options.production,
    limits: { ...DEFAULT_LIMITS, ...options.limits },
  };
  const pool = new Piscina<ArrayBuffer, ArrayBuffer>({
    filename: workerFile(),
    minThreads: threads,
    maxThreads: threads,
    // A second task waits in the worker's own port, so that it never idles for a turn of the main loop.
    concurrentTasksPerWorker: 2,
    maxQueue: options.maxQueue ?? threads * 2,
    recordTiming: false,
    workerData,
  });
  pool.on('error', (error: unknown) => telemetry.log.error({ err: error }, 'an enrichment worker failed'));
  try {
    // Workers that cannot load their code are a reason not to start, not an answer to each request.
    await Promise.all(Array.from({ length: threads }, () => pool.run(encodeTask([]))));
  } catch (error) {
    await pool.destroy();
    throw error;
  }
  return new PiscinaPool(pool, threads, geo, telemetry, options.salts ?? (() => []));
}

/** The compiled worker; threads cannot load TypeScript, so sources under test use the build too. */
function workerFile(): string {
  const here = import.meta.url;
  const compiled = here.endsWith('.ts') ? '../../dist/enrich/worker.js' : './worker.js';
  return fileURLToPath(new URL(compiled, here));
}

class PiscinaPool implements LoadedEnrichPool {
  private readonly seconds: Histogram;
  private readonly requests: Counter;
  private geoFailed = false;

  constructor(
    private readonly pool: Piscina<ArrayBuffer, ArrayBuffer>,
    readonly threads: number,
    readonly geoImage: GeoImage,
    private readonly telemetry: Telemetry,
    private readonly salts: () => readonly DailySalt[],
  ) {
    const registers = [telemetry.registry];
    this.seconds = new Histogram({
      name: 'seentics_enrich_task_seconds',
      help: 'Time of a micro-batch from hand-over to result.',
      buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5],
      registers,
    });
    this.requests = new Counter({
      name: 'seentics_enrich_requests_total',
      help: 'Requests handed to the enrichment pool.',
      registers,
    });
    new Gauge({
      name: 'seentics_enrich_waiting_tasks',
      help: 'Micro-batches that wait for a worker.',
      registers,
      collect() {
        this.set(pool.queueSize);
      },
    });
  }

  get geoEnabled(): boolean {
    return this.geoImage.length > 0 && !this.geoFailed;
  }

  async enrich(requests: readonly EnrichRequest[]): Promise<EnrichResult> {
    const started = performance.now();
    const task = encodeTask(requests, this.salts());
    const bytes = await this.run(task);
    const result = decodeResult(bytes, requests.length);
    this.seconds.observe((performance.now() - started) / 1000);
    this.requests.inc(requests.length);
    if (result.geoFailure !== null) this.reportGeo(result.geoFailure);
    if (result.failure !== null)
      this.telemetry.log.error({ reason: result.failure }, 'a request could not be enriched');
    return result;
  }

  async close(): Promise<void> {
    await this.pool.close();
  }

  private async run(task: ArrayBuffer): Promise<ArrayBuffer> {
    try {
      return await this.pool.run(task, { transferList: [task] });
    } catch (error) {
      throw new AppError('overloaded', 'the event could not be processed now', {
        cause: error,
        retryAfterSeconds: 1,
      });
    }
  }

  private reportGeo(reason: string): void {
    if (!this.geoFailed) this.telemetry.log.error({ reason }, 'geo is off: the database is damaged');
    this.geoFailed = true;
  }
}
