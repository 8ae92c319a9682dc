/** Every operation of the running program, as its OpenAPI document tells, and a request that fits it. */
import Type, { type Static, type TSchema } from 'typebox';
import { Value } from 'typebox/value';

const ACCESS = ['public', 'account', 'admin', 'internal', 'site:read', 'site:write', 'site:manage'] as const;
/** Who may call: `src/edge/route.ts`. */
export type Access = (typeof ACCESS)[number];

const SCOPES = ['read', 'write', 'manage'] as const;
export type Scope = (typeof SCOPES)[number];

const Parameter = Type.Object({
  name: Type.String(),
  in: Type.Union([Type.Literal('path'), Type.Literal('query')]),
  required: Type.Boolean(),
  schema: Type.Unknown(),
});
const Described = Type.Object({
  'x-access': Type.Union(ACCESS.map((access) => Type.Literal(access))),
  'x-key-scope': Type.Optional(Type.Union([...SCOPES.map((scope) => Type.Literal(scope)), Type.Null()])),
  parameters: Type.Optional(Type.Array(Parameter)),
  requestBody: Type.Optional(
    Type.Object({
      content: Type.Record(
        Type.String(),
        Type.Object({ schema: Type.Unknown(), example: Type.Optional(Type.Unknown()) }),
      ),
    }),
  ),
  responses: Type.Record(
    Type.String(),
    Type.Object({
      content: Type.Optional(Type.Record(Type.String(), Type.Object({ schema: Type.Unknown() }))),
    }),
  ),
});
const Document = Type.Object({
  paths: Type.Record(Type.String(), Type.Record(Type.String(), Described)),
});

export interface Operation {
  /** Upper case. */
  readonly method: string;
  /** With `{name}` parameters. */
  readonly path: string;
  readonly access: Access;
  /** What an API key needs; null: keys are refused, or (where everybody may call) not looked at. */
  readonly keyScope: Scope | null;
  /**
   * A request that the schemas take. What is named like a site is the site, what is named like an account on a route about accounts is
   * `userId`; nothing else that is optional is sent.
   */
  request(siteId: string, userId?: string): OperationRequest;
  /** The body that the document shows; undefined: none, or no JSON. */
  readonly example: unknown;
  /** What is wrong with an answer below 400, as the document has it; undefined: nothing. */
  problemOf(status: number, contentType: string, text: string): string | undefined;
}

export interface OperationRequest {
  readonly path: string;
  readonly body?: string;
  /** Of the body. */
  readonly contentType?: string;
}

/** @throws Error when the document does not say of every operation who may call it */
export async function operationsOf(url: string): Promise<readonly Operation[]> {
  const document: unknown = await (await fetch(`${url}/api/v1/openapi.json`)).json();
  if (!Value.Check(Document, document)) {
    throw new Error(`OpenAPI document: ${JSON.stringify(Value.Errors(Document, document).slice(0, 3))}`);
  }
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, described]) => ({
      method: method.toUpperCase(),
      path,
      access: described['x-access'],
      keyScope: described['x-key-scope'] ?? null,
      example: described.requestBody?.content['application/json']?.example,
      request: (siteId: string, userId = '') => request(path, described, siteId, userId),
      problemOf: (status: number, contentType: string, text: string) =>
        problemOf(described.responses[status], contentType, text),
    })),
  );
}

const JsonSchema = Type.Record(Type.String(), Type.Unknown());

function problemOf(
  declared: Static<typeof Described>['responses'][string] | undefined,
  contentType: string,
  text: string,
): string | undefined {
  if (declared === undefined) return 'a status that is not declared';
  if (declared.content === undefined) return text === '' ? undefined : 'a body where none is declared';
  const type = contentType.split(';')[0] ?? '';
  const media = declared.content[type] ?? declared.content[type.replace(/\/.*/, '/*')];
  if (media === undefined) return `${type} where ${Object.keys(declared.content)} is declared`;
  if (type !== 'application/json') return undefined;
  const [error] = Value.Errors(checked(JsonSchema, media.schema), JSON.parse(text));
  return error && `${error.instancePath} ${error.message}`;
}

