import { Counter } from 'prom-client';
import { AppError } from '../errors.js';
import type { NotificationRecord, NotificationStore } from '../storage/metadata/notifications.js';
import type { Telemetry } from '../telemetry.js';

/** What accounts are told about. */
export type NewsType =
  | 'automation_failing'
  | 'events_quarantined'
  | 'recordings_quarantined'
  | 'member_added'
  | 'site_shared'
  | 'import_finished'
  | 'import_failed';

export interface News {
  readonly type: NewsType;
  /** Public id of the website that it is about: the news goes with it. */
  readonly siteId?: string;
  /** What it is about besides, e.g. an automation's id: unread news of the same type, site and subject is renewed instead of repeated. */
  readonly subject?: string;
  /** Up to 200 characters; the rest is cut off. */
  readonly title: string;
  /** Up to 1,000 characters; the rest is cut off. */
  readonly message: string;
  /** Path within the dashboard. */
  readonly link?: string;
  /** For how long after one was made, once it is read, no further one is; default 0. */
  readonly quietMs?: number;
}

/** Tells accounts what they want to know. */
export interface Notifier {
  /** Never rejects: what goes on must not depend on it. */
  notify(userId: string, news: News): Promise<void>;
}

export interface NotificationService extends Notifier {
  /** Newest first, all that are kept. */
  list(userId: string): Promise<NotificationRecord[]>;
  /** @throws AppError `not_found` */
  markRead(userId: string, id: string): Promise<void>;
  markAllRead(userId: string): Promise<void>;
}

export interface NotificationServiceOptions {
  readonly notifications: NotificationStore;
  readonly telemetry: Telemetry;
  /** Of one account; default 100. */
  readonly keep?: number;
}

const LIMITS = { topic: 200, title: 200, message: 1_000, link: 500 } as const;

export function createNotificationService(options: NotificationServiceOptions): NotificationService {
  const { notifications, telemetry, keep = 100 } = options;
  const counter = new Counter({
    name: 'seentics_notifications_total',
    help: 'News for accounts by type and outcome: stored (or renewed, or left out as quiet), failed.',
    labelNames: ['type', 'outcome'],
    registers: [telemetry.registry],
  });
  return {
    async notify(userId, { type, siteId = '', subject = '', title, message, link = '', quietMs = 0 }) {
      try {
        await notifications.add(
          {
            userId,
            type,
            // The store finds what is about a site by the second word.
            topic: cut(`${type} ${siteId} ${subject}`, LIMITS.topic),
            title: cut(title, LIMITS.title),
            message: cut(message, LIMITS.message),
            link: cut(link, LIMITS.link),
          },
          quietMs,
          keep,
        );
        counter.inc({ type, outcome: 'stored' });
      } catch (err) {
        counter.inc({ type, outcome: 'failed' });
        telemetry.log.warn({ err, type }, 'a notification could not be stored');
      }
    },

    list: (userId) => notifications.list(userId, keep),

    async markRead(userId, id) {
      if (!(await notifications.markRead(userId, id))) {
        throw new AppError('not_found', 'There is no such notification');
      }
    },

    markAllRead: (userId) => notifications.markAllRead(userId),
  };
}

/** Whole characters only: half of one could not be stored. Postgres takes no NUL. */
function cut(text: string, limit: number): string {
  const clean = Buffer.from(text.replaceAll('\0', ' ')).toString();
  if (clean.length <= limit) return clean;
  return clean
    .slice(0, limit - 1)
    .replace(/[\uD800-\uDBFF]$/, '')
    .concat('…');
}
