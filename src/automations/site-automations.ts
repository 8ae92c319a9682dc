/** The active automations of each site, ready to be asked, kept in this process: no event and no page load costs a query. */
import { LRUCache } from 'lru-cache';
import { createBatchLoader } from '../storage/cache/batch-loader.js';
import { observe } from '../storage/cache/lookup.js';
import type { AutomationStore } from '../storage/metadata/automations.js';
import type { Telemetry } from '../telemetry.js';
import type { SiteNotices } from '../websites/site-notices.js';
import type { Automation } from './automation.js';
import { conditionEntry, isVacuous } from './conditions.js';
import { textOf } from './config-fields.js';
import { definitionOf } from './definition.js';
import type { LiveAutomation } from './live-automation.js';
import { publicPayload } from './public-payload.js';
import { type ServerRules, serverRules } from './server-rules.js';
import { isUuid } from './storable.js';

export interface SiteAutomations {
  readonly byId: ReadonlyMap<string, LiveAutomation>;
  /** JSON of what the tracker asks for. */
  readonly payload: string;
  /** What is decided on the server as events flow; undefined: nothing. */
  readonly rules: ServerRules | undefined;
}

export interface SiteAutomationsOptions {
  readonly automations: Pick<AutomationStore, 'active' | 'goals'>;
  readonly notices: Pick<SiteNotices, 'onChange'>;
  readonly telemetry: Telemetry;
  /** Longest time that a change may stay unseen when its notice got lost; default 30,000. */
  readonly ttlMs?: number;
  /** Sites kept; default 25,000. */
  readonly maxSites?: number;
  /** Characters of what their trackers are told, of all sites kept; default 128 Mi. */
  readonly maxCharacters?: number;
}

export interface SiteAutomationsCache {
  /** What is known without asking; undefined when only `get` can tell. */
  peek(siteId: string): SiteAutomations | undefined;
  /** Sites that miss at the same time are asked for in one query. @throws AppError when the store cannot be asked */
  get(siteId: string): Promise<SiteAutomations>;
}

/** How long what is known may serve on while the store cannot be reached. */
const MAX_STALE_MS = 60 * 60_000;

interface Entry {
  readonly value: SiteAutomations;
  readonly loadedAt: number;
  /** From then on it is read again. */
  refreshAt: number;
}

const NONE = compile([], []);

export function createSiteAutomations(options: SiteAutomationsOptions): SiteAutomationsCache {
  const { automations, telemetry, ttlMs = 30_000, maxSites = 25_000, maxCharacters = 128 << 20 } = options;
  const entries = new LRUCache<string, Entry>({
    max: maxSites,
    maxSize: maxCharacters,
    sizeCalculation: ({ value }) => value.payload.length,
  });
  const loads = observe(telemetry.registry, 'automations', () => entries.size);
  let changes = 0;
  const loader = createBatchLoader<SiteAutomations>({
    maxBatch: 500,
    maxQueries: 2,
    maxLoading: 50_000,
    async loadMany(siteIds) {
      loads.inc(siteIds.length);
      const active = await automations.active(siteIds);
      // As triggers read it.
      const goalIds = active.map(({ triggerConfig }) => textOf(triggerConfig.goal_id)).filter(isUuid);
      const goals = goalIds.length === 0 ? [] : await automations.goals(goalIds);
      const compiled = new Map<string, SiteAutomations>();
      for (const siteId of new Set(active.map(({ websiteId }) => websiteId))) {
        const own = active.filter(({ websiteId }) => websiteId === siteId);
        compiled.set(
          siteId,
          compile(
            own,
            goals.filter((goal) => goal.siteId === siteId),
          ),
        );
      }
      return compiled;
    },
  });
  options.notices.onChange(({ siteId }) => {
    changes++;
    entries.delete(siteId);
    loader.drop(siteId);
  });

  const load = async (siteId: string): Promise<SiteAutomations> => {
    const seen = changes;
    const value = (await loader.load(siteId)) ?? NONE;
    const now = Date.now();
    // After a notice, what was read may be older than it: used, but not kept.
    if (seen === changes) entries.set(siteId, { value, loadedAt: now, refreshAt: now + ttlMs });
    return value;
  };
  const peek = (siteId: string): SiteAutomations | undefined => {
    const entry = entries.get(siteId);
    if (entry === undefined) return undefined;
    const now = Date.now();
    if (now >= entry.refreshAt) {
      if (now - entry.loadedAt > MAX_STALE_MS) return undefined;
      // Read again behind, while it serves on: nothing waits for the database because of time that has passed.
      entry.refreshAt = now + ttlMs;
      load(siteId).catch(() => {});
    }
    return entry.value;
  };
  return { peek, get: async (siteId) => peek(siteId) ?? load(siteId) };
}

type Goals = Awaited<ReturnType<AutomationStore['goals']>>;

function compile(automations: readonly Automation[], goals: Goals): SiteAutomations {
  const byId = new Map<string, LiveAutomation>();
  for (const automation of automations) {
    const definition = definitionOf(automation);
    if (definition === undefined) continue;
    const planned = definition.steps.flatMap(({ index }) => {
      const action = automation.actions[index];
      return action === undefined
        ? []
        : [{ index, actionType: action.actionType, actionConfig: action.actionConfig }];
    });
    const conditions = automation.conditions.flatMap((worded) => {
      const condition = conditionEntry(worded.conditionType)?.read(worded.conditionConfig);
      return condition === undefined || isVacuous(condition) ? [] : [{ condition, worded }];
    });
    byId.set(automation.id, { definition, planned, conditions });
  }
  const workflows = publicPayload(automations);
  return {
    byId,
    payload: JSON.stringify({ workflows, total: workflows.length }),
    rules: serverRules([...byId.values()], goals),
  };
}
