import { Counter, Gauge, type Registry } from 'prom-client';

/** What a group shows of itself when Prometheus asks. */
export interface GroupFigures {
  readonly name: string;
  readonly alive: number;
  readonly waiting: number;
}

/** The metrics of all actor groups of a process, labelled by group. Gauges are read when scraped, so they cost nothing between. */
export class ActorMetrics {
  static readonly #byRegistry = new WeakMap<Registry, ActorMetrics>();

  readonly groups = new Set<GroupFigures>();
  readonly restarts: Counter<'group'>;
  readonly passivations: Counter<'group'>;
  readonly refusals: Counter<'group'>;

  static of(registry: Registry): ActorMetrics {
    let metrics = ActorMetrics.#byRegistry.get(registry);
    if (metrics === undefined) {
      metrics = new ActorMetrics(registry);
      ActorMetrics.#byRegistry.set(registry, metrics);
    }
    return metrics;
  }

  private constructor(registry: Registry) {
    const { groups } = this;
    const gauge = (name: string, help: string, value: (figures: GroupFigures) => number) =>
      new Gauge({
        name,
        help,
        labelNames: ['group'],
        registers: [registry],
        collect() {
          this.reset();
          for (const figures of groups) this.inc({ group: figures.name }, value(figures));
        },
      });
    const counter = (name: string, help: string) =>
      new Counter({ name, help, labelNames: ['group'] as const, registers: [registry] });
    gauge('seentics_actors_alive', 'Actors in memory', (figures) => figures.alive);
    gauge('seentics_actor_mailbox_messages', 'Messages waiting in mailboxes', (figures) => figures.waiting);
    this.restarts = counter('seentics_actor_restarts_total', 'Actors replaced after a failure');
    this.passivations = counter('seentics_actor_passivations_total', 'Idle actors removed from memory');
    this.refusals = counter('seentics_actor_refusals_total', 'Messages refused by a full or stopped mailbox');
  }
}
