/** Figures over the whole instance, for its admins (contract 15.1). */
import Type from 'typebox';
import type { InstanceStats } from '../../metrics/instance-stats.js';
import { type AnyRoute, Nothing, route } from '../route.js';

export function adminRoutes(stats: InstanceStats): AnyRoute[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/admin/analytics/stats',
      summary: 'Totals over all websites of the instance',
      tag: 'Admin',
      bucket: 'admin',
      cors: 'api',
      access: 'admin',
      params: Nothing,
      query: Nothing,
      responses: {
        200: Type.Object({
          total_events: Type.Integer({ description: 'Stored now; bots are not counted' }),
          events_today: Type.Integer({ description: 'Of the UTC day' }),
          unique_visitors_today: Type.Integer({ description: 'Who visits two websites counts twice' }),
          total_pageviews: Type.Integer(),
        }),
      },
      async handle() {
        const { events, eventsToday, visitorsToday, pageViews } = await stats.totals();
        return {
          status: 200,
          body: {
            total_events: events,
            events_today: eventsToday,
            unique_visitors_today: visitorsToday,
            total_pageviews: pageViews,
          },
          headers: { 'Cache-Control': 'private, no-cache' },
        };
      },
    }),
  ];
}
