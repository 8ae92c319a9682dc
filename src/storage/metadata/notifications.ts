import type { Database, Row } from '../postgres.js';
import { bool, date, text } from '../row.js';

export interface NotificationRecord {
  readonly id: string;
  readonly userId: string;
  readonly type: string;
  readonly title: string;
  readonly message: string;
  /** Path within the dashboard; '' none. */
  readonly link: string;
  readonly isRead: boolean;
  readonly createdAt: Date;
}

export type NewNotification = Pick<NotificationRecord, 'userId' | 'type' | 'title' | 'message' | 'link'> & {
  /** What makes two of them the same. */
  readonly topic: string;
};

export interface NotificationStore {
  /**
   * Adds one, or renews the unread one of the same topic; of an account the newest `keep` stay. Nothing happens when the account is gone.
   * @param quietMs after one of the topic was read, for this time since it was made no further one is added
   */
  add(notification: NewNotification, quietMs: number, keep: number): Promise<void>;
  /** Newest first. */
  list(userId: string, limit: number): Promise<NotificationRecord[]>;
  /** False when the account has no such notification. */
  markRead(userId: string, id: string): Promise<boolean>;
  markAllRead(userId: string): Promise<void>;
}

const ADD = `INSERT INTO notifications (user_id, type, topic, title, message, link)
  SELECT u.id, $2::text, $3::text, $4::text, $5::text, $6::text FROM users u
  WHERE u.id = $1 AND NOT EXISTS (
    SELECT 1 FROM notifications n WHERE n.user_id = $1 AND n.topic = $3::text AND n.is_read
      AND n.created_at > now() - make_interval(secs => $7::double precision / 1000))
  ON CONFLICT (user_id, topic) WHERE NOT is_read
  DO UPDATE SET title = EXCLUDED.title, message = EXCLUDED.message, link = EXCLUDED.link, created_at = now()`;

const TRIM = `DELETE FROM notifications WHERE user_id = $1 AND id IN (
  SELECT id FROM notifications WHERE user_id = $1 ORDER BY created_at DESC, id OFFSET $2::int)`;

function readNotification(row: Row): NotificationRecord {
  return {
    id: text(row, 'id'),
    userId: text(row, 'user_id'),
    type: text(row, 'type'),
    title: text(row, 'title'),
    message: text(row, 'message'),
    link: text(row, 'link'),
    isRead: bool(row, 'is_read'),
    createdAt: date(row, 'created_at'),
  };
}

export function createNotificationStore(db: Database): NotificationStore {
  return {
    async add({ userId, type, topic, title, message, link }, quietMs, keep) {
      await db.query(ADD, [userId, type, topic, title, message, link, quietMs]);
      await db.query(TRIM, [userId, keep]);
    },

    async list(userId, limit) {
      const rows = await db.query(
        `SELECT id, user_id, type, title, message, link, is_read, created_at FROM notifications
         WHERE user_id = $1 ORDER BY created_at DESC, id LIMIT $2`,
        [userId, limit],
      );
      return rows.map(readNotification);
    },

    async markRead(userId, id) {
      const rows = await db.query(
        'UPDATE notifications SET is_read = true WHERE user_id = $1 AND id = $2 RETURNING id',
        [userId, id],
      );
      return rows.length > 0;
    },

    async markAllRead(userId) {
      await db.query('UPDATE notifications SET is_read = true WHERE user_id = $1 AND NOT is_read', [userId]);
    },
  };
}
