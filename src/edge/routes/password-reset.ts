/** A new password by mail (contract 3.4, 3.5). The original has these under one prefix only; so does the dashboard. */
import Type from 'typebox';
import type { PasswordResetService } from '../../auth/password-reset-service.js';
import { type AnyRoute, Nothing, route } from '../route.js';
import { RevokeApiKeys } from './user-body.js';

const Done = Type.Object({ message: Type.String() });
const common = {
  method: 'POST',
  tag: 'Auth',
  // That of the login: few requests an address.
  bucket: 'auth',
  cors: 'api',
  access: 'public',
  params: Nothing,
  query: Nothing,
  bodyLimit: 16 * 1024,
} as const;

export function passwordResetRoutes(resets: PasswordResetService): AnyRoute[] {
  return [
    route({
      ...common,
      path: '/api/v1/auth/forgot-password',
      summary:
        'Mail a link for a new password to the account of an address; the answer does not tell whether there is one',
      body: Type.Object({ email: Type.String({ minLength: 1, maxLength: 254 }) }),
      responses: { 200: Done },
      async handle({ body }) {
        resets.ask(body.email);
        const message = "If an account exists with that email, we've sent a password reset link.";
        return { status: 200, body: { message } };
      },
    }),
    route({
      ...common,
      path: '/api/v1/auth/reset-password',
      summary:
        'Set a new password with the token of a mailed link, once; all sessions of the account end, its API keys stay unless that is asked for',
      body: Type.Object({
        token: Type.String({ minLength: 1, maxLength: 256, description: 'What the link carries as `token`' }),
        newPassword: Type.String({ minLength: 8, maxLength: 256 }),
        revokeApiKeys: RevokeApiKeys,
      }),
      responses: { 200: Done },
      async handle({ body, request }) {
        const { token, newPassword, revokeApiKeys = false } = body;
        await resets.reset(token, { newPassword, revokeApiKeys }, request.address);
        return { status: 200, body: { message: 'Password has been reset successfully' } };
      },
    }),
  ];
}
