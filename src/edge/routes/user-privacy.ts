/** What an account asks about its own data (contract 18.4), and its end. */
import Type, { type Static } from 'typebox';
import { AppError } from '../../errors.js';
import type { AccountDeletion } from '../../privacy/account-deletion.js';
import type { PersonalExport } from '../../privacy/personal-export.js';
import type { PrivacyRequests } from '../../privacy/privacy-requests.js';
import type { PrivacyRequest, PrivacyRequestStore } from '../../storage/metadata/privacy-requests.js';
import type { WebsiteService } from '../../websites/website-service.js';
import { userIdOf } from '../caller.js';
import { type AnyRoute, Nothing, route } from '../route.js';
import { AccountExport, exportReply } from './privacy.js';

export interface UserPrivacyRoutesOptions {
  readonly requests: Pick<PrivacyRequests, 'submit'>;
  readonly store: Pick<PrivacyRequestStore, 'list' | 'find' | 'settings' | 'saveSettings'>;
  readonly exports: PersonalExport;
  readonly accounts: AccountDeletion;
  readonly websites: Pick<WebsiteService, 'list'>;
}

const flag = Type.Optional(Type.Boolean());
const Settings = Type.Object({
  analytics_tracking: flag,
  marketing_emails: flag,
  product_emails: flag,
  personalization: flag,
  third_party_sharing: flag,
});
const DEFAULTS = {
  analytics_tracking: false,
  marketing_emails: false,
  product_emails: true,
  personalization: false,
  third_party_sharing: false,
} satisfies Required<Static<typeof Settings>>;

const success = Type.Literal(true);
const SettingsAnswer = Type.Object({ success, data: Type.Required(Settings) });

const RequestType = Type.Union(
  [Type.Literal('export'), Type.Literal('deletion'), Type.Literal('anonymization')],
  { description: 'deletion: of the data of all own websites; the account itself has a route of its own' },
);
const TYPES = { export: 'export', deletion: 'delete_data', anonymization: 'anonymize' } as const;

const RequestBody = Type.Object({
  id: Type.String({ format: 'uuid' }),
  type: Type.String(),
  status: Type.Union([Type.Literal('pending'), Type.Literal('completed'), Type.Literal('failed')]),
  reason: Type.String(),
  error: Type.Union([Type.String(), Type.Null()]),
  created_at: Type.String({ format: 'date-time' }),
  completed_at: Type.Union([Type.String({ format: 'date-time' }), Type.Null()]),
  download_url: Type.Union([Type.String(), Type.Null()], { description: 'Of a completed export' }),
});
const OneRequest = Type.Object({ success, data: RequestBody });

const Compliance = Type.Object({
  success,
  data: Type.Object({
    right_of_access: Type.Boolean(),
    right_to_erasure: Type.Boolean(),
    right_to_portability: Type.Boolean(),
    visitor_addresses_stored: Type.Boolean({
      description:
        'As the websites that the account owns are set now: addresses or their networks are stored',
    }),
    third_party_requests: Type.Boolean(),
    pending_requests: Type.Integer({ minimum: 0 }),
    last_request_at: Type.Union([Type.String({ format: 'date-time' }), Type.Null()]),
  }),
});

const Deleted = Type.Object({ success, message: Type.String() });
const password = Type.Optional(Type.String({ maxLength: 256, description: 'Of the account' }));

const BASE = '/api/v1/user/privacy';
const common = {
  tag: 'privacy',
  bucket: 'api',
  cors: 'api',
  access: 'account',
  params: Nothing,
  query: Nothing,
} as const;

