/** The second factor of an account, and signing in with it. Accounts without one never meet these routes. */
import Type from 'typebox';
import { bearerToken } from '../../auth/authenticator.js';
import type { SecondFactor } from '../../auth/second-factor.js';
import { userIdOf } from '../caller.js';
import { type AnyRoute, Nothing, route } from '../route.js';

const BASE = '/api/v1/user/2fa';
const common = {
  tag: 'second factor',
  bucket: 'api',
  cors: 'api',
  access: 'account',
  params: Nothing,
  query: Nothing,
} as const;
const Password = Type.String({ minLength: 1, maxLength: 256, description: 'Of the account' });
const change = { ...common, method: 'POST', bucket: 'auth', bodyLimit: 16 * 1024 } as const;

/** Of an app, or a recovery code. */
export const CodeText = Type.String({
  minLength: 1,
  maxLength: 64,
  description: 'Six digits of the authenticator app, or a recovery code; each is taken once',
  examples: ['492039'],
});

export function secondFactorRoutes(factor: SecondFactor): AnyRoute[] {
  return [
    route({
      ...common,
      method: 'GET',
      path: BASE,
      summary: 'Whether the account has a second factor',
      responses: {
        200: Type.Object({
          data: Type.Object({
            enabled: Type.Boolean(),
            enabled_at: Type.Union([Type.String({ format: 'date-time' }), Type.Null()]),
            recovery_codes_left: Type.Integer(),
          }),
        }),
      },
      async handle({ principal }) {
        const state = await factor.state(userIdOf(principal));
        const data = {
          enabled: state !== null && state.enabledAt !== null,
          enabled_at: state?.enabledAt?.toISOString() ?? null,
          recovery_codes_left: state?.recoveryCodesLeft ?? 0,
        };
        return { status: 200, body: { data } };
      },
    }),
    route({
      ...change,
      path: `${BASE}/setup`,
      summary:
        'With the password, get a secret for an authenticator app; it counts once `enable` has seen a code',
      answerIsSecret: true,
      body: Type.Object({ password: Password }),
      responses: {
        200: Type.Object({
          data: Type.Object({
            secret: Type.String({ description: 'Base 32', examples: ['GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ'] }),
            otpauth_url: Type.String({
              description: 'For a QR code',
              examples: [
                'otpauth://totp/Seentics:ada%40shop.example?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Seentics&algorithm=SHA1&digits=6&period=30',
              ],
            }),
          }),
        }),
      },
      async handle({ principal, body }) {
        const { secret, uri } = await factor.setup(userIdOf(principal), body.password);
        return { status: 200, body: { data: { secret, otpauth_url: uri } } };
      },
    }),
    route({
      ...change,
      path: `${BASE}/enable`,
      summary:
        'Confirm the secret with a code of the app; answers recovery codes, once, and ends all other sessions',
      answerIsSecret: true,
      body: Type.Object({ code: CodeText }),
      responses: {
        200: Type.Object({
          message: Type.String(),
          data: Type.Object({
            recovery_codes: Type.Array(Type.String(), { examples: [['mzxw-6ytb-oi4d-gnbv']] }),
          }),
        }),
      },
      async handle({ principal, body, request }) {
        const accessToken = bearerToken(request.header('authorization'));
        const codes = await factor.enable(userIdOf(principal), body.code, accessToken);
        return {
          status: 200,
          body: { message: 'Second factor enabled', data: { recovery_codes: [...codes] } },
        };
      },
    }),
    route({
      ...change,
      path: `${BASE}/disable`,
      summary: 'End the second factor, with password and a code',
      body: Type.Object({ password: Password, code: CodeText }),
      responses: { 200: Type.Object({ success: Type.Boolean(), message: Type.String() }) },
      async handle({ principal, body }) {
        await factor.disable(userIdOf(principal), body.password, body.code);
        return { status: 200, body: { success: true, message: 'Second factor disabled' } };
      },
    }),
  ];
}
