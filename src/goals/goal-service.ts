import { randomUUID } from 'node:crypto';
import { AppError } from '../errors.js';
import type { GoalRecord, GoalStore } from '../storage/metadata/metadata.js';
import type { SiteIds, SiteNotices } from '../websites/site-notices.js';

/** Goals of one site; every one costs a little on each report. */
export const MAX_GOALS = 500;
export const GOAL_TEXT_LIMIT = 255;
export const GOAL_TYPES = ['event', 'pageview'] as const;

export interface GoalInput {
  readonly name: string;
  readonly type: (typeof GOAL_TYPES)[number];
  /** Event type, or path with `*` as wildcard. */
  readonly identifier: string;
  /** CSS selector: the tracker sends the event when such an element is clicked. */
  readonly selector?: string | null | undefined;
}

/** Goals of sites; a change shows in the tracker's configuration at once. */
export interface GoalService {
  /** Newest first. */
  list(site: SiteIds): Promise<GoalRecord[]>;
  /** @throws AppError `invalid_parameter` (empty texts), `limit_reached` */
  create(site: SiteIds, goal: GoalInput): Promise<GoalRecord>;
  /** @throws AppError `not_found` */
  delete(site: SiteIds, id: string): Promise<void>;
}

export interface GoalServiceOptions {
  readonly goals: GoalStore;
  readonly notices: Pick<SiteNotices, 'changed'>;
}

export function createGoalService({ goals, notices }: GoalServiceOptions): GoalService {
  return {
    list: (site) => goals.list(site.id),

    async create(site, { name, type, identifier, selector }) {
      const goal = await goals.create(
        {
          id: randomUUID(),
          websiteId: site.id,
          name: filled('name', name),
          type,
          identifier: filled('identifier', identifier),
          selector: selector?.trim() || null,
        },
        MAX_GOALS,
      );
      if (!goal) throw new AppError('limit_reached', `A website has at most ${MAX_GOALS} goals`);
      await notices.changed(site);
      return goal;
    },

    async delete(site, id) {
      if (!(await goals.delete(site.id, id))) throw new AppError('not_found', 'Goal not found');
      await notices.changed(site);
    },
  };
}

function filled(field: string, text: string): string {
  const trimmed = text.trim();
  if (trimmed === '') throw new AppError('invalid_parameter', `${field} must not be empty`);
  return trimmed;
}
