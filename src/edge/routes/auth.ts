import Type from 'typebox';
import type { AuthService, SignedIn } from '../../auth/auth-service.js';
import { bearerToken } from '../../auth/authenticator.js';
import { AppError } from '../../errors.js';
import { clientOf } from '../address.js';
import { userIdOf } from '../caller.js';
import { type AnyRoute, Nothing, route } from '../route.js';
import { CodeText } from './second-factor.js';
import { UserBody, userBody } from './user-body.js';

/** Both spellings: the original answers one, the dashboard reads the other (contract 0.1). */
const tokenFields = {
  accessToken: Type.String(),
  refreshToken: Type.String(),
  access_token: Type.String(),
  refresh_token: Type.String(),
};
const TokensBody = Type.Object(tokenFields);
const SignedInBody = Type.Object({
  message: Type.String(),
  data: Type.Object({ user: UserBody, tokens: TokensBody }),
});

const RegisterBody = Type.Object({
  name: Type.String({ minLength: 1, maxLength: 255 }),
  email: Type.String({ maxLength: 254 }),
  password: Type.String({ minLength: 8, maxLength: 256 }),
});
const LoginBody = Type.Object({
  email: Type.String({ minLength: 1, maxLength: 254 }),
  password: Type.String({ minLength: 1, maxLength: 256 }),
  totp: Type.Optional(CodeText),
});
const ChallengeBody = Type.Object({
  challenge: Type.String({
    minLength: 1,
    maxLength: 1024,
    description: 'Of the answer `two_factor_required` to a login: `details.challenge`; good for five minutes',
  }),
  code: CodeText,
});
const RefreshBody = Type.Object({
  refresh_token: Type.Optional(Type.String({ maxLength: 4096 })),
  refreshToken: Type.Optional(Type.String({ maxLength: 4096, description: 'Another spelling' })),
});

/** Bytes; nobody's name and password are longer. */
const BODY_LIMIT = 16 * 1024;

/** Accounts and sessions, under both prefixes of the original. */
export function authRoutes(auth: AuthService): AnyRoute[] {
  return [
    ...['/api/v1/auth', '/api/v1/user/auth'].flatMap((prefix) => sessionRoutes(auth, prefix)),
    route({
      method: 'GET',
      path: '/api/v1/user/auth/setup-status',
      summary: 'Whether the instance has an account yet',
      tag: 'Auth',
      bucket: 'api',
      cors: 'api',
      access: 'public',
      params: Nothing,
      query: Nothing,
      responses: {
        200: Type.Object({
          data: Type.Object({ setupComplete: Type.Boolean(), registrationOpen: Type.Boolean() }),
        }),
      },
      handle: async () => ({ status: 200, body: { data: await auth.setupStatus() } }),
    }),
    route({
      method: 'GET',
      path: '/api/v1/user/auth/me',
      summary: 'The account of the caller',
      tag: 'Auth',
      bucket: 'api',
      cors: 'api',
      access: 'account',
      params: Nothing,
      query: Nothing,
      responses: { 200: Type.Object({ data: Type.Object({ user: UserBody }) }) },
      async handle({ principal }) {
        return { status: 200, body: { data: { user: userBody(await auth.account(userIdOf(principal))) } } };
      },
    }),
  ];
}

function sessionRoutes(auth: AuthService, prefix: string): AnyRoute[] {
  const common = {
    method: 'POST',
    tag: 'Auth',
    cors: 'api',
    access: 'public',
    params: Nothing,
    query: Nothing,
    bodyLimit: BODY_LIMIT,
  } as const;
  return [
    route({
      ...common,
      path: `${prefix}/register`,
      summary: 'Create an account; the first one becomes admin and closes registration',
      bucket: 'auth',
      body: RegisterBody,
      responses: { 201: SignedInBody },
      handle: async ({ body, request }) => ({
        status: 201,
        body: {
          message: 'User registered successfully',
          data: signedInData(await auth.register(body, request.address)),
        },
      }),
    }),
    route({
      ...common,
      path: `${prefix}/login`,
      summary: 'Sign in; an account with a second factor needs `totp`, or is answered `two_factor_required`',
      bucket: 'auth',
      body: LoginBody,
      responses: { 200: SignedInBody },
      handle: async ({ body, request }) => ({
        status: 200,
        body: {
          message: 'Logged in successfully',
          data: signedInData(await auth.login({ ...body, code: body.totp }, clientOf(request))),
        },
      }),
    }),
    route({
      ...common,
      path: `${prefix}/login/2fa`,
      summary: 'Finish a login with a code of the second factor',
      bucket: 'auth',
      body: ChallengeBody,
      responses: { 200: SignedInBody },
      handle: async ({ body, request }) => ({
        status: 200,
        body: {
          message: 'Logged in successfully',
          data: signedInData(await auth.loginSecondFactor(body.challenge, body.code, request.address)),
        },
      }),
    }),
    route({
      ...common,
      path: `${prefix}/refresh`,
      summary: 'Exchange a refresh token, once, for a new pair',
      bucket: 'api',
      body: RefreshBody,
      responses: { 200: Type.Object({ ...tokenFields, tokens: TokensBody, user: UserBody }) },
      async handle({ body }) {
        const token = body.refresh_token ?? body.refreshToken ?? '';
        if (token === '') throw new AppError('invalid_parameter', 'refresh_token is required');
        const { tokens, user } = signedInData(await auth.refresh(token));
        return { status: 200, body: { ...tokens, tokens, user } };
      },
    }),
    route({
      ...common,
      path: `${prefix}/logout`,
      summary: 'End the session of the access token or refresh token that is sent',
      bucket: 'api',
      body: RefreshBody,
      responses: { 200: Type.Object({ success: Type.Boolean(), message: Type.String() }) },
      async handle({ body, request }) {
        const refreshToken = body.refresh_token ?? body.refreshToken ?? '';
        await auth.logout({ accessToken: bearerToken(request.header('authorization')), refreshToken });
        return { status: 200, body: { success: true, message: 'Logged out successfully' } };
      },
    }),
  ];
}

function signedInData({ user, tokens: { accessToken, refreshToken } }: SignedIn) {
  return {
    user: userBody(user),
    tokens: { accessToken, refreshToken, access_token: accessToken, refresh_token: refreshToken },
  };
}
