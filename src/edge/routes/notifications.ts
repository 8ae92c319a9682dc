/** What the program tells an account (contract 18.4). */

import Type, { type Static } from 'typebox';
import { AppError } from '../../errors.js';
import type { NotificationService } from '../../notifications/notification-service.js';
import type { NotificationRecord } from '../../storage/metadata/notifications.js';
import { isUuid } from '../../uuid.js';
import { userIdOf } from '../caller.js';
import { type AnyRoute, Nothing, route } from '../route.js';

const Notification = Type.Object({
  id: Type.String({ format: 'uuid' }),
  user_id: Type.String({ format: 'uuid' }),
  type: Type.String({ description: 'What it is about, e.g. automation_failing' }),
  title: Type.String(),
  message: Type.String(),
  link: Type.String({ description: "Path within the dashboard, '' none" }),
  is_read: Type.Boolean(),
  created_at: Type.String({ format: 'date-time' }),
});
const Done = Type.Object({ success: Type.Boolean(), message: Type.String() });

const BASE = '/api/v1/user/notifications';
const common = {
  tag: 'Notifications',
  bucket: 'api',
  cors: 'api',
  access: 'account',
  query: Nothing,
} as const;

export function notificationRoutes(notifications: NotificationService): AnyRoute[] {
  return [
    route({
      ...common,
      method: 'GET',
      path: BASE,
      summary: 'What the program tells the account, newest first',
      params: Nothing,
      responses: { 200: Type.Array(Notification) },
      handle: async ({ principal }) => ({
        status: 200,
        body: (await notifications.list(userIdOf(principal))).map(notificationBody),
        headers: { 'Cache-Control': 'private, no-cache' },
      }),
    }),
    route({
      ...common,
      method: 'PUT',
      path: `${BASE}/read-all`,
      summary: 'Mark all notifications of the account as read',
      params: Nothing,
      responses: { 200: Done },
      async handle({ principal }) {
        await notifications.markAllRead(userIdOf(principal));
        return { status: 200, body: { success: true, message: 'All notifications marked as read' } };
      },
    }),
    route({
      ...common,
      method: 'PUT',
      path: `${BASE}/:id/read`,
      summary: 'Mark a notification as read',
      params: Type.Object({ id: Type.String({ description: 'UUID' }) }),
      responses: { 200: Done },
      async handle({ principal, params: { id } }) {
        if (!isUuid(id)) throw new AppError('invalid_parameter', 'Invalid notification ID');
        await notifications.markRead(userIdOf(principal), id);
        return { status: 200, body: { success: true, message: 'Notification marked as read' } };
      },
    }),
  ];
}

function notificationBody(record: NotificationRecord): Static<typeof Notification> {
  return {
    id: record.id,
    user_id: record.userId,
    type: record.type,
    title: record.title,
    message: record.message,
    link: record.link,
    is_read: record.isRead,
    created_at: record.createdAt.toISOString(),
  };
}
