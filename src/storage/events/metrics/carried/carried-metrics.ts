import { Counter, Gauge } from 'prom-client';
import type { Telemetry } from '../../../../telemetry.js';

/** How an answer came about: nothing had changed, the changes were added, its whole period was counted. */
export type CarriedOutcome = 'unchanged' | 'carried' | 'counted';

export interface CarriedMetrics {
  add(outcome: CarriedOutcome, answers: number): void;
}

/** @param keptLabels labels of which counts are kept now */
export function carriedMetrics(
  telemetry: Pick<Telemetry, 'registry'> | undefined,
  keptLabels: () => number,
): CarriedMetrics {
  if (telemetry === undefined) return { add: () => {} };
  const registers = [telemetry.registry];
  new Gauge({
    name: 'seentics_metrics_kept_labels',
    help: 'Labels (pages, countries, days and so on) of which counts are kept in memory to carry answers on',
    registers,
    collect() {
      this.set(keptLabels());
    },
  });
  const answers = new Counter({
    name: 'seentics_metrics_carried_answers_total',
    help: 'Answers about big periods by how they came about: unchanged, carried on by what had arrived, or counted anew',
    labelNames: ['outcome'],
    registers,
  });
  return { add: (outcome, count) => answers.inc({ outcome }, count) };
}
