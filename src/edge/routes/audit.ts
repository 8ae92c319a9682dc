/** Who did what, when: of one website, and of the instance. */

import Type, { type Static } from 'typebox';
import { AppError } from '../../errors.js';
import type { AuditQuery, AuditStore, StoredAuditEntry } from '../../storage/metadata/audit.js';
import { isUuid } from '../../uuid.js';
import { decodedCursor, encodedCursor } from '../paging.js';
import { type AnyRoute, Nothing, route, siteRoute } from '../route.js';

const id = (description: string) =>
  Type.Union([Type.String({ format: 'uuid' }), Type.Null()], { description });
const Entry = Type.Object({
  id: Type.String({ examples: ['4711'] }),
  at: Type.String({ format: 'date-time' }),
  action: Type.String({
    description: 'Method and path of the operation, `sign in` or `register`',
    examples: ['PUT /api/v1/user/websites/:id'],
  }),
  outcome: Type.Union([Type.Literal('done'), Type.Literal('failed')], {
    description: '`failed`: a sign-in that was refused',
  }),
  user_id: id('The account that did it'),
  key_id: id('The API key it was done with; null: none'),
  website_id: id('The website it was done to'),
  target_id: id('What else it was done to: a member, a funnel, a key'),
  network: Type.String({
    description: 'Network of the client, /24 or (IPv6) /48',
    examples: ['192.0.2.0/24'],
  }),
});
const Entries = Type.Object({
  data: Type.Array(Entry),
  next_cursor: Type.Union([Type.String(), Type.Null()], {
    description: 'Of the next page; null on the last',
  }),
});

const page = {
  limit: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 1000, default: 100, description: 'Most entries' }),
  ),
  cursor: Type.Optional(
    Type.String({ maxLength: 400, description: '`next_cursor` of the page before; empty for the first' }),
  ),
};
const uuid = (description: string) => Type.Optional(Type.String({ maxLength: 36, description }));
const common = { method: 'GET', tag: 'audit', cors: 'api' } as const;

export function auditRoutes(entries: Pick<AuditStore, 'list'>): AnyRoute[] {
  return [
    route({
      ...common,
      path: '/api/v1/admin/audit',
      summary: 'What accounts did on this instance, newest first',
      bucket: 'admin',
      access: 'admin',
      params: Nothing,
      query: Type.Object({
        ...page,
        user_id: uuid('Only what this account did'),
        website_id: uuid('Only what was done to this website (UUID), which may be gone'),
      }),
      responses: { 200: Entries },
      handle: async ({ query }) =>
        listed(entries, query, {
          userId: checkedId('user_id', query.user_id),
          websiteId: checkedId('website_id', query.website_id),
        }),
    }),
    siteRoute({
      ...common,
      path: '/api/v1/websites/:website_id/audit',
      summary: 'What was done to a website, newest first',
      bucket: 'api',
      access: { site: 'manage' },
      siteFrom: { param: 'website_id' },
      params: Type.Object({ website_id: Type.String({ description: 'UUID or public site id' }) }),
      query: Type.Object(page),
      responses: { 200: Entries },
      handle: async ({ site, query }) => listed(entries, query, { websiteId: site.id }),
    }),
  ];
}

async function listed(
  entries: Pick<AuditStore, 'list'>,
  { limit = 100, cursor }: { readonly limit?: number; readonly cursor?: string },
  filter: Pick<AuditQuery, 'userId' | 'websiteId'>,
) {
  const before = decodedCursor(cursor, /^\d{1,18}$/);
  const found = await entries.list({ ...filter, before, limit: limit + 1 });
  const shown = found.slice(0, limit);
  const last = found.length > limit ? shown.at(-1) : undefined;
  const next_cursor = last === undefined ? null : encodedCursor(last.id);
  return { status: 200, body: { data: shown.map(entryBody), next_cursor } };
}

function checkedId(name: string, value: string | undefined): string | undefined {
  if (value === undefined || value === '') return undefined;
  if (!isUuid(value)) throw new AppError('invalid_parameter', `${name} must be a UUID`);
  return value;
}

function entryBody(entry: StoredAuditEntry): Static<typeof Entry> {
  return {
    id: entry.id,
    at: entry.at.toISOString(),
    action: entry.action,
    outcome: entry.outcome === 'failed' ? 'failed' : 'done',
    user_id: entry.userId,
    key_id: entry.keyId,
    website_id: entry.websiteId,
    target_id: entry.targetId,
    network: entry.network,
  };
}
