/** Running one action of the server. Whatever happens is an outcome; nothing is thrown. */
import { createHmac } from 'node:crypto';
import type { Mailer } from '../mail/mailer.js';
import type { GuardedClient, OutboundResult } from '../net/guarded-request.js';
import type { TakenExecution } from '../storage/metadata/executions.js';
import { type Action, actionEntry, flawOf, gapOf, type ServerAction } from './actions.js';
import { addressPart, fill, fillDeep, type Values, valuesOf } from './template.js';

/** `again`: it did not happen, and trying later may help. */
export type StepResult =
  | { readonly outcome: 'done'; readonly detail: string }
  | { readonly outcome: 'failed'; readonly reason: string }
  | { readonly outcome: 'again'; readonly reason: string; readonly afterMs: number | null };

export interface Tools {
  readonly client: GuardedClient;
  readonly mailer: Mailer;
  /** ms since epoch; for tests. */
  readonly now?: () => number;
}

export type PerformedAction = Exclude<ServerAction, { kind: 'wait' }>;

/** The meaning of a planned step, or why it cannot be run. */
export function actionOf(step: {
  readonly actionType: string;
  readonly actionConfig: unknown;
}): ServerAction | string {
  const action: Action | undefined = actionEntry(step.actionType)?.read(step.actionConfig);
  if (action === undefined || action.kind === 'browser') return 'the action is not understood';
  return flawOf(action) || gapOf(action) || action;
}

export function perform(
  action: PerformedAction,
  index: number,
  execution: TakenExecution,
  tools: Tools,
): Promise<StepResult> {
  const values = valuesOf(execution.data, {
    automation_id: execution.automationId,
    automation_name: execution.automationName,
    execution_id: execution.id,
    website_id: execution.siteId,
    visitor_id: execution.visitorId,
    session_id: execution.sessionId,
    date: execution.executedAt.toISOString().slice(0, 10),
  });
  const key = `${execution.id}-${index}`;
  switch (action.kind) {
    case 'webhook':
      return callWebhook(action, key, execution, values, tools);
    case 'slack':
      return callSlack(action, key, values, tools);
    case 'email':
      return sendMail(action, key, values, tools);
  }
}

type Webhook = Extract<ServerAction, { kind: 'webhook' }>;

/**
 * The signature is HMAC-SHA256 over `<unix seconds>.<body>`, so that a receiver can refuse both forged and old requests. The same
 * attempt again bears the same Idempotency-Key.
 */
async function callWebhook(
  action: Webhook,
  key: string,
  execution: TakenExecution,
  values: Values,
  { client, now = Date.now }: Tools,
): Promise<StepResult> {
  const payload = action.method === 'GET' ? null : payloadOf(action, execution, values);
  if (payload === undefined) return { outcome: 'failed', reason: 'the body of the webhook is too large' };
  const body = payload === null ? '' : JSON.stringify(payload);
  const seconds = Math.floor(now() / 1_000);
  const signature = createHmac('sha256', execution.webhookSecret).update(`${seconds}.${body}`).digest('hex');
  const result = await client.send({
    url: filledUrl(action.url, values),
    method: action.method,
    headers: {
      'Content-Type': 'application/json',
      'User-Agent': 'Seentics-Automations/1',
      'Idempotency-Key': key,
      'X-Seentics-Timestamp': String(seconds),
      'X-Seentics-Signature': `t=${seconds},v1=${signature}`,
    },
    ownHeaders: action.headers,
    body: payload === null ? undefined : body,
  });
  return verdictOn(result, 'the webhook');
}

/** The original's keys, those of the automation, and whatever the action adds. Undefined: that is too much. */
function payloadOf(
  action: Webhook,
  execution: TakenExecution,
  values: Values,
): Record<string, unknown> | undefined {
  const filled = fillDeep(action.body, values);
  if (filled === undefined) return undefined;
  return {
    ...(action.includePayload ? execution.data : {}),
    automation_id: execution.automationId,
    automation_name: execution.automationName,
    execution_id: execution.id,
    website_id: execution.siteId,
    ...(typeof filled === 'object' ? filled : {}),
  };
}

/** Values cannot leave the part of the address in which they stand; the host is fixed when the automation is saved. */
const filledUrl = (url: string, values: Values): string => fill(url, values, addressPart);

async function callSlack(
  action: Extract<ServerAction, { kind: 'slack' }>,
  key: string,
  values: Values,
  { client }: Tools,
): Promise<StepResult> {
  const text = fill(
    action.text === '' ? 'Automation {{automation_name}} ran' : action.text,
    values,
    slackText,
  );
  const result = await client.send({
    url: action.url,
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      'User-Agent': 'Seentics-Automations/1',
      'Idempotency-Key': key,
    },
    ownHeaders: {},
    body: JSON.stringify({ text }),
  });
  return verdictOn(result, 'Slack');
}

/** What Slack would take for links and mentions. */
const slackText = (value: string): string =>
  value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

async function sendMail(
  action: Extract<ServerAction, { kind: 'email' }>,
  key: string,
  values: Values,
  { mailer }: Tools,
): Promise<StepResult> {
  const subject = fill(action.subject === '' ? '{{automation_name}}' : action.subject, values);
  const result = await mailer.send({ to: action.recipients, subject, text: fill(action.body, values), key });
  switch (result.outcome) {
    case 'sent':
      return { outcome: 'done', detail: 'sent' };
    case 'later':
      return { outcome: 'again', reason: result.reason, afterMs: null };
    case 'refused':
      return { outcome: 'failed', reason: result.reason };
    case 'unknown':
      return { outcome: 'failed', reason: `${UNKNOWN_MAIL} (${result.reason})` };
  }
}

/** A mail has no key by which a server could recognise its copy, so it is rather told missing than sent twice. */
export const UNKNOWN_MAIL = 'unknown outcome: the mail may have been sent and is not repeated';

function verdictOn(result: OutboundResult, what: string): StepResult {
  if (result.outcome !== 'answered') {
    const reason = `${what}: ${result.reason}`;
    return result.outcome === 'blocked'
      ? { outcome: 'failed', reason }
      : { outcome: 'again', reason, afterMs: null };
  }
  const { status } = result;
  if (status >= 200 && status < 400) return { outcome: 'done', detail: `status ${status}` };
  const reason = `${what} answered ${status}`;
  const mayHelp = status === 408 || status === 425 || status === 429 || status >= 500;
  return mayHelp ? { outcome: 'again', reason, afterMs: result.retryAfterMs } : { outcome: 'failed', reason };
}
