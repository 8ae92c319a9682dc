/**
 * Execution reports of the tracker (contract 10.10, 10.11). Anybody can send one, so nothing in it is believed but what the automation
 * allows: it must be an active automation of this site that trackers run; ids, clock and number of executions are the server's.
 */
import { parseUserAgent } from '../enrich/user-agent.js';
import type { ExecutionStore, NewExecution } from '../storage/metadata/executions.js';
import { isRecord } from '../storage/row.js';
import type { Telemetry } from '../telemetry.js';
import type { Site } from '../websites/site.js';
import { type Allowance, droppedCounter } from './allowance.js';
import type { Config } from './config-fields.js';
import { Grants } from './grants.js';
import type { LiveAutomation } from './live-automation.js';
import { LATEST_MS, plan } from './plan.js';
import { isTablet } from './public-payload.js';
import type { SiteAutomationsCache } from './site-automations.js';
import { storableText, uuidFrom } from './storable.js';
import { isBrowserTrigger } from './triggers.js';

/** As the tracker sends it; nothing of it is required. */
export interface ExecutionReport {
  readonly automationId?: unknown;
  readonly visitorId?: unknown;
  readonly sessionId?: unknown;
  readonly status?: unknown;
  readonly errorMessage?: unknown;
  readonly executionData?: unknown;
  readonly executedAt?: unknown;
}

export interface ReportsOptions {
  readonly sites: SiteAutomationsCache;
  readonly executions: Pick<ExecutionStore, 'begin'>;
  readonly allowance: Allowance;
  readonly onBegun: () => void;
  readonly telemetry: Telemetry;
}

export interface Reports {
  /**
   * Stores what may be stored; resolves when it is stored.
   * @returns how many began an execution: not those that came before, that the frequency or the allowance refuses, or that are no reports
   */
  take(site: Pick<Site, 'siteId'>, reports: readonly ExecutionReport[], userAgent: string): Promise<number>;
}

/** Reports of one request that are looked at. */
export const MAX_REPORTS = 200;
const MAX_ID = 255;
const MAX_DATA_BYTES = 8_192;
const FUTURE_MS = 60_000;

export function createReports(options: ReportsOptions): Reports {
  const { sites, executions, onBegun, telemetry } = options;
  const grants = new Grants(options.allowance);
  const dropped = droppedCounter(telemetry.registry);
  return {
    async take(site, reports, userAgent) {
      dropped.inc({ reason: 'excess' }, Math.max(0, reports.length - MAX_REPORTS));
      const { byId } = await sites.get(site.siteId);
      const found = new Map<string, NewExecution>();
      for (const report of reports.slice(0, MAX_REPORTS)) {
        const execution = executionOf(site, report, byId, userAgent);
        if (typeof execution === 'string') dropped.inc({ reason: execution });
        else found.set(execution.id, execution);
      }
      const matches = await grants.allowed([...found.values()]);
      const begun = await executions.begin(matches);
      grants.settled([...found.values()]);
      dropped.inc({ reason: 'known' }, matches.length - begun.size);
      if (begun.size > 0) onBegun();
      return begun.size;
    },
  };
}

/** The execution, or why there is none. */
function executionOf(
  site: Pick<Site, 'siteId'>,
  report: ExecutionReport,
  automations: ReadonlyMap<string, LiveAutomation>,
  userAgent: string,
): NewExecution | 'unknown' | 'stale' | 'invalid' | 'condition' {
  const automation = automations.get(idText(report.automationId).toLowerCase());
  if (automation === undefined || !isBrowserTrigger(automation.definition.trigger)) return 'unknown';
  const visitorId = idText(report.visitorId);
  const sessionId = idText(report.sessionId);
  if (visitorId === '' && sessionId === '') return 'invalid';
  const now = Date.now();
  const said = typeof report.executedAt === 'string' ? Date.parse(report.executedAt) : Number.NaN;
  const at = Number.isNaN(said) || said > now + FUTURE_MS ? now : said;
  if (at < now - LATEST_MS) return 'stale';
  if (!fitsDevice(automation, userAgent)) return 'condition';
  const properties = boundedData(report.executionData);
  const { id, trigger } = automation.definition;
  const page = [properties.page, properties.page_path, properties.path].find(
    (value) => typeof value === 'string',
  );
  const data = {
    ...{
      event_type: trigger.kind,
      page: page ?? '',
      visitor_id: visitorId,
      session_id: sessionId,
      properties,
    },
    timestamp: new Date(at).toISOString(),
    device: parseUserAgent(userAgent).device.toLowerCase(),
  };
  const error =
    typeof report.errorMessage === 'string' ? storableText(report.errorMessage.slice(0, 500)) : '';
  return plan(
    automation,
    { siteId: site.siteId, visitorId, sessionId, at, data },
    {
      // The clock as it was sent: the same report again is the same execution.
      id: uuidFrom(id, visitorId, sessionId, Number.isNaN(said) ? '' : String(said)),
      triggerEventId: null,
      checks: [],
      ...(report.status === 'failed' ? { error: error || 'reported by the tracker' } : {}),
    },
  );
}

/** A condition that the tracker was not asked (public-payload.ts): it does not know tablets. */
function fitsDevice({ definition: { conditions, actions } }: LiveAutomation, userAgent: string): boolean {
  if (!conditions.some(isTablet) || actions.some(({ kind }) => kind === 'browser')) return true;
  return parseUserAgent(userAgent).device === 'Tablet';
}

function idText(value: unknown): string {
  return typeof value === 'string' ? storableText(value.trim().slice(0, MAX_ID)) : '';
}

function boundedData(value: unknown): Config {
  return isRecord(value) && Buffer.byteLength(JSON.stringify(value)) <= MAX_DATA_BYTES ? value : {};
}
