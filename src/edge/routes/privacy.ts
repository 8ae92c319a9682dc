/** Personal data of an account's websites and of single visitors: export, removal, anonymising (contract 13.1 to 13.4, and more). */

import Type from 'typebox';
import type { Principal } from '../../auth/principal.js';
import { AppError } from '../../errors.js';
import type { PersonalExport } from '../../privacy/personal-export.js';
import type { PrivacyRequests } from '../../privacy/privacy-requests.js';
import type { PrivacyRequest } from '../../storage/metadata/privacy-requests.js';
import { userIdOf } from '../caller.js';
import { type AnyRoute, Nothing, type Reply, route, siteRoute } from '../route.js';
import { StreamBody } from '../stream-body.js';

export interface PrivacyRoutesOptions {
  readonly requests: Pick<PrivacyRequests, 'submit'>;
  readonly exports: PersonalExport;
  /** Whether there is such an account. */
  readonly accountExists: (userId: string) => Promise<boolean>;
}

const JSON_TYPE = 'application/json';
const ByUser = Type.Object({
  user_id: Type.String({ format: 'uuid', description: 'UUID of the own account' }),
});
const BySite = Type.Object({ website_id: Type.String({ description: 'UUID or public site id' }) });
const ByVisitor = Type.Object({
  website_id: Type.String({ description: 'UUID or public site id' }),
  visitor_id: Type.String({ minLength: 1, maxLength: 255, description: 'As the tracker sends it' }),
});

const Done = Type.Object({
  success: Type.Literal(true),
  message: Type.String(),
  request_id: Type.String({ format: 'uuid' }),
  status: Type.Union([Type.Literal('completed'), Type.Literal('pending'), Type.Literal('failed')]),
});
const answers = { 200: Done, 202: Done };
const Rows = Type.Array(Type.Record(Type.String(), Type.Unknown()));

export const AccountExport = Type.Object(
  {
    success: Type.Literal(true),
    message: Type.String(),
    data: Type.Object({
      user_id: Type.String({ format: 'uuid' }),
      exported_at: Type.String({ format: 'date-time' }),
      data: Type.Object({ events: Rows, analytics: Rows, funnels: Rows }),
    }),
  },
  { description: 'Made while it is sent; each list has one element a website' },
);
const VisitorExport = Type.Object(
  {
    website_id: Type.String(),
    visitor_id: Type.String(),
    exported_at: Type.String({ format: 'date-time' }),
    events: Rows,
    bot_events: Rows,
    funnel_events: Rows,
    automation_executions: Rows,
    recordings: Rows,
  },
  { description: 'Made while it is sent' },
);

const BASE = '/api/v1/privacy';
const common = { tag: 'privacy', bucket: 'api', cors: 'api', query: Nothing } as const;

export function privacyRoutes({ requests, exports, accountExists }: PrivacyRoutesOptions): AnyRoute[] {
  /** The own account, for an instance admin any. */
  const admitted = async (principal: Principal, userId: string): Promise<string> => {
    const id = userId.toLowerCase();
    if (principal.kind !== 'account' || (principal.userId !== id && principal.role !== 'admin'))
      throw new AppError('forbidden', 'unauthorized: this is the data of another user');
    if (principal.userId !== id && !(await accountExists(id)))
      throw new AppError('not_found', 'Account not found');
    return id;
  };
  return [
    route({
      ...common,
      method: 'GET',
      path: `${BASE}/export/:user_id`,
      summary: 'Everything that is kept of the own websites',
      access: 'account',
      params: ByUser,
      isNoted: true,
      responses: { 200: AccountExport },
      async handle({ principal, params, request }) {
        const userId = await admitted(principal, params.user_id);
        return exportReply(await exports.account(userId, request.signal), 'account');
      },
    }),
    route({
      ...common,
      method: 'DELETE',
      path: `${BASE}/delete/:user_id`,
      summary: 'Remove the data of all own websites; websites and account stay',
      access: 'account',
      params: ByUser,
      responses: answers,
      async handle({ principal, params }) {
        const userId = await admitted(principal, params.user_id);
        const request = await requests.submit({ userId, type: 'delete_data' });
        return outcome(request, 'User analytics data deleted successfully');
      },
    }),
    siteRoute({
      ...common,
      method: 'DELETE',
      path: `${BASE}/delete/website/:website_id`,
      summary: 'Remove all data of a website; the website and its settings stay',
      access: { site: 'manage' },
      siteFrom: { param: 'website_id' },
      params: BySite,
      responses: answers,
      async handle({ principal, site }) {
        const { siteId } = site;
        const request = await requests.submit({
          userId: userIdOf(principal),
          type: 'delete_website',
          siteId,
        });
        return outcome(request, 'Website analytics data deleted successfully');
      },
    }),
    route({
      ...common,
      method: 'PUT',
      path: `${BASE}/anonymize/:user_id`,
      summary: 'Make the visitors of all own websites anonymous; recordings are removed',
      access: 'account',
      params: ByUser,
      responses: answers,
      async handle({ principal, params }) {
        const userId = await admitted(principal, params.user_id);
        const request = await requests.submit({ userId, type: 'anonymize' });
        return outcome(request, 'Analytics data anonymized successfully');
      },
    }),
    siteRoute({
      ...common,
      method: 'GET',
      path: '/api/v1/websites/:website_id/visitors/:visitor_id/export',
      summary: 'Everything that is kept of a visitor',
      access: { site: 'manage' },
      siteFrom: { param: 'website_id' },
      params: ByVisitor,
      isNoted: true,
      responses: { 200: VisitorExport },
      handle: async ({ site, params, request }) =>
        exportReply(exports.visitor(site.siteId, params.visitor_id, request.signal), 'visitor'),
    }),
    siteRoute({
      ...common,
      method: 'DELETE',
      path: '/api/v1/websites/:website_id/visitors/:visitor_id',
      summary: 'Erase a visitor everywhere, recordings included',
      access: { site: 'manage' },
      siteFrom: { param: 'website_id' },
      params: ByVisitor,
      responses: answers,
      async handle({ principal, site, params }) {
        const request = await requests.submit({
          userId: userIdOf(principal),
          type: 'delete_visitor',
          ...{ siteId: site.siteId, visitorId: params.visitor_id },
        });
        return outcome(request, 'Visitor erased successfully');
      },
    }),
  ];
}

/** An export as a file. */
export function exportReply(pieces: AsyncIterable<Uint8Array>, of: 'account' | 'visitor'): Reply<StreamBody> {
  return {
    status: 200,
    body: new StreamBody(pieces, JSON_TYPE),
    headers: {
      'Cache-Control': 'private, no-store',
      'Content-Disposition': `attachment; filename="${of}-export.json"`,
    },
  };
}

/** 200 when it is done, 202 while it goes on by itself. */
function outcome({ id, status }: PrivacyRequest, message: string): Reply<unknown> {
  const isDone = status === 'completed';
  return {
    status: isDone ? 200 : 202,
    body: {
      success: true,
      message: isDone ? message : 'Your request takes longer; it goes on by itself',
      ...{ request_id: id, status },
    },
  };
}
