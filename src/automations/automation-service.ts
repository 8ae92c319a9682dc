import { randomBytes } from 'node:crypto';
import { AppError } from '../errors.js';
import type { AutomationStore } from '../storage/metadata/automations.js';
import type { Site } from '../websites/site.js';
import type { SiteNotices } from '../websites/site-notices.js';
import {
  AUTOMATION_LIMITS,
  type Automation,
  type AutomationChange,
  type AutomationInput,
  type AutomationStats,
  NO_STATS,
} from './automation.js';
import { checkAutomation } from './definition.js';
import { isUuid, storable, storableText } from './storable.js';

export interface WithStats {
  readonly automation: Automation;
  readonly stats: AutomationStats;
}

/** Automations of a site, on behalf of whoever passed the gate for it. An id that is not the site's is `not_found`. */
export interface AutomationService {
  list(site: Site): Promise<WithStats[]>;
  get(site: Site, id: string): Promise<WithStats>;
  stats(site: Site, id: string): Promise<AutomationStats>;
  /** @throws AppError `unknown_type`, `invalid_request`, `limit_reached` */
  create(site: Site, userId: string, input: AutomationInput): Promise<Automation>;
  update(site: Site, id: string, change: AutomationChange): Promise<Automation>;
  toggle(site: Site, id: string): Promise<Automation>;
  /** Webhooks are signed with a new secret from now on. */
  rotateSecret(site: Site, id: string): Promise<Automation>;
  delete(site: Site, id: string): Promise<void>;
}

export function createAutomationService(options: {
  readonly automations: AutomationStore;
  readonly notices: Pick<SiteNotices, 'changed'>;
}): AutomationService {
  const { automations, notices } = options;
  /** Tells every node of a change. */
  const changed = async (site: Site, change: Promise<Automation | null>): Promise<Automation> => {
    const automation = found(await change);
    await notices.changed(site);
    return automation;
  };
  const find = async (site: Site, id: string) => found(await automations.find(site.siteId, known(id)));

  return {
    async list(site) {
      const [all, stats] = await Promise.all([automations.list(site.siteId), automations.stats(site.siteId)]);
      return all.map((automation) => ({ automation, stats: stats.get(automation.id) ?? NO_STATS }));
    },

    async get(site, id) {
      const automation = await find(site, id);
      return {
        automation,
        stats: (await automations.stats(site.siteId, automation.id)).get(automation.id) ?? NO_STATS,
      };
    },

    async stats(site, id) {
      const stats = (await automations.stats(site.siteId, known(id))).get(id.toLowerCase());
      return stats ?? notFound();
    },

    async create(site, userId, given) {
      const input = { ...given, ...clean(given) };
      checkAutomation(input);
      const automation = await automations.create(site.siteId, userId, input, AUTOMATION_LIMITS.perSite);
      if (automation === null)
        throw new AppError(
          'limit_reached',
          `A website can have at most ${AUTOMATION_LIMITS.perSite} automations`,
        );
      await notices.changed(site);
      return automation;
    },

    async update(site, id, given) {
      const change = clean(given);
      const current = await find(site, id);
      const isOther = change.triggerType !== undefined || change.triggerConfig !== undefined;
      checkAutomation({
        name: '',
        description: '',
        // What stays as it is need not be found valid: a database of the original may hold anything.
        triggerType: isOther ? (change.triggerType ?? current.triggerType) : 'pageView',
        triggerConfig: isOther ? (change.triggerConfig ?? current.triggerConfig) : {},
        actions: change.actions ?? [],
        conditions: change.conditions ?? [],
      });
      return changed(site, automations.update(site.siteId, current.id, change));
    },

    toggle: async (site, id) => changed(site, automations.toggle(site.siteId, known(id))),

    rotateSecret: async (site, id) =>
      changed(
        site,
        automations.setSecret(site.siteId, known(id), `whsec_${randomBytes(32).toString('hex')}`),
      ),

    async delete(site, id) {
      if (!(await automations.delete(site.siteId, known(id)))) notFound();
      await notices.changed(site);
    },
  };
}

/** What is set, as the store takes it. */
function clean(given: AutomationChange): AutomationChange {
  const { name, description, triggerConfig, actions, conditions, triggerType, isActive } = given;
  return {
    ...(name === undefined ? {} : { name: storableText(name) }),
    ...(description === undefined ? {} : { description: storableText(description) }),
    ...(triggerType === undefined ? {} : { triggerType }),
    ...(triggerConfig === undefined ? {} : { triggerConfig: storable(triggerConfig) }),
    ...(isActive === undefined ? {} : { isActive }),
    ...(actions && {
      actions: actions.map(({ actionType, actionConfig }) => ({
        actionType,
        actionConfig: storable(actionConfig),
      })),
    }),
    ...(conditions && {
      conditions: conditions.map(({ conditionType, conditionConfig }) => ({
        conditionType,
        conditionConfig: storable(conditionConfig),
      })),
    }),
  };
}

const found = <T>(value: T | null): T => value ?? notFound();

const known = (id: string): string => (isUuid(id) ? id.toLowerCase() : notFound());

function notFound(): never {
  throw new AppError('not_found', 'Automation not found');
}
