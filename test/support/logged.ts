import { pino } from 'pino';
import { silentTelemetry, type Telemetry } from '../../src/telemetry.js';

/** Log lines as the product writes them, kept. */
export interface Logged {
  readonly lines: readonly string[];
  /** A telemetry that logs here; each has a registry of its own. */
  telemetry(): Telemetry;
}

export function loggedTelemetry(): Logged {
  const lines: string[] = [];
  const log = pino({ level: 'trace', base: null }, { write: (line: string) => void lines.push(line) });
  return { lines, telemetry: () => ({ ...silentTelemetry(), log }) };
}