function request(
  path: string,
  described: Static<typeof Described>,
  siteId: string,
  userId: string,
): OperationRequest {
  const isOfAccount = described['x-access'] === 'account' && userId !== '';
  const query = new URLSearchParams();
  let filled = path;
  for (const { name, in: where, required, schema } of described.parameters ?? []) {
    const isSite = where === 'path' || /site/i.test(name);
    if (!required && !isSite) continue;
    const named = isOfAccount && where === 'path' && name === 'user_id' ? userId : siteId;
    const value = String(isSite && takes(schema, named) ? named : sample(schema, name, siteId));
    if (where === 'path') filled = filled.replace(`{${name}}`, encodeURIComponent(value));
    else query.set(name, value);
  }
  const target = query.size === 0 ? filled : `${filled}?${query}`;
  const [contentType, content] = Object.entries(described.requestBody?.content ?? {})[0] ?? [];
  if (contentType === undefined || content === undefined) return { path: target };
  const body = sample(content.schema, '', siteId);
  return contentType === 'multipart/form-data'
    ? { path: target, ...formOf(content.schema, body) }
    : { path: target, contentType, body: JSON.stringify(body) };
}

const FormSchema = Type.Object({
  properties: Type.Record(Type.String(), Type.Object({ format: Type.Optional(Type.String()) })),
});
const FormFields = Type.Record(Type.String(), Type.Unknown());

/** Texts first, then files, which have a name. */
function formOf(schema: unknown, fields: unknown) {
  const { properties } = checked(FormSchema, schema);
  const isFile = (name: string) => properties[name]?.format === 'binary';
  const parts = Object.entries(checked(FormFields, fields))
    .toSorted(([a], [b]) => Number(isFile(a)) - Number(isFile(b)))
    .map(([name, value]) => {
      const file = isFile(name) ? '; filename="sample"' : '';
      return `--sample\r\nContent-Disposition: form-data; name="${name}"${file}\r\n\r\n${value}\r\n`;
    });
  return { contentType: 'multipart/form-data; boundary=sample', body: `${parts.join('')}--sample--\r\n` };
}

const Sampled = Type.Object({
  type: Type.Optional(Type.String()),
  const: Type.Optional(Type.Unknown()),
  anyOf: Type.Optional(Type.Array(Type.Unknown())),
  pattern: Type.Optional(Type.String()),
  minLength: Type.Optional(Type.Integer()),
  minimum: Type.Optional(Type.Number()),
  minItems: Type.Optional(Type.Integer()),
  items: Type.Optional(Type.Unknown()),
  properties: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  required: Type.Optional(Type.Array(Type.String())),
});

const TEXTS = ['gate', '0'.repeat(24), '0'.repeat(32), '00000000-0000-4000-8000-000000000000', '2026-01-01'];

/** The least value that a schema takes, and the site wherever it can be named. */
function sample(schema: unknown, name: string, siteId: string): unknown {
  const it = checked(Sampled, schema);
  if (it.const !== undefined) return it.const;
  if (it.anyOf !== undefined) return sample(it.anyOf[0], name, siteId);
  if (it.type === 'object') {
    const sites = Object.keys(it.properties ?? {}).filter((field) => /^(web)?site_?id$/i.test(field));
    const fields = [...new Set([...(it.required ?? []), ...sites])].map((field) => [
      field,
      sample(it.properties?.[field] ?? {}, field, siteId),
    ]);
    return Object.fromEntries(fields);
  }
  if (it.type === 'array')
    return Array.from({ length: it.minItems ?? 0 }, () => sample(it.items, '', siteId));
  if (it.type === 'integer' || it.type === 'number') return it.minimum ?? 1;
  if (it.type === 'boolean') return true;
  if (it.type !== 'string') return {};
  const texts = /site/i.test(name) ? [siteId, ...TEXTS] : TEXTS;
  return texts.find((text) => takes(schema, text))?.padEnd(it.minLength ?? 0, 'x') ?? 'gate';
}

function takes(schema: unknown, text: string): boolean {
  const { type, pattern } = checked(Sampled, schema);
  return type === 'string' && (pattern === undefined || new RegExp(pattern).test(text));
}

function checked<Schema extends TSchema>(schema: Schema, value: unknown): Static<Schema> {
  if (!Value.Check(schema, value)) throw new Error(`not understood: ${JSON.stringify(value)}`);
  return value;
}
