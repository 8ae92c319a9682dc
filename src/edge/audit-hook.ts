/** What of a request goes into the audit log: every change that an account or one of its keys made, and every export. */
import type { AuditFact, AuditLog } from '../audit/audit-log.js';
import type { EdgeRequest } from './request.js';
import type { Reply } from './route.js';

/** Of a route. */
interface Audited {
  /** `METHOD /pattern` */
  readonly name: string;
  /** Reading it counts, too. */
  readonly noted: boolean;
}

export type AuditHook = Pick<AuditLog, 'record'>;

/**
 * Path parameters that name something of ours beside the website. No others: an id of a visitor or a session must not outlive its
 * erasure in the log.
 */
const TARGETS = ['id', 'funnel_id', 'goal_id', 'automation_id', 'import_id', 'user_id'];

/**
 * @param reply of success; what it says to have made is what the request was about
 * @returns null when nobody known did it, or it changed nothing and hands out little
 */
export function auditFact(
  request: EdgeRequest,
  { name: action, noted }: Audited,
  reply: Reply<unknown>,
): AuditFact | null {
  const { caller, method } = request;
  if (caller?.principal.kind !== 'account') return null;
  if ((method === 'GET' || method === 'HEAD') && !noted) return null;
  const { principal, site, params } = caller;
  const target = TARGETS.map((name) => params[name]).find(
    (value) => value !== undefined && value !== site?.id && value !== site?.siteId,
  );
  return {
    action,
    outcome: 'done',
    userId: principal.userId,
    keyId: principal.key?.id ?? null,
    websiteId: site?.id ?? null,
    targetId: target ?? madeBy(reply),
    address: request.address,
  };
}

/** The id in the answer to a creation: bare, or beneath `data`. */
function madeBy({ status, body }: Reply<unknown>): string | null {
  if (status !== 201) return null;
  const id = fieldOf(fieldOf(body, 'data') ?? body, 'id');
  return typeof id === 'string' ? id : null;
}

const fieldOf = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null
    ? Object.getOwnPropertyDescriptor(value, name)?.value
    : undefined;
