/** Messages to the people who run this instance (contract 18.4). */
import Type from 'typebox';
import type { Principal } from '../../auth/principal.js';
import type { ContactService } from '../../contact/contact-service.js';
import { AppError } from '../../errors.js';
import { clientOf } from '../address.js';
import { type AnyRoute, Nothing, route } from '../route.js';

const email = Type.String({ minLength: 1, maxLength: 254 });
const message = Type.String({ minLength: 1, maxLength: 10_000 });
const Sent = Type.Object({ success: Type.Boolean(), message: Type.String() });
const SENT = { status: 200, body: { success: true, message: 'Message sent' } } as const;

const common = {
  method: 'POST',
  tag: 'Contact',
  bucket: 'public',
  cors: 'api',
  access: 'public',
  params: Nothing,
  query: Nothing,
  bodyLimit: 64 * 1024,
  responses: { 200: Sent },
} as const;

export function contactRoutes(contact: ContactService): AnyRoute[] {
  return [
    route({
      ...common,
      path: '/api/v1/user/support/contact',
      summary: 'Write to the people who run this instance',
      body: Type.Object({
        subject: Type.Optional(Type.String({ maxLength: 200 })),
        message,
        email: Type.Optional(Type.String({ maxLength: 254, description: 'Default: that of the account' })),
      }),
      async handle({ body, principal, request }) {
        const sender = { ...body, email: addressOf(body.email, principal), ...accountOf(principal) };
        await contact.send(sender, clientOf(request));
        return SENT;
      },
    }),
    route({
      ...common,
      path: '/api/contact',
      summary: 'Write to the people who run this instance about a website',
      body: Type.Object({
        name: Type.Optional(Type.String({ maxLength: 200 })),
        email,
        message,
        websiteId: Type.Optional(
          Type.Union([Type.String({ maxLength: 64, description: 'As the sender says' }), Type.Null()]),
        ),
      }),
      async handle({ body, principal, request }) {
        const sender = { ...body, websiteId: body.websiteId ?? undefined, ...accountOf(principal) };
        await contact.send(sender, clientOf(request));
        return SENT;
      },
    }),
  ];
}

function addressOf(given: string | undefined, principal: Principal): string {
  if (given !== undefined && given.trim() !== '') return given;
  if (principal.kind === 'account') return principal.email;
  throw new AppError('invalid_parameter', 'email is required');
}

const accountOf = (principal: Principal) =>
  principal.kind === 'account' ? { userId: principal.userId } : {};
