/** From a match to the execution that is stored: its id, its claim, what the runner needs. */
import type { Claim, NewExecution } from '../storage/metadata/executions.js';
import type { Config } from './config-fields.js';
import type { LiveAutomation, WordedCondition } from './live-automation.js';
import { storable, storableText } from './storable.js';
import type { Frequency } from './triggers.js';

/** What is older than this starts nothing: no webhook of last week because a browser was offline. */
export const LATEST_MS = 86_400_000;

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;

/** What happened, in the words of payloads and templates. */
export interface Occasion {
  readonly siteId: string;
  readonly visitorId: string;
  readonly sessionId: string;
  /** ms since epoch */
  readonly at: number;
  readonly data: Config;
}

/**
 * What the frequency allows once; null: everything. Days and hours are the 24 hours and 60 minutes after an execution, as the tracker
 * counts them. A visitor without a session counts as one session, and a session without a visitor as one visitor.
 */
export function claimOf(frequency: Frequency, { visitorId, sessionId }: Occasion): Claim | null {
  const visitor = visitorId === '' ? `session ${sessionId}` : visitorId;
  switch (frequency) {
    case 'always':
      return null;
    case 'once_per_session': {
      const subject = sessionId === '' ? `visitor ${visitorId}` : sessionId;
      return { scope: 'session', subject, windowMs: 0, keepMs: 60 * DAY_MS };
    }
    case 'once_per_visitor':
      // Longer than the visitor's cookie lives.
      return { scope: 'visitor', subject: visitor, windowMs: 0, keepMs: 400 * DAY_MS };
    case 'once_per_day':
      return { scope: 'day', subject: visitor, windowMs: DAY_MS, keepMs: 3 * DAY_MS };
    case 'once_per_hour':
      return { scope: 'hour', subject: visitor, windowMs: HOUR_MS, keepMs: 2 * DAY_MS };
  }
}

export interface PlanOptions {
  readonly id: string;
  readonly triggerEventId: string | null;
  /** Of an execution that the tracker has reported as failed: why. */
  readonly error?: string;
  /** Conditions that can only be decided a little later. */
  readonly checks: readonly WordedCondition[];
}

/** Until the block with the session's page views is stored. */
const CHECK_DELAY_MS = 3_000;

export function plan(
  { definition, planned }: LiveAutomation,
  occasion: Occasion,
  options: PlanOptions,
): NewExecution {
  const { siteId, at } = occasion;
  const visitorId = storableText(occasion.visitorId);
  const sessionId = storableText(occasion.sessionId);
  const { id, triggerEventId, error, checks } = options;
  const isPending = error === undefined && planned.length > 0;
  return {
    id,
    automationId: definition.id,
    ...{ siteId, visitorId, sessionId, triggerEventId },
    status: error !== undefined ? 'failed' : isPending ? 'pending' : 'success',
    error: error ?? null,
    data: storable(occasion.data),
    steps: isPending ? planned : [],
    checks: isPending ? checks.map((check) => ({ ...check })) : [],
    claim: claimOf(definition.frequency, { ...occasion, visitorId, sessionId }),
    executedAt: at,
    delayMs: isPending && checks.length > 0 ? CHECK_DELAY_MS : 0,
  };
}
