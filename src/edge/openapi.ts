/** The OpenAPI 3.1 document, made from the same declarations that validate the requests. */
import type { TObject, TSchema } from 'typebox';
import { ERROR_TABLE, ErrorBody } from './error-table.js';
import { exampleOf } from './examples.js';
import { type AnyRoute, keyScope } from './route.js';

export interface OpenApiInfo {
  readonly version: string;
  /** Address of this instance as its users see it; default: relative to the document. */
  readonly serverUrl?: string;
}

interface Operation {
  readonly [key: string]: unknown;
}

/** @returns a plain JSON value */
export function openApiDocument(routes: readonly AnyRoute[], info: OpenApiInfo): Record<string, unknown> {
  const paths: Record<string, Record<string, Operation>> = {};
  for (const route of routes) {
    const path = route.path.replace(/:([A-Za-z_]\w*)/g, '{$1}');
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route, path) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Seentics Core',
      version: info.version,
      description: 'Self-hosted web analytics: ingestion, figures and settings.',
      license: { name: 'AGPL-3.0-only', identifier: 'AGPL-3.0-only' },
    },
    servers: [{ url: info.serverUrl ?? '/' }],
    tags: [...new Set(routes.map((route) => route.tag))].map((name) => ({ name })),
    paths,
    components: {
      schemas: { Error: { ...ErrorBody, description: `Codes: ${Object.keys(ERROR_TABLE).join(', ')}` } },
      responses: {
        Error: {
          description: 'The request failed; `code` says why',
          content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
        },
      },
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', description: 'An access token, or an API key' },
        service: {
          ...{ type: 'apiKey', in: 'header', name: 'X-API-Key' },
          description: "The operator's service key (GLOBAL_API_KEY)",
        },
        apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key', description: 'An API key' },
      },
    },
  };
}

function operation(route: AnyRoute, path: string): Operation {
  const parameters = [...parametersOf(route.params, 'path'), ...parametersOf(route.query, 'query')];
  return {
    operationId: operationId(route.method, path),
    summary: route.summary,
    tags: [route.tag],
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(route.body === undefined ? {} : { requestBody: requestBody(route.body, route.kind === 'upload') }),
    responses: { ...responses(route), default: { $ref: '#/components/responses/Error' } },
    security: securityOf(route),
    'x-access': typeof route.access === 'string' ? route.access : `site:${route.access.site}`,
    'x-key-scope': route.access === 'public' || route.access === 'internal' ? undefined : keyScope(route),
    'x-rate-limit-bucket': route.bucket,
  };
}

function securityOf(route: AnyRoute): Operation[] {
  if (route.access === 'public') return [];
  if (route.access === 'internal') return [{ service: [] }];
  return keyScope(route) === null ? [{ bearer: [] }] : [{ bearer: [] }, { apiKey: [] }];
}

function operationId(method: string, path: string): string {
  const words = path.split(/[^A-Za-z0-9]+/).filter((word) => word !== '');
  return [method.toLowerCase(), ...words].join('_');
}

function parametersOf(schema: TObject, where: 'path' | 'query'): Operation[] {
  const required = new Set<string>(schema.required ?? []);
  return Object.entries(schema.properties).map(([name, property]) => {
    const description = annotation(property, 'description');
    return {
      name,
      in: where,
      required: where === 'path' || required.has(name),
      ...(description === undefined ? {} : { description }),
      schema: property,
    };
  });
}

function requestBody(schema: TSchema, isForm: boolean): Operation {
  const content = { schema, example: exampleOf(schema) };
  return { required: true, content: { [isForm ? 'multipart/form-data' : 'application/json']: content } };
}

function responses(route: AnyRoute): Record<string, Operation> {
  const out: Record<string, Operation> = {};
  for (const [status, schema] of Object.entries(route.responses)) {
    const description = annotation(schema, 'description') ?? route.summary;
    // A schema with `contentMediaType` (a page of text) names its own type.
    const type = annotation(schema, 'contentMediaType') ?? 'application/json';
    const isJson = type === 'application/json';
    const content = { [type]: { schema, ...(isJson ? { example: exampleOf(schema) } : {}) } };
    out[status] = status === '204' ? { description } : { description, content };
  }
  return out;
}

function annotation(schema: TSchema, name: string): string | undefined {
  const found = Object.entries(schema).find(([key]) => key === name)?.[1];
  return typeof found === 'string' ? found : undefined;
}
