/** A node with automations over real HTTP, Postgres and Redis; events are shown to it as the partition writer would. */
import { randomUUID } from 'node:crypto';
import { createGate } from '../../src/auth/gate.js';
import type { SeenRow } from '../../src/automations/evaluator.js';
import type { SessionFacts } from '../../src/automations/session-facts.js';
import { type AutomationParts, composeAutomations, openMailer } from '../../src/compose/automations.js';
import { Lifecycle } from '../../src/compose/lifecycle.js';
import { readConfig } from '../../src/config-read.js';
import type { EventRow } from '../../src/events/row-decoder.js';
import { watchingFailures } from '../../src/notifications/occasions.js';
import type { Cache } from '../../src/storage/cache/cache.js';
import { createMemoryCache } from '../../src/storage/cache/memory-cache.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { createSiteDirectory } from '../../src/websites/site-directory.js';
import { type Node, startNode } from './accounts-node.js';
import { encodeRow, makeRow } from './event-rows.js';

export const NEW_DESKTOP: SessionFacts = {
  isNewVisitor: true,
  pageViews: 1,
  traffic: { channel: 'Direct', referrerHost: '', utmSource: '' },
  ...{ device: 'Desktop', country: 'DE', browser: 'Firefox', os: 'Linux' },
};

export interface AutomationNodeOptions {
  readonly databaseUrl: string;
  readonly cache?: Cache;
  readonly env?: Readonly<Record<string, string>>;
  readonly retryMs?: readonly number[];
  /** What the event store would say of a session. */
  readonly session?: (visitorId: string) => SessionFacts;
}

export interface AutomationNode extends Node {
  readonly observer: AutomationParts['observer'];
  /** Shows events of a site to the node, as new ones. */
  show(siteId: string, ...changes: Partial<EventRow>[]): Promise<void>;
}

export async function startAutomationNode(options: AutomationNodeOptions): Promise<AutomationNode> {
  const telemetry = silentTelemetry();
  const lifecycle = new Lifecycle(telemetry.log);
  const cache = options.cache ?? createMemoryCache({ telemetry });
  const config = readConfig({ ALLOW_PRIVATE_WEBHOOKS: 'true', AUTOMATION_TIMEOUT: '1s', ...options.env });
  let parts: AutomationParts | undefined;
  const node = await startNode({
    databaseUrl: options.databaseUrl,
    cache,
    routes({ metadata, notices, sites, notifications }) {
      const { websites } = metadata;
      parts = composeAutomations({
        ...{ config, metadata, cache, telemetry, lifecycle },
        mailer: openMailer(config, telemetry, lifecycle),
        sessions: { sessionFacts: async (_site, visitorId) => options.session?.(visitorId) ?? NEW_DESKTOP },
        accounts: {
          sites: createSiteDirectory({ websites, notices, telemetry }),
          gate: createGate({ websites, notices, telemetry }),
          notices,
        },
        onEnded: watchingFailures(sites, notifications),
        retryMs: options.retryMs ?? [50, 50, 50],
      });
      return parts.routes;
    },
  });
  if (parts === undefined) throw new Error('the routes were not asked for');
  const { observer } = parts;
  return {
    ...node,
    observer,
    show: (siteId, ...changes) => observer.observe(changes.map((change) => seen(siteId, change))),
    async stop() {
      await lifecycle.close(2_000);
      await node.stop();
    },
  };
}

/** A row with an id of its own, of now. */
export function seen(siteId: string, changes: Partial<EventRow>): SeenRow {
  const row = makeRow({
    event_id: randomUUID().replaceAll('-', ''),
    site_id: siteId,
    timestamp: Date.now(),
    received_at: Date.now(),
    ...changes,
  });
  return { siteId, table: 'events', source: 'batch', bytes: encodeRow(row) };
}
