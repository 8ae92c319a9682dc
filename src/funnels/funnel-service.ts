import { randomUUID } from 'node:crypto';
import { AppError } from '../errors.js';
import type { FunnelRecord, FunnelStore } from '../storage/metadata/metadata.js';
import { isUuid } from '../uuid.js';
import type { SiteIds, SiteNotices } from '../websites/site-notices.js';
import { checkedSteps, type StepInput } from './steps.js';

/** Funnels of one site: as many as its trackers are told of. */
export const MAX_FUNNELS = 200;
export const FUNNEL_LIMITS = { name: 255, description: 2_000 } as const;

export interface FunnelInput {
  readonly name: string;
  readonly description?: string | null | undefined;
  readonly steps: readonly StepInput[];
}

/** Absent or null: unchanged. */
export interface FunnelChange {
  readonly name?: string | null | undefined;
  readonly description?: string | null | undefined;
  readonly isActive?: boolean | null | undefined;
  /** Replace all steps. */
  readonly steps?: readonly StepInput[] | null | undefined;
}

/** Funnels of sites: each is found under its own site only. A change shows in the tracker's list at once. */
export interface FunnelService {
  /** Newest first. */
  list(site: SiteIds): Promise<FunnelRecord[]>;
  /** @throws AppError `not_found` */
  get(site: SiteIds, id: string): Promise<FunnelRecord>;
  /** @throws AppError `invalid_parameter`, `limit_reached` */
  create(site: SiteIds, userId: string, funnel: FunnelInput): Promise<FunnelRecord>;
  /** @throws AppError `invalid_parameter`, `not_found` */
  update(site: SiteIds, id: string, change: FunnelChange): Promise<FunnelRecord>;
  /** @throws AppError `not_found` */
  delete(site: SiteIds, id: string): Promise<void>;
}

export interface FunnelServiceOptions {
  readonly funnels: FunnelStore;
  readonly notices: Pick<SiteNotices, 'changed'>;
}

export function createFunnelService({ funnels, notices }: FunnelServiceOptions): FunnelService {
  return {
    list: (site) => funnels.list(site.siteId),

    get: async (site, id) => found(await funnels.find(site.siteId, checkedId(id))),

    async create(site, userId, { name, description, steps }) {
      const funnel = await funnels.create(
        {
          id: randomUUID(),
          siteId: site.siteId,
          userId,
          name: checkedName(name),
          description: description?.trim() ?? '',
          steps: checkedSteps(steps),
        },
        MAX_FUNNELS,
      );
      if (!funnel) throw new AppError('limit_reached', `A website has at most ${MAX_FUNNELS} funnels`);
      await notices.changed(site);
      return funnel;
    },

    async update(site, id, { name, description, isActive, steps }) {
      const patch = {
        name: typeof name === 'string' ? checkedName(name) : null,
        description: description?.trim() ?? null,
        isActive: isActive ?? null,
        steps: steps ? checkedSteps(steps) : null,
      };
      const funnel = found(await funnels.update(site.siteId, checkedId(id), patch));
      await notices.changed(site);
      return funnel;
    },

    async delete(site, id) {
      if (!(await funnels.delete(site.siteId, checkedId(id)))) throw notFound();
      await notices.changed(site);
    },
  };
}

function checkedName(name: string): string {
  const trimmed = name.trim();
  if (trimmed === '') throw new AppError('invalid_parameter', 'name must not be empty');
  return trimmed;
}

/** What is no id names no funnel. */
function checkedId(id: string): string {
  if (!isUuid(id)) throw notFound();
  return id.toLowerCase();
}

function found(funnel: FunnelRecord | null): FunnelRecord {
  if (!funnel) throw notFound();
  return funnel;
}

const notFound = () => new AppError('not_found', 'Funnel not found');
