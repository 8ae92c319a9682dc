/** Automations: definitions and their routes, evaluation beside the writer, reports of trackers, the runner. */
import { createAutomationRunner } from '../actors/automation-runner.js';
import type { RowObserver } from '../actors/writer/observer.js';
import type { Gate } from '../auth/gate.js';
import { createAllowance } from '../automations/allowance.js';
import { createAutomationService } from '../automations/automation-service.js';
import { createEvaluator } from '../automations/evaluator.js';
import { createExecutionTurn } from '../automations/execution-run.js';
import { createReports } from '../automations/reports.js';
import type { SessionFactsSource } from '../automations/session-facts.js';
import { createSiteAutomations } from '../automations/site-automations.js';
import type { Config } from '../config.js';
import type { AnyRoute } from '../edge/route.js';
import { automationRoutes } from '../edge/routes/automations.js';
import { workflowRoutes } from '../edge/routes/workflows.js';
import { createMailer, type Mailer } from '../mail/mailer.js';
import { createGuardedClient } from '../net/guarded-request.js';
import type { EndedExecution } from '../notifications/occasions.js';
import type { Cache } from '../storage/cache/cache.js';
import type { MetadataStore } from '../storage/metadata/metadata.js';
import type { Telemetry } from '../telemetry.js';
import type { SiteDirectory } from '../websites/site.js';
import type { SiteNotices } from '../websites/site-notices.js';
import type { Lifecycle } from './lifecycle.js';

const STOP_MS = 1_500;
const EXPIRE_MS = 600_000;
const EXPIRE_ROWS = 5_000;
/** A mail may take longer than a webhook: connect, greeting, several answers. */
const MAIL_MS = 10_000;
const LEASE_SLACK_MS = 5_000;
/** Some three hundred reports. Anybody may send them, and they are parsed on the main thread. */
const MAX_REPORT_BYTES = 128 * 1024;

export interface AutomationParts {
  readonly routes: readonly AnyRoute[];
  /** For the partition writer. */
  readonly observer: RowObserver;
}

export interface AutomationDeps {
  readonly config: Config;
  readonly metadata: MetadataStore;
  readonly cache: Cache;
  readonly mailer: Mailer;
  readonly sessions: SessionFactsSource;
  readonly accounts: { readonly sites: SiteDirectory; readonly notices: SiteNotices; readonly gate: Gate };
  readonly telemetry: Telemetry;
  readonly lifecycle: Lifecycle;
  readonly onEnded?: (execution: EndedExecution) => void;
  /** Pauses after failed attempts, ms, when they are not to be the usual ones. */
  readonly retryMs?: readonly number[];
}

/** Builds the room and starts its runner. */
export function composeAutomations(deps: AutomationDeps): AutomationParts {
  const { config, metadata, cache, mailer, telemetry, lifecycle } = deps;
  const { sites: directory, notices, gate } = deps.accounts;
  const { automations: store, executions } = metadata;
  const timeoutMs = config.AUTOMATION_TIMEOUT * 1_000;
  const leaseMs = Math.max(timeoutMs, mailer.isConfigured ? 2 * MAIL_MS : 0) + LEASE_SLACK_MS;
  const client = createGuardedClient({ allowPrivate: config.ALLOW_PRIVATE_WEBHOOKS, timeoutMs });
  const turn = createExecutionTurn({
    executions,
    sessions: deps.sessions,
    tools: { client, mailer },
    telemetry,
    leaseMs,
    onEnded: ({ automationId, automationName, siteId }, error) =>
      deps.onEnded?.({ automationId, automationName, siteId, error }),
    ...(deps.retryMs === undefined ? {} : { retryMs: deps.retryMs }),
  });
  const runner = createAutomationRunner({ executions, turn, telemetry, leaseMs });
  lifecycle.add('automation runner', runner, (it) => it.stop(STOP_MS));
  const timer = setInterval(() => void expire(deps), EXPIRE_MS);
  timer.unref();
  lifecycle.add('automation retention', timer, async (it) => clearInterval(it));

  const sites = createSiteAutomations({ automations: store, notices, telemetry });
  const allowance = createAllowance({ cache, perMinute: config.AUTOMATION_EXECUTIONS_PER_MINUTE, telemetry });
  const begin = { sites, executions, allowance, telemetry, onBegun: () => runner.wake() };
  return {
    observer: createEvaluator(begin),
    routes: [
      ...automationRoutes({
        automations: createAutomationService({ automations: store, notices }),
        mayWrite: (principal, site) => gate.authorize(principal, site, 'write'),
      }),
      ...workflowRoutes({
        directory,
        automations: sites,
        reports: createReports(begin),
        production: config.ENVIRONMENT === 'production',
        bodyLimitBytes: Math.min(MAX_REPORT_BYTES, config.MAX_BODY_BYTES),
      }),
    ],
  };
}

/** The mailer of the node; other rooms send through it, too. */
export function openMailer(config: Config, telemetry: Telemetry, lifecycle: Lifecycle): Mailer {
  const mailer = createMailer({
    host: config.SMTP_HOST,
    port: config.SMTP_PORT,
    secure: config.SMTP_SECURE,
    user: config.SMTP_USER,
    password: config.SMTP_PASSWORD,
    from: config.SMTP_FROM,
    timeoutMs: MAIL_MS,
    telemetry,
  });
  return lifecycle.add('mailer', mailer, (it) => it.close());
}

async function expire({ config, metadata, telemetry }: AutomationDeps): Promise<void> {
  try {
    let rows = EXPIRE_ROWS;
    while (rows >= EXPIRE_ROWS)
      rows = await metadata.executions.expire(config.AUTOMATION_RETENTION * 1_000, EXPIRE_ROWS);
  } catch (err) {
    telemetry.log.warn({ err }, 'old executions of automations could not be removed; trying again later');
  }
}
