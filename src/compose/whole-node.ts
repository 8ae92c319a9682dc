/** What a process answers for the whole node: operators ask a port, not a process. */
import { AggregatorRegistry, type Registry } from 'prom-client';
import Type from 'typebox';
import { Value } from 'typebox/value';
import { Part, type PartStatus } from '../edge/routes/system.js';
import type { Link } from '../supervisor/link.js';

export interface NodeView {
  /** Prometheus text. */
  metrics(): Promise<string>;
  parts(): Promise<readonly PartStatus[]>;
}

/**
 * @param parts of this process
 * @param link to the parent; undefined: this process is the node
 */
export function viewOfNode(
  registry: Registry,
  parts: () => Promise<readonly PartStatus[]>,
  link: Link | undefined,
): NodeView {
  if (link === undefined) return { metrics: () => registry.metrics(), parts };
  link.answer('metrics', () => registry.getMetricsAsJSON());
  link.answer('parts', parts);
  return {
    async metrics() {
      const { answers } = await link.gather('metrics');
      return withProcessLabels(answers);
    },
    async parts() {
      const { answers, missing } = await link.gather('parts');
      const known = answers.flatMap(({ process, data }) =>
        Value.Check(Parts, data) ? [{ process, parts: data }] : [],
      );
      return [...mergedParts(known), presence(answers.length, missing)];
    },
  };
}

const Parts = Type.Array(Part);

interface Answer {
  readonly process: number;
  readonly data: unknown;
}

/**
 * Every series with the label `process`. Sums would fall whenever a process is replaced, and Prometheus would take that for a restart of
 * all of them; and sums, averages or first values of gauges say little. Series of the parent (process 0) speak of the node and stay as they are.
 */
function withProcessLabels(answers: readonly Answer[]): Promise<string> {
  const labelled = answers.map(({ process, data }) => {
    if (!Array.isArray(data)) return [];
    const metrics: readonly unknown[] = data;
    return metrics.filter(isMetric).map((metric) => ({
      ...metric,
      // No two series are the same, so nothing is summed; but every one is taken, which other aggregations do not promise.
      aggregator: 'sum',
      values:
        process === 0
          ? metric.values
          : metric.values.map((value) => ({ ...value, labels: { ...value.labels, process } })),
    }));
  });
  return AggregatorRegistry.aggregate(labelled).metrics();
}

interface Metric {
  readonly values: readonly { readonly labels: object }[];
}

function isMetric(value: unknown): value is Metric {
  if (typeof value !== 'object' || value === null || !('values' in value)) return false;
  return Array.isArray(value.values) && value.values.every(hasLabels);
}

function hasLabels(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'labels' in value && typeof value.labels === 'object';
}

const SEVERITY = { up: 0, degraded: 1, down: 2 } as const;

interface OwnPart {
  readonly process: number;
  readonly part: PartStatus;
}

/** Each part once, as bad as it is for any process. */
function mergedParts(
  answers: readonly { readonly process: number; readonly parts: readonly PartStatus[] }[],
): PartStatus[] {
  const byName = new Map<string, OwnPart[]>();
  for (const { process, parts } of answers) {
    for (const part of parts) byName.set(part.name, [...(byName.get(part.name) ?? []), { process, part }]);
  }
  return [...byName.values()].map(merged);
}

function merged(own: readonly OwnPart[]): PartStatus {
  const parts = own.map(({ part }) => part);
  const worst = parts.reduce((a, b) => (SEVERITY[b.state] > SEVERITY[a.state] ? b : a));
  const detail = detailsOf(own);
  // What waits in the shared stream is in all numbers, so a sum would count it again. Zero still means that nothing waits anywhere.
  const backlogs = parts.flatMap(({ backlog }) => backlog ?? []);
  return {
    ...worst,
    ...(backlogs.length === 0 ? {} : { backlog: Math.max(...backlogs) }),
    ...(detail === undefined ? {} : { detail }),
  };
}

/** What all say alike, else who says what. */
function detailsOf(own: readonly OwnPart[]): string | undefined {
  const said = own.flatMap(({ process, part: { detail } }) =>
    detail === undefined ? [] : [{ process, detail }],
  );
  const [first] = said;
  if (first === undefined) return undefined;
  const isCommon = said.length === own.length && said.every(({ detail }) => detail === first.detail);
  return isCommon
    ? first.detail
    : said.map(({ process, detail }) => `process ${process}: ${detail}`).join('; ');
}

/** A process that is away comes again by itself, and the others take the requests meanwhile: no reason to take the node out of service. */
function presence(there: number, missing: readonly number[]): PartStatus {
  const base = { name: 'processes', adapter: 'supervisor', embedded: true, required: true };
  const all = there + missing.length;
  if (missing.length === 0) return { ...base, state: 'up' };
  const state = there === 0 ? 'down' : 'degraded';
  return { ...base, state, detail: `${there} of ${all} answer; missing: ${missing.join(', ')}` };
}
