import { fileURLToPath } from 'node:url';
import { Piscina } from 'piscina';
import { Gauge, Histogram } from 'prom-client';
import type { GeoImage } from '../enrich/geo-database.js';
import { AppError } from '../errors.js';
import type { Telemetry } from '../telemetry.js';
import type { RecordingOutcome, RecordingTask, RecordingWorkerOptions } from './recording-protocol.js';

export interface RecordingPoolOptions {
  /** Most threads. Default 1: one sanitises some 30 MB of recordings a second. */
  readonly threads?: number;
  /** Uploads that wait for a thread; further ones are refused. Default 64. */
  readonly maxQueue?: number;
  /** A thread without work ends after this time, ms. Default 30,000. */
  readonly idleMs?: number;
  readonly geo: GeoImage;
  readonly telemetry: Telemetry;
}

/** Sanitises and compresses uploads outside of the main thread and of the events' pool, which a snapshot of 10 MB would hold up. */
export interface RecordingPool {
  /**
   * @throws AppError `overloaded` when too many wait or the worker died
   */
  run(task: RecordingTask): Promise<RecordingOutcome>;
  close(): Promise<void>;
}

/** Starts no thread before the first upload, so that it costs nothing where nobody records. */
export function createRecordingPool(options: RecordingPoolOptions): RecordingPool {
  const { threads = 1, maxQueue = 64, idleMs = 30_000, geo, telemetry } = options;
  const workerData: RecordingWorkerOptions = { geo };
  let pool: Piscina<RecordingTask, RecordingOutcome> | undefined;
  const open = (): Piscina<RecordingTask, RecordingOutcome> => {
    const made = new Piscina<RecordingTask, RecordingOutcome>({
      filename: workerFile(),
      minThreads: 0,
      maxThreads: threads,
      idleTimeout: idleMs,
      maxQueue,
      recordTiming: false,
      workerData,
    });
    made.on('error', (error: unknown) => telemetry.log.error({ err: error }, 'a recording worker failed'));
    return made;
  };
  const seconds = metrics(telemetry, () => pool);
  return {
    async run(task) {
      pool ??= open();
      const end = seconds.startTimer();
      try {
        return await pool.run(task, { transferList: [task.body] });
      } catch (error) {
        throw new AppError('overloaded', 'the recording could not be processed now', {
          cause: error,
          retryAfterSeconds: 5,
        });
      } finally {
        end();
      }
    },
    async close() {
      await pool?.close();
    },
  };
}

function metrics({ registry }: Telemetry, pool: () => Piscina | undefined): Histogram {
  const gauge = (name: string, help: string, value: (pool: Piscina) => number) =>
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        const now = pool();
        this.set(now === undefined ? 0 : value(now));
      },
    });
  gauge('seentics_recording_waiting_tasks', 'Uploads that wait for a thread', (it) => it.queueSize);
  gauge('seentics_recording_threads', 'Threads that are started', (it) => it.threads.length);
  return new Histogram({
    name: 'seentics_recording_task_seconds',
    help: 'Time of an upload in the recording pool, waiting included',
    buckets: [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    registers: [registry],
  });
}

/** The compiled worker; threads cannot load TypeScript, so sources under test use the build too. */
function workerFile(): string {
  const here = import.meta.url;
  const compiled = here.endsWith('.ts') ? '../../dist/replays/recording-worker.js' : './recording-worker.js';
  return fileURLToPath(new URL(compiled, here));
}
