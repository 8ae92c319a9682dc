/** Keys with which programs act for an account. They cannot manage keys: a lost one could make itself more. */

import Type, { type Static } from 'typebox';
import { SCOPES } from '../../auth/api-key-verifier.js';
import { type ApiKeyService, MAX_KEYS } from '../../auth/api-keys.js';
import { AppError } from '../../errors.js';
import type { ApiKeyRecord } from '../../storage/metadata/api-keys.js';
import { isUuid } from '../../uuid.js';
import { accountOf, userIdOf } from '../caller.js';
import { NEXT_CURSOR, PAGE_QUERY, pageOf } from '../paging.js';
import { type AnyRoute, Nothing, route } from '../route.js';

const time = Type.String({ format: 'date-time' });
const orNull = <T extends Type.TSchema>(schema: T, description: string) =>
  Type.Union([schema, Type.Null()], { description });
const scopes = Type.Array(Type.Union(SCOPES.map((scope) => Type.Literal(scope))), {
  minItems: 1,
  maxItems: SCOPES.length,
  description:
    '`read`: figures and settings; `write`: change settings and content; `manage`: create and delete websites. None includes another',
});

const fields = {
  id: Type.String({ format: 'uuid' }),
  name: Type.String(),
  prefix: Type.String({
    description: 'How the key begins',
    examples: ['sk_seentics_9aQx'],
  }),
  scopes: Type.Array(Type.String(), { examples: [['read']] }),
  websites: orNull(
    Type.Array(Type.String({ format: 'uuid' })),
    'The only websites it is for; null: all of the account',
  ),
  created_at: time,
  expires_at: orNull(time, 'null: never'),
  last_used_at: orNull(time, 'To the minute or so; null: never'),
};
const KeyBody = Type.Object(fields);
const NewKeyBody = Type.Object({
  ...fields,
  key: Type.String({
    description: 'The key itself; shown this once',
    examples: ['sk_seentics_9aQxS0vJm2yVb1oT7cUeLd4KfZpNhGwRi3XqYt6BsMA'],
  }),
});

const CreateBody = Type.Object({
  name: Type.String({ minLength: 1, maxLength: 100 }),
  scopes,
  websites: Type.Optional(
    orNull(
      Type.Array(Type.String({ minLength: 1, maxLength: 64 }), { minItems: 1, maxItems: 100 }),
      'UUIDs or public site ids; absent or null: all websites of the account, also those to come',
    ),
  ),
  expires_at: Type.Optional(
    orNull(
      Type.String({ maxLength: 40, examples: ['2036-01-31T12:00:00.000Z'] }),
      'RFC 3339; absent or null: never',
    ),
  ),
});

const BASE = '/api/v1/user/api-keys';
const RFC3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)$/i;
const common = {
  tag: 'api keys',
  bucket: 'api',
  cors: 'api',
  access: 'account',
  params: Nothing,
  query: Nothing,
} as const;

export function apiKeyRoutes(keys: ApiKeyService): AnyRoute[] {
  return [
    route({
      ...common,
      method: 'GET',
      path: BASE,
      summary: 'API keys of the account, newest first',
      query: Type.Object(PAGE_QUERY),
      responses: { 200: Type.Object({ data: Type.Array(KeyBody), ...NEXT_CURSOR }) },
      async handle({ principal, query }) {
        const { items, next } = pageOf(await keys.list(userIdOf(principal)), query, ({ id }) => id);
        return { status: 200, body: { data: items.map(keyBody), ...next } };
      },
    }),
    route({
      ...common,
      method: 'POST',
      path: BASE,
      summary: `Make an API key, one of at most ${MAX_KEYS}`,
      body: CreateBody,
      bodyLimit: 16 * 1024,
      answerIsSecret: true,
      responses: { 201: Type.Object({ message: Type.String(), data: NewKeyBody }) },
      async handle({ principal, body }) {
        const { key, secret } = await keys.create(accountOf(principal), {
          name: body.name,
          scopes: body.scopes,
          websites: body.websites ?? null,
          expiresAt: expiryFrom(body.expires_at ?? null),
        });
        return {
          status: 201,
          body: { message: 'API key created successfully', data: { ...keyBody(key), key: secret } },
        };
      },
    }),
    route({
      ...common,
      method: 'DELETE',
      path: `${BASE}/:id`,
      summary: 'Delete an API key; it ends at once',
      params: Type.Object({ id: Type.String({ description: 'UUID of the key' }) }),
      responses: { 200: Type.Object({ message: Type.String() }) },
      async handle({ principal, params }) {
        if (!isUuid(params.id)) throw new AppError('invalid_parameter', 'Invalid API key ID');
        await keys.delete(userIdOf(principal), params.id);
        return { status: 200, body: { message: 'API key deleted successfully' } };
      },
    }),
  ];
}

function expiryFrom(text: string | null): Date | null {
  if (text === null) return null;
  const at = new Date(RFC3339.test(text) ? text : Number.NaN);
  if (Number.isNaN(at.getTime()))
    throw new AppError('invalid_parameter', 'expires_at must be an RFC 3339 time');
  return at;
}

function keyBody(key: ApiKeyRecord): Static<typeof KeyBody> {
  return {
    id: key.id,
    name: key.name,
    prefix: key.prefix,
    scopes: [...key.scopes],
    websites: key.websiteIds === null ? null : [...key.websiteIds],
    created_at: key.createdAt.toISOString(),
    expires_at: key.expiresAt?.toISOString() ?? null,
    last_used_at: key.lastUsedAt?.toISOString() ?? null,
  };
}
