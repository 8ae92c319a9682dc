/** The team of a website (contract 4.10 to 4.12), and a change of role. */

import Type, { type Static } from 'typebox';
import { AppError } from '../../errors.js';
import type { MemberRecord } from '../../storage/metadata/members.js';
import { isUuid } from '../../uuid.js';
import type { MemberService } from '../../websites/members.js';
import { NEXT_CURSOR, PAGE_QUERY, pageOf } from '../paging.js';
import { type AnyRoute, Nothing, siteRoute } from '../route.js';

const Member = Type.Object({
  id: Type.String({ format: 'uuid' }),
  websiteId: Type.String({ format: 'uuid' }),
  userId: Type.String({ format: 'uuid' }),
  role: Type.String({ description: '`owner`, `admin` (reads and writes) or `viewer` (reads)' }),
  createdAt: Type.String({ format: 'date-time' }),
  updatedAt: Type.String({ format: 'date-time' }),
  userName: Type.Optional(Type.String({ description: 'Absent when empty' })),
  userEmail: Type.Optional(Type.String({ description: 'Absent when empty' })),
});
const ChangedBody = Type.Object({ message: Type.String(), data: Member });

const role = Type.Union([Type.Literal('admin'), Type.Literal('viewer')]);
const AddBody = Type.Object({
  email: Type.String({ minLength: 1, maxLength: 254, description: 'Of an account of this instance' }),
  role,
});

const BASE = '/api/v1/user/websites/:id/members';
const ById = Type.Object({ id: Type.String({ description: 'UUID or public site id' }) });
const OneMember = Type.Object({
  ...ById.properties,
  user_id: Type.String({ description: 'UUID of the account' }),
});
const common = {
  tag: 'Members',
  bucket: 'api',
  cors: 'api',
  siteFrom: { param: 'id' },
  query: Nothing,
} as const;

export function memberRoutes(members: MemberService): AnyRoute[] {
  return [
    siteRoute({
      ...common,
      method: 'GET',
      path: BASE,
      summary: 'Owner and members of a website, oldest first',
      access: { site: 'read' },
      params: ById,
      query: Type.Object(PAGE_QUERY),
      responses: { 200: Type.Object({ data: Type.Array(Member), ...NEXT_CURSOR }) },
      async handle({ site, query }) {
        const { items, next } = pageOf(await members.list(site), query, ({ id }) => id);
        return { status: 200, body: { data: items.map(memberBody), ...next } };
      },
    }),
    siteRoute({
      ...common,
      method: 'POST',
      path: BASE,
      summary: 'Take an account into the team of a website',
      access: { site: 'manage' },
      keys: 'refused',
      params: ById,
      body: AddBody,
      responses: { 201: ChangedBody },
      handle: async ({ site, body }) => ({
        status: 201,
        body: {
          message: 'Member added successfully',
          data: memberBody(await members.add(site, body.email, body.role)),
        },
      }),
    }),
    siteRoute({
      ...common,
      method: 'PUT',
      path: `${BASE}/:user_id`,
      summary: 'Change the role of a member; the owner keeps theirs',
      access: { site: 'manage' },
      keys: 'refused',
      params: OneMember,
      body: Type.Object({ role }),
      responses: { 200: ChangedBody },
      handle: async ({ site, params, body }) => ({
        status: 200,
        body: {
          message: 'Member updated successfully',
          data: memberBody(await members.setRole(site, checkedUserId(params.user_id), body.role)),
        },
      }),
    }),
    siteRoute({
      ...common,
      method: 'DELETE',
      path: `${BASE}/:user_id`,
      summary: 'Remove a member from the team; the owner stays',
      access: { site: 'manage' },
      keys: 'refused',
      params: OneMember,
      responses: { 200: Type.Object({ message: Type.String() }) },
      async handle({ site, params }) {
        await members.remove(site, checkedUserId(params.user_id));
        return { status: 200, body: { message: 'Member removed successfully' } };
      },
    }),
  ];
}

function checkedUserId(id: string): string {
  if (isUuid(id)) return id;
  throw new AppError('invalid_parameter', 'Invalid user ID');
}

function memberBody(member: MemberRecord): Static<typeof Member> {
  return {
    id: member.id,
    websiteId: member.websiteId,
    userId: member.userId,
    role: member.role,
    createdAt: member.createdAt.toISOString(),
    updatedAt: member.updatedAt.toISOString(),
    ...(member.userName === '' ? {} : { userName: member.userName }),
    ...(member.userEmail === '' ? {} : { userEmail: member.userEmail }),
  };
}
