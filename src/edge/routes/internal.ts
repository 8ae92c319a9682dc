/** What a gateway in front of the program asks (contract 15.2). */
import Type from 'typebox';
import { syncAccount } from '../../auth/gateway.js';
import type { UsageService } from '../../billing/usage.js';
import { AppError } from '../../errors.js';
import type { UserStore } from '../../storage/metadata/metadata.js';
import { type AnyRoute, Nothing, route } from '../route.js';

export interface InternalRoutesOptions {
  readonly users: Pick<UserStore, 'sync'>;
  readonly usage: UsageService;
}

const UUID = '^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$';
const Count = Type.Integer({ minimum: 0 });
const common = {
  tag: 'Internal',
  bucket: 'internal',
  cors: 'api',
  access: 'internal',
  params: Nothing,
} as const;

export function internalRoutes({ users, usage }: InternalRoutesOptions): AnyRoute[] {
  return [
    route({
      ...common,
      method: 'GET',
      path: '/api/v1/internal/user-resource-counts',
      summary: 'How much of everything an account has on the websites that it owns',
      query: Type.Object({
        user_id: Type.Optional(
          Type.String({ pattern: UUID, description: 'Required; unknown accounts have nothing' }),
        ),
      }),
      responses: {
        200: Type.Object({
          data: Type.Object({
            websites: Count,
            funnels: Count,
            automations: Count,
            heatmaps: Type.Integer({ minimum: 0, description: 'Pages with heat points' }),
            replays: Type.Integer({ minimum: 0, description: 'Recorded sessions' }),
            monthly_events: Type.Integer({ minimum: 0, description: 'Since the first of the UTC month' }),
          }),
        }),
      },
      async handle({ query }) {
        if (query.user_id === undefined)
          throw new AppError('invalid_parameter', 'user_id query parameter required');
        const { monthlyEvents, ...counts } = await usage.of(query.user_id.toLowerCase());
        return { status: 200, body: { data: { ...counts, monthly_events: monthlyEvents } } };
      },
    }),
    route({
      ...common,
      method: 'POST',
      path: '/api/v1/internal/user/sync',
      summary: "Make an account known, or its new address or name; 409 when the address is another account's",
      query: Nothing,
      bodyLimit: 16 * 1024,
      body: Type.Object({
        id: Type.String({ pattern: UUID }),
        email: Type.String({ minLength: 1, maxLength: 254 }),
        name: Type.Optional(Type.String({ maxLength: 255 })),
      }),
      responses: { 200: Type.Object({ message: Type.String() }) },
      async handle({ body: { id, email, name = '' } }) {
        await syncAccount(users, { id: id.toLowerCase(), email, name });
        return { status: 200, body: { message: 'user synced successfully' } };
      },
    }),
  ];
}