export function userPrivacyRoutes({
  requests,
  store,
  exports,
  accounts,
  websites,
}: UserPrivacyRoutesOptions): AnyRoute[] {
  const deleteAccount = async (userId: string, entered: string | undefined) => {
    await accounts.delete(userId, entered ?? '');
    return { status: 200, body: { success: true, message: 'Account deleted successfully' } };
  };
  return [
    route({
      ...common,
      method: 'GET',
      path: `${BASE}/settings`,
      summary: 'What the account has decided about its own data',
      responses: { 200: SettingsAnswer },
      async handle({ principal }) {
        const data = { ...DEFAULTS, ...(await store.settings(userIdOf(principal))) };
        return { status: 200, body: { success: true, data } };
      },
    }),
    route({
      ...common,
      method: 'PUT',
      path: `${BASE}/settings`,
      summary: 'Decide about the own data; what is absent stays',
      body: Settings,
      responses: { 200: SettingsAnswer },
      async handle({ principal, body }) {
        const known = Object.fromEntries(
          Object.entries(body).filter(([name]) => Object.hasOwn(DEFAULTS, name)),
        );
        const data = { ...DEFAULTS, ...(await store.saveSettings(userIdOf(principal), known)) };
        return { status: 200, body: { success: true, data } };
      },
    }),
    route({
      ...common,
      method: 'GET',
      path: `${BASE}/requests`,
      summary: 'What the account has asked for, newest first, at most 100',
      responses: { 200: Type.Object({ success, data: Type.Array(RequestBody) }) },
      async handle({ principal }) {
        const data = (await store.list(userIdOf(principal))).map(requestBody);
        return { status: 200, body: { success: true, data } };
      },
    }),
    route({
      ...common,
      method: 'POST',
      path: `${BASE}/requests`,
      summary: 'Ask for an export, the deletion or the anonymization of the own data',
      body: Type.Object({
        type: RequestType,
        reason: Type.Optional(Type.String({ maxLength: 2_000 })),
      }),
      responses: { 201: OneRequest },
      async handle({ principal, body: { type, reason } }) {
        const request = { userId: userIdOf(principal), type: TYPES[type], reason: reason ?? '' };
        return { status: 201, body: { success: true, data: requestBody(await requests.submit(request)) } };
      },
    }),
    route({
      ...common,
      method: 'GET',
      path: `${BASE}/export`,
      summary: 'Everything that is kept of the account and its websites',
      isNoted: true,
      responses: { 200: AccountExport },
      handle: async ({ principal, request }) =>
        exportReply(await exports.account(userIdOf(principal), request.signal), 'account'),
    }),
    route({
      ...common,
      method: 'GET',
      path: `${BASE}/download`,
      summary: 'The file of an export that was asked for; made at the moment, so that no copy lies about',
      query: Type.Object({ request_id: Type.Optional(Type.String({ format: 'uuid' })) }),
      isNoted: true,
      responses: { 200: AccountExport },
      async handle({ principal, query, request }) {
        const userId = userIdOf(principal);
        const asked = query.request_id === undefined ? null : await store.find(userId, query.request_id);
        if (query.request_id !== undefined && asked?.type !== 'export')
          throw new AppError('not_found', 'There is no such export');
        return exportReply(await exports.account(userId, request.signal), 'account');
      },
    }),
    route({
      ...common,
      method: 'POST',
      path: `${BASE}/delete`,
      summary:
        'Delete the account with its websites and all their data; the password has to be entered again',
      bucket: 'auth',
      body: Type.Object({
        reason: Type.Optional(Type.String({ maxLength: 2_000, description: 'Not kept' })),
        confirmPassword: password,
      }),
      responses: { 200: Deleted },
      handle: ({ principal, body }) => deleteAccount(userIdOf(principal), body.confirmPassword),
    }),
    route({
      ...common,
      method: 'DELETE',
      path: '/api/v1/user/me',
      summary:
        'Delete the account with its websites and all their data; the password has to be entered again',
      bucket: 'auth',
      body: Type.Object({ password }),
      responses: { 200: Deleted },
      handle: ({ principal, body }) => deleteAccount(userIdOf(principal), body.password),
    }),
    route({
      ...common,
      method: 'GET',
      path: `${BASE}/compliance`,
      summary: 'How the installation treats personal data, and what is asked for and not done yet',
      responses: { 200: Compliance },
      async handle({ principal }) {
        const userId = userIdOf(principal);
        const [list, sites] = await Promise.all([store.list(userId), websites.list(userId)]);
        const storesAddresses = sites.some(
          (site) => site.userId === userId && site.settings.ipHandling !== 'drop',
        );
        return {
          status: 200,
          body: {
            success: true,
            data: {
              ...{ right_of_access: true, right_to_erasure: true, right_to_portability: true },
              ...{ visitor_addresses_stored: storesAddresses, third_party_requests: false },
              pending_requests: list.filter(({ status }) => status === 'pending').length,
              last_request_at: list[0]?.createdAt.toISOString() ?? null,
            },
          },
        };
      },
    }),
  ];
}

function requestBody({ id, type, status, reason, error, createdAt, completedAt }: PrivacyRequest) {
  const isReady = type === 'export' && status === 'completed';
  return {
    ...{ id, status, reason, error },
    type: type === 'delete_data' ? 'deletion' : type === 'anonymize' ? 'anonymization' : type,
    created_at: createdAt.toISOString(),
    completed_at: completedAt?.toISOString() ?? null,
    download_url: isReady ? `/api/v1/user/privacy/download?request_id=${id}` : null,
  };
}
