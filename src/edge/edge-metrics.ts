/** What the edge tells Prometheus. */
import { Counter, Gauge, Histogram } from 'prom-client';
import type { Telemetry } from '../telemetry.js';
import type { BodyBudget } from './body.js';

/** Upper bounds in seconds. */
const BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;
const CLASSES = ['1xx', '2xx', '3xx', '4xx', '5xx'] as const;

/** The figures of one route: plain arrays, since the histogram's own labels cost more than the rest of a small request. */
export class RouteMetrics {
  /** One row a status class, each a count a bound and one beyond. */
  readonly counts = CLASSES.map(() => new Float64Array(BOUNDS.length + 1));
  readonly sums = new Float64Array(CLASSES.length);

  constructor(
    readonly method: string,
    readonly route: string,
  ) {}

  observe(status: number, seconds: number): void {
    const row = Math.min(5, Math.max(1, Math.floor(status / 100))) - 1;
    const counts = this.counts[row];
    if (counts === undefined) return;
    let bucket = 0;
    while (bucket < BOUNDS.length && seconds > (BOUNDS[bucket] ?? 0)) bucket++;
    counts[bucket] = (counts[bucket] ?? 0) + 1;
    this.sums[row] = (this.sums[row] ?? 0) + seconds;
  }
}

type Label = 'method' | 'route' | 'status' | 'le';
interface Sample {
  metricName: string;
  value: number;
  labels: Partial<Record<Label, string | number>>;
  /** prom-client wants them: labels that are rendered once for all samples of a histogram. Here every sample has its own. */
  sharedLabels: object;
}

const NONE = {};

const DURATION = 'seentics_http_request_duration_seconds';
const HELP = 'From the request head to the answer, by route pattern, method and status class';

class RequestDurations extends Histogram<Label> {
  constructor(
    private readonly routes: readonly RouteMetrics[],
    telemetry: Telemetry,
  ) {
    super({
      name: DURATION,
      help: HELP,
      labelNames: ['method', 'route', 'status'],
      registers: [telemetry.registry],
    });
  }

  /** Where prom-client takes a histogram's samples from for both of its output forms. */
  async getForPromString() {
    const values = this.routes.flatMap((route) =>
      CLASSES.flatMap((status, row) => samples(route, status, row)),
    );
    return { name: DURATION, help: HELP, type: 'histogram', aggregator: 'sum', values };
  }
}

function samples(metrics: RouteMetrics, status: string, row: number): Sample[] {
  const counts = metrics.counts[row] ?? new Float64Array();
  const labels = { method: metrics.method, route: metrics.route, status };
  const out: Sample[] = [];
  let total = 0;
  counts.forEach((count, index) => {
    total += count;
    out.push({
      metricName: `${DURATION}_bucket`,
      value: total,
      labels: { le: BOUNDS[index] ?? '+Inf', ...labels },
      sharedLabels: NONE,
    });
  });
  if (total === 0) return [];
  out.push({ metricName: `${DURATION}_sum`, value: metrics.sums[row] ?? 0, labels, sharedLabels: NONE });
  out.push({ metricName: `${DURATION}_count`, value: total, labels, sharedLabels: NONE });
  return out;
}

export class EdgeMetrics {
  readonly #routes: RouteMetrics[] = [];
  readonly aborted: Counter;
  /** Requests that have arrived and are not yet over (answered, or aborted and their handler settled). */
  inFlight = 0;

  constructor(telemetry: Telemetry, budget: BodyBudget) {
    const registers = [telemetry.registry];
    new RequestDurations(this.#routes, telemetry);
    this.aborted = new Counter({
      name: 'seentics_http_aborted_requests_total',
      help: 'Requests whose client left before the answer',
      registers,
    });
    gauge(telemetry, 'seentics_http_requests_in_flight', 'Requests not yet answered', () => this.inFlight);
    gauge(
      telemetry,
      'seentics_http_body_bytes_in_flight',
      'Bytes of request bodies held',
      () => budget.usedBytes,
    );
    gauge(telemetry, 'seentics_http_bodies_arriving', 'Bodies that came in part', () => budget.arriving);
    gauge(
      telemetry,
      'seentics_http_inflations_waiting',
      'Compressed bodies waiting',
      () => budget.inflating.waiting,
    );
  }

  route(method: string, route: string): RouteMetrics {
    const metrics = new RouteMetrics(method, route);
    this.#routes.push(metrics);
    return metrics;
  }
}

function gauge(telemetry: Telemetry, name: string, help: string, read: () => number): void {
  new Gauge({
    name,
    help,
    registers: [telemetry.registry],
    collect() {
      this.set(read());
    },
  });
}
