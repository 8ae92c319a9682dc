import { type Logger, pino, stdSerializers } from 'pino';
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
    log: pino({ level, base, timestamp: pino.stdTimeFunctions.isoTime, serializers: { err: shownError } }),
    registry: new Registry(),
  };
}

/** Telemetry that keeps quiet, for tests and benches. */
export function silentTelemetry(): Telemetry {
  return createTelemetry('silent');
}

/** What says something of a failure and nothing of whom it was about. */
const SHOWN = ['code', 'errno', 'syscall', 'severity', 'schema', 'table', 'constraint', 'routine'] as const;
/** Errors that one error holds. */
const MAX_PARTS = 5;

/**
 * What of an error goes into the log. Libraries hang more on theirs: commands with their arguments (keys with visitors' addresses among
 * them), rows that a database refused, whole requests.
 */
export function shownError(error: unknown): unknown {
  if (!(error instanceof Error)) return typeof error === 'string' ? error : { message: String(error) };
  const { type, message, stack } = stdSerializers.err(error);
  const more = SHOWN.flatMap((name) => {
    const value: unknown = Reflect.get(error, name);
    return typeof value === 'string' || typeof value === 'number' ? [[name, value] as const] : [];
  });
  const parts = error instanceof AggregateError ? error.errors.slice(0, MAX_PARTS).map(shownError) : [];
  return { type, message, stack, ...Object.fromEntries(more), ...(parts.length === 0 ? {} : { parts }) };
}
