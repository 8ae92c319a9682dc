import { Gauge } from 'prom-client';
import type { ExecutionTurn } from '../automations/execution-run.js';
import type { ExecutionStore, TakenExecution } from '../storage/metadata/executions.js';
import type { Telemetry } from '../telemetry.js';
import type { Actor, ActorContext } from './runtime/actor.js';
import { ActorGroup } from './runtime/group.js';

export interface AutomationRunnerOptions {
  readonly executions: Pick<ExecutionStore, 'take' | 'nextDueMs'>;
  readonly turn: ExecutionTurn;
  readonly telemetry: Telemetry;
  /** How long a taken execution is ours without a sign of life, ms. */
  readonly leaseMs: number;
  /** Executions that run at the same time on this node; default 32. */
  readonly concurrency?: number;
  /** Those of one site among them; default 4: a slow webhook holds up nobody else's. */
  readonly perSite?: number;
  /** Longest pause between two looks for what is due, ms; default 2,000. */
  readonly pollMs?: number;
}

export interface AutomationRunner {
  /** Looks for due executions now. */
  wake(): void;
  /** Takes no more; resolves when what runs has ended, at the deadline at the latest. What is left is taken over when its lease ends. */
  stop(deadlineMs: number): Promise<void>;
}

type Message = 'look';

/**
 * Runs stored executions: one actor on each node, which takes what is due under leases and runs it beside itself. Nodes share the work by
 * taking different rows; what a dead node held comes up again when its lease is over.
 */
export function createAutomationRunner(options: AutomationRunnerOptions): AutomationRunner {
  const running: Running = { count: 0, bySite: new Map(), tasks: new Set(), isStopping: false };
  new Gauge({
    name: 'seentics_automation_running',
    help: 'Executions of automations that this node is running.',
    registers: [options.telemetry.registry],
    collect() {
      this.set(running.count);
    },
  });
  const group: ActorGroup<'node', Message> = new ActorGroup<'node', Message>({
    name: 'automation_runner',
    telemetry: options.telemetry,
    mailbox: { messages: 2 },
    // It has to look again whatever happens: it is never given up.
    restart: { poisonLimit: Number.POSITIVE_INFINITY, maxMs: 5_000 },
    create: (context) => new Runner(context, options, running, wake),
  });
  // A full mailbox has a look waiting already.
  const wake = () => void group.tell('node', 'look');
  wake();
  return {
    wake,
    async stop(deadlineMs) {
      running.isStopping = true;
      const deadline = Date.now() + deadlineMs;
      await group.stop(deadlineMs);
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, Math.max(0, deadline - Date.now()));
      });
      await Promise.race([Promise.all(running.tasks), late]);
      clearTimeout(timer);
    },
  };
}

/** What runs outlives a restart of the actor. */
interface Running {
  count: number;
  readonly bySite: Map<string, number>;
  readonly tasks: Set<Promise<void>>;
  isStopping: boolean;
}

class Runner implements Actor<Message> {
  constructor(
    readonly context: ActorContext<'node', Message>,
    readonly options: AutomationRunnerOptions,
    readonly running: Running,
    readonly wake: () => void,
  ) {}

  async receive(): Promise<void> {
    const { executions, leaseMs, concurrency = 32, perSite = 4, pollMs = 2_000 } = this.options;
    const { running } = this;
    // Set first: a store that does not answer now is asked again later.
    this.context.setTimer('look', pollMs, 'look');
    const limit = concurrency - running.count;
    if (limit <= 0 || running.isStopping) return;
    const busySites = [...running.bySite].filter(([, count]) => count >= perSite).map(([siteId]) => siteId);
    const taken = await executions.take({ limit, perSite, busySites, leaseMs });
    for (const execution of taken) this.start(execution);
    if (taken.length > 0) return;
    const due = await executions.nextDueMs();
    // What is due now but was not taken is a busy site's: its end wakes us.
    if (due !== null && due > 0 && due < pollMs) this.context.setTimer('look', Math.ceil(due), 'look');
  }

  private start(execution: TakenExecution): void {
    const { running, options } = this;
    const { siteId } = execution;
    running.count++;
    running.bySite.set(siteId, (running.bySite.get(siteId) ?? 0) + 1);
    const task = options
      .turn(execution)
      .catch((err: unknown) =>
        options.telemetry.log.warn(
          { err, execution: execution.id },
          'an execution of an automation was interrupted: it is taken again when its lease is over',
        ),
      )
      .finally(() => {
        running.tasks.delete(task);
        running.count--;
        const left = (running.bySite.get(siteId) ?? 1) - 1;
        if (left > 0) running.bySite.set(siteId, left);
        else running.bySite.delete(siteId);
        this.wake();
      });
    running.tasks.add(task);
  }
}
