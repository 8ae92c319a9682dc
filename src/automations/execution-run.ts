/** One turn of a stored execution: late conditions, then one step. Each turn ends in what is stored, so a crash loses no more than a turn. */
import { Counter } from 'prom-client';
import type {
  ExecutionStore,
  PlannedStep,
  StepOutcome,
  TakenExecution,
} from '../storage/metadata/executions.js';
import type { Telemetry } from '../telemetry.js';
import { conditionEntry } from './conditions.js';
import { holds } from './facts.js';
import { actionOf, perform, type StepResult, type Tools, UNKNOWN_MAIL } from './perform.js';
import { type SessionFactsSource, StoredSessionFacts } from './session-facts.js';

export interface RunOptions {
  readonly executions: Pick<ExecutionStore, 'startStep' | 'settle' | 'confirm'>;
  readonly sessions: SessionFactsSource;
  readonly tools: Tools;
  readonly telemetry: Telemetry;
  /** How long a step may take before another runner may take over, ms. */
  readonly leaseMs: number;
  /** Told of every execution that did what it could: all of its steps, or one that failed for good. */
  readonly onEnded?: (execution: TakenExecution, error: string | null) => void;
  /** Pauses after failed attempts, ms; one attempt more than there are pauses. */
  readonly retryMs?: readonly number[];
}

const RETRY_MS = [2_000, 10_000, 60_000, 300_000];

/** Runs one turn. @throws AppError when the store does not answer: the lease runs out and the execution is taken again */
export type ExecutionTurn = (execution: TakenExecution) => Promise<void>;

export function createExecutionTurn(options: RunOptions): ExecutionTurn {
  const { executions, sessions, tools, leaseMs, retryMs = RETRY_MS } = options;
  const { registry } = options.telemetry;
  const steps = new Counter({
    name: 'seentics_automation_steps_total',
    help: 'Steps of automations by action and outcome: done, failed, again.',
    labelNames: ['action', 'outcome'],
    registers: [registry],
  });
  const ended = new Counter({
    name: 'seentics_automation_executions_total',
    help: 'Executions with steps of the server that ended, by status.',
    labelNames: ['status'],
    registers: [registry],
  });

  const settle = async (
    execution: TakenExecution,
    change: Partial<StepOutcome> & Pick<StepOutcome, 'status'>,
  ) => {
    const { id, lease, nextStep } = execution;
    const outcome = { nextStep, attempts: 0, delayMs: 0, error: null, results: [], ...change };
    const isOurs = await executions.settle(id, lease, outcome);
    if (!isOurs || change.status === 'pending') return;
    ended.inc({ status: change.status });
    if (change.status !== 'skipped' && execution.isWanted) options.onEnded?.(execution, outcome.error);
  };
  const pauseAfter = (attempts: number): number | undefined => {
    const ms = retryMs[attempts];
    // Jitter, so that what failed together does not come back together.
    return ms === undefined ? undefined : ms * (0.8 + Math.random() * 0.4);
  };

  /** Do the conditions hold that could not be decided when it began? False: this turn is over. */
  const passes = async (execution: TakenExecution): Promise<boolean> => {
    if (execution.checks.length === 0) return true;
    const facts = new StoredSessionFacts(
      await sessions.sessionFacts(
        execution.siteId,
        execution.visitorId,
        execution.sessionId,
        execution.executedAt.getTime(),
      ),
    );
    const hold = execution.checks.every((check) => {
      const condition = conditionEntry(String(check.conditionType))?.read(check.conditionConfig);
      return condition !== undefined && holds(condition, facts) === true;
    });
    if (!hold) await settle(execution, { status: 'skipped' });
    return hold && (await executions.confirm(execution.id, execution.lease));
  };

  const record = (execution: TakenExecution, step: PlannedStep, result: StepResult) => ({
    index: step.index,
    action: step.actionType,
    outcome: result.outcome,
    ...(result.outcome === 'done' ? { detail: result.detail } : { reason: result.reason }),
    attempt: execution.attempts + 1,
    ...(execution.wasInFlight ? { repeated: true } : {}),
    at: new Date().toISOString(),
  });

  const conclude = (execution: TakenExecution, step: PlannedStep, result: StepResult): Promise<void> => {
    const results = [record(execution, step, result)];
    const nextStep = execution.nextStep + 1;
    steps.inc({ action: step.actionType, outcome: result.outcome });
    if (result.outcome === 'done') {
      const isLast = nextStep >= execution.steps.length;
      return settle(execution, { status: isLast ? 'success' : 'pending', nextStep, results });
    }
    const error = result.reason;
    const pause = result.outcome === 'again' ? pauseAfter(execution.attempts) : undefined;
    if (result.outcome === 'failed' || pause === undefined)
      return settle(execution, { status: 'failed', error, results });
    const delayMs = Math.max(pause, result.afterMs ?? 0);
    return settle(execution, {
      status: 'pending',
      attempts: execution.attempts + 1,
      delayMs,
      error,
      results,
    });
  };

  return async (execution) => {
    if (!execution.isWanted)
      return settle(execution, {
        status: 'failed',
        error: 'the automation was switched off before this step',
      });
    if (!(await passes(execution))) return;
    const step = execution.steps[execution.nextStep];
    if (step === undefined) return settle(execution, { status: 'success' });
    const action = actionOf(step);
    if (typeof action === 'string') return conclude(execution, step, { outcome: 'failed', reason: action });
    if (action.kind === 'wait')
      return settle(execution, { status: 'pending', nextStep: execution.nextStep + 1, delayMs: action.ms });
    if (action.kind === 'email' && execution.wasInFlight)
      return conclude(execution, step, { outcome: 'failed', reason: UNKNOWN_MAIL });
    // From here on a crash shows as a step in flight.
    if (!(await executions.startStep(execution.id, execution.lease, leaseMs))) return;
    await conclude(execution, step, await perform(action, step.index, execution, tools));
  };
}
