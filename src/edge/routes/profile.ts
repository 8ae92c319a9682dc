/** What an account changes of itself (contract 3.7, 3.8). */
import Type from 'typebox';
import { bearerToken } from '../../auth/authenticator.js';
import type { ProfileService } from '../../auth/profile-service.js';
import { userIdOf } from '../caller.js';
import { type AnyRoute, Nothing, route } from '../route.js';
import { RevokeApiKeys, UserBody, userBody } from './user-body.js';

const Done = { success: Type.Boolean(), message: Type.String() };
const BASE = '/api/v1/user/users';
const common = {
  method: 'PUT',
  tag: 'Auth',
  cors: 'api',
  access: 'account',
  params: Nothing,
  query: Nothing,
  bodyLimit: 16 * 1024,
} as const;

export function profileRoutes(profiles: ProfileService): AnyRoute[] {
  return [
    route({
      ...common,
      path: `${BASE}/profile`,
      summary: 'Change name and e-mail address of the own account',
      bucket: 'api',
      body: Type.Object({
        name: Type.String({ minLength: 1, maxLength: 255 }),
        email: Type.String({ minLength: 1, maxLength: 254 }),
      }),
      responses: { 200: Type.Object({ ...Done, data: Type.Object({ user: UserBody }) }) },
      async handle({ principal, body }) {
        const user = await profiles.update(userIdOf(principal), body);
        return {
          status: 200,
          body: { success: true, message: 'Profile updated successfully', data: { user: userBody(user) } },
        };
      },
    }),
    route({
      ...common,
      path: `${BASE}/change-password`,
      summary:
        'Change the own password; all other sessions of the account end, its API keys stay unless that is asked for',
      bucket: 'auth',
      body: Type.Object({
        currentPassword: Type.String({ minLength: 1, maxLength: 256 }),
        newPassword: Type.String({ minLength: 8, maxLength: 256 }),
        revokeApiKeys: RevokeApiKeys,
      }),
      responses: { 200: Type.Object(Done) },
      async handle({ principal, body, request }) {
        const accessToken = bearerToken(request.header('authorization'));
        const { address } = request;
        const change = { ...body, revokeApiKeys: body.revokeApiKeys === true };
        await profiles.changePassword(userIdOf(principal), change, { accessToken, address });
        return { status: 200, body: { success: true, message: 'Password changed successfully' } };
      },
    }),
  ];
}
