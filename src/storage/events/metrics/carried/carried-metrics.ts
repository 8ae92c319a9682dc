import { Counter, Gauge } from 'prom-client';
import type { Telemetry } from '../../../../telemetry.js';

/** How an answer came about: nothing had changed, the changes were added, its whole period was counted. */
export type CarriedOutcome = 'unchanged' | 'carried' | 'counted';

export interface CarriedMetrics {
  add(outcome: CarriedOutcome, answers: number): void;
}

/**
 * @param keptLabels labels of which counts are kept now
 * @param copiedSessions sessions whose rows are copied now
 * @param waiting questions about whole big periods that wait for their turn
 */
export function carriedMetrics(
  telemetry: Pick<Telemetry, 'registry'> | undefined,
  keptLabels: () => number,
  copiedSessions: () => number,
  waiting: () => number,
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
  new Gauge({
    name: 'seentics_metrics_copied_sessions',
    help: 'Sessions of watched sites whose rows are kept copied side by side, because answers are carried on by them',
    registers,
    collect() {
      this.set(copiedSessions());
    },
  });
  new Gauge({
    name: 'seentics_metrics_whole_periods_waiting',
    help: 'Questions about whole big periods that wait for their turn, because one of them is read at a time',
    registers,
    collect() {
      this.set(waiting());
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

export interface FinishedMetrics {
  made(days: number): void;
  failed(): void;
}

/** @param running sites whose finished days are being made */
export function finishedMetrics(
  telemetry: Pick<Telemetry, 'registry'> | undefined,
  running: () => number,
): FinishedMetrics {
  if (telemetry === undefined) return { made: () => {}, failed: () => {} };
  const registers = [telemetry.registry];
  new Gauge({
    name: 'seentics_metrics_finishing_sites',
    help: 'Sites of which sessions of finished days are being put side by side, or wait for it',
    registers,
    collect() {
      this.set(running());
    },
  });
  const days = new Counter({
    name: 'seentics_metrics_finished_days_total',
    help: 'Days of sites whose sessions were put side by side',
    registers,
  });
  const failures = new Counter({
    name: 'seentics_metrics_finishing_failures_total',
    help: 'Times that putting sessions of finished days side by side failed; the rollup is read then, and ten minutes later it is tried again',
    registers,
  });
  return { made: (count) => days.inc(count), failed: () => failures.inc() };
}

export interface LookAheadMetrics {
  add(outcome: 'done' | 'failed', seconds: number): void;
}

/** @param watched sites that are looked ahead for */
export function lookAheadMetrics(
  telemetry: Pick<Telemetry, 'registry'> | undefined,
  watched: () => number,
): LookAheadMetrics {
  if (telemetry === undefined) return { add: () => {} };
  const registers = [telemetry.registry];
  new Gauge({
    name: 'seentics_metrics_watched_sites',
    help: 'Sites whose figures are being looked at, so that what has changed is found out before the next question',
    registers,
    collect() {
      this.set(watched());
    },
  });
  const looks = new Counter({
    name: 'seentics_metrics_looks_ahead_total',
    help: 'Looks at what has changed at watched sites, by outcome; after a failure the site is left to the next question',
    labelNames: ['outcome'],
    registers,
  });
  const time = new Counter({
    name: 'seentics_metrics_look_ahead_seconds_total',
    help: 'Time spent looking at what has changed at watched sites',
    registers,
  });
  return {
    add: (outcome, seconds) => {
      looks.inc({ outcome });
      time.inc(seconds);
    },
  };
}

export interface NextDayMetrics {
  counted(outcome: 'done' | 'failed'): void;
}

/** @param expected questions that are counted ahead when their day is over */
export function nextDayMetrics(
  telemetry: Pick<Telemetry, 'registry'> | undefined,
  expected: () => number,
): NextDayMetrics {
  if (telemetry === undefined) return { counted: () => {} };
  const registers = [telemetry.registry];
  new Gauge({
    name: 'seentics_metrics_recurring_questions',
    help: 'Questions about running periods that were asked in the last three days, and are counted for the next day when it begins',
    registers,
    collect() {
      this.set(expected());
    },
  });
  const counted = new Counter({
    name: 'seentics_metrics_recurring_questions_counted_total',
    help: 'Questions that were counted for a new day before anybody asked, by outcome; what failed is counted when it is asked',
    labelNames: ['outcome'],
    registers,
  });
  return { counted: (outcome) => counted.inc({ outcome }) };
}
