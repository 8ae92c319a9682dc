import { type Logger, pino } from 'pino';
import { Registry } from 'prom-client';

export type { Logger } from 'pino';

/** What every room needs to be seen from outside: a logger and the Prometheus registry of this process. */
export interface Telemetry {
  readonly log: Logger;
  readonly registry: Registry;
}

/**
 * Creates the process's telemetry. Log lines are JSON on stdout (one line an incident, never one a request; no secrets, no
 * visitor addresses).
 * @param level pino level name (`trace` to `fatal`, or `silent`)
 * @param ofProcess number of this process, which its lines name, where a node has several
 */
export function createTelemetry(level: string, ofProcess?: number): Telemetry {
  const base = ofProcess === undefined ? null : { process: ofProcess };
  return {
    log: pino({ level, base, timestamp: pino.stdTimeFunctions.isoTime }),
    registry: new Registry(),
  };
}

/** Telemetry that keeps quiet, for tests and benches. */
export function silentTelemetry(): Telemetry {
  return createTelemetry('silent');
}
