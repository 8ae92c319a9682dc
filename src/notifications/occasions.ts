/** What in the running program is worth telling an account, and how it comes to be told. */
import { LRUCache } from 'lru-cache';
import type { EventStore } from '../storage/events/event-store.js';
import type { MemberService } from '../websites/members.js';
import type { Site, SiteDirectory } from '../websites/site.js';
import type { Notifier } from './notification-service.js';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** What happens again within this time is not told to the store again. */
const PAUSE_MS = 60_000;
const MAX_REMEMBERED = 10_000;

/** Tells accounts that they are in a team now. */
export function tellingMembers(members: MemberService, notifier: Notifier): MemberService {
  return {
    ...members,
    async add(site, email, role) {
      const member = await members.add(site, email, role);
      await notifier.notify(member.userId, {
        type: 'member_added',
        siteId: site.siteId,
        title: `You are in the team of ${site.name}`,
        message:
          role === 'viewer' ? 'You can see its figures.' : 'You can see its figures and change its settings.',
        link: `/websites/${site.id}`,
      });
      return member;
    },
  };
}

/** Tells owners that events, or recordings, of their site were refused by the store and wait in the quarantine. */
export function tellingOfQuarantine<Store extends Pick<EventStore, 'quarantine'>>(
  events: Store,
  what: 'events' | 'recordings',
  sites: Pick<SiteDirectory, 'resolve'>,
  notifier: Notifier,
): Store {
  const told = new LRUCache<string, true>({ max: MAX_REMEMBERED, ttl: PAUSE_MS });
  const tell = async (siteId: string) => {
    if (told.has(siteId)) return;
    told.set(siteId, true);
    const site = await ownerOf(sites, siteId);
    if (site === null) return;
    await notifier.notify(site.ownerId, {
      type: `${what}_quarantined`,
      siteId,
      title: `${what === 'events' ? 'Events' : 'Recordings'} of ${site.name} are in quarantine`,
      message: `The event store refused them. They are kept as they came${what === 'events' ? ' and can be stored again' : ''}.`,
      link: `/websites/${site.id}`,
      quietMs: HOUR_MS,
    });
  };
  return {
    ...events,
    async quarantine(entries: Parameters<EventStore['quarantine']>[0], token: string) {
      await events.quarantine(entries, token);
      // The writer goes on: it waits for nothing but the store.
      for (const siteId of new Set(entries.map((entry) => entry.siteId))) void tell(siteId);
    },
  };
}

/** An automation's execution that has ended. */
export interface EndedExecution {
  readonly automationId: string;
  readonly automationName: string;
  /** Public site id. */
  readonly siteId: string;
  /** Null: it succeeded. */
  readonly error: string | null;
}

/** Failures in a row, on this node, after which the owner is told; and after how many more again. */
const FAILURES = 3;
const FAILURES_AGAIN = 100;

/** Tells owners that an automation fails again and again. */
export function watchingFailures(
  sites: Pick<SiteDirectory, 'resolve'>,
  notifier: Notifier,
): (execution: EndedExecution) => void {
  const failures = new LRUCache<string, number>({ max: MAX_REMEMBERED });
  // The reason of a failure may name a visitor, so it stays with the executions.
  const tell = async ({ automationId, automationName, siteId }: EndedExecution, count: number) => {
    const site = await ownerOf(sites, siteId);
    if (site === null) return;
    await notifier.notify(site.ownerId, {
      type: 'automation_failing',
      siteId,
      subject: automationId,
      title: `The automation ${automationName} fails`,
      message: `On ${site.name}, its last ${count} executions failed.`,
      link: `/websites/${site.id}/automations/${automationId}`,
      quietMs: DAY_MS,
    });
  };
  return (execution) => {
    if (execution.error === null) {
      failures.delete(execution.automationId);
      return;
    }
    const count = (failures.get(execution.automationId) ?? 0) + 1;
    failures.set(execution.automationId, count);
    if (count === FAILURES || count % FAILURES_AGAIN === 0) void tell(execution, count);
  };
}

/** Null also when nobody can say just now: what is told here is never worth a failure. */
async function ownerOf(sites: Pick<SiteDirectory, 'resolve'>, siteId: string): Promise<Site | null> {
  try {
    return await sites.resolve(siteId);
  } catch {
    return null;
  }
}
