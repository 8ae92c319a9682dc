/** Routes for operators and machines: alive, ready, metrics, the API's own description. None of them is rate limited. */
import type { Registry } from 'prom-client';
import Type, { type TSchema } from 'typebox';
import { bearerToken } from '../../auth/authenticator.js';
import { isSameSecret } from '../../auth/same-secret.js';
import { AppError } from '../../errors.js';
import { type AnyRoute, type Reply, type RequestInfo, route, TextBody } from '../route.js';

/** How one part of the program is. */
export interface PartStatus {
  /** `metadata`, `events`, `stream`, `cache`, `objects`, `processes`, ... */
  readonly name: string;
  /** What does the work: `postgres`, `clickhouse`, `redis`, `folder`, ... */
  readonly adapter: string;
  /** Whether this program started it itself. */
  readonly embedded: boolean;
  /** `degraded`: works, with a loss that heals by itself (spooling, a slow peer). */
  readonly state: 'up' | 'degraded' | 'down';
  /** Whether requests cannot be served without it; `/ready` is 503 while such a part is down. */
  readonly required: boolean;
  /** What waits to be done, e.g. messages not yet written. */
  readonly backlog?: number;
  /** Age of the oldest that waits, in seconds. */
  readonly lagSeconds?: number;
  /** For people; no secrets, no addresses of servers with credentials. */
  readonly detail?: string;
}

export interface SystemDeps {
  readonly version: string;
  parts(): Promise<readonly PartStatus[]>;
  /** Text of all metrics, in this content type. */
  readonly registry: Pick<Registry, 'metrics' | 'contentType'>;
  /** Whoever asks for the metrics must bring it as bearer token; default: anybody may. */
  readonly metricsToken?: string;
  /** The OpenAPI document. */
  document(): unknown;
  /** The same for people, HTML. */
  page(): string;
}

/** See `PartStatus`. */
export const Part = Type.Object({
  name: Type.String(),
  adapter: Type.String(),
  embedded: Type.Boolean(),
  state: Type.Union([Type.Literal('up'), Type.Literal('degraded'), Type.Literal('down')]),
  required: Type.Boolean(),
  backlog: Type.Optional(Type.Integer()),
  lagSeconds: Type.Optional(Type.Number()),
  detail: Type.Optional(Type.String()),
});

const Health = Type.Object(
  {
    status: Type.Literal('healthy'),
    database: Type.Union([Type.Literal('connected'), Type.Literal('disconnected')]),
    postgres: Type.Union([Type.Literal('available'), Type.Literal('unknown')]),
    partitions: Type.Boolean(),
    timestamp: Type.String({ format: 'date-time' }),
    version: Type.String(),
  },
  { description: 'The process is alive. What it depends on is the business of /ready' },
);

const Ready = Type.Object(
  {
    status: Type.Union([Type.Literal('ready'), Type.Literal('not_ready')]),
    parts: Type.Array(Part),
    timestamp: Type.String({ format: 'date-time' }),
    version: Type.String(),
  },
  { description: 'Every part, its state and what waits in it' },
);

/** Longest that a probe waits for the parts, in ms, and for how long their answer serves further probes. */
const PARTS_TIMEOUT_MS = 2000;
const PARTS_MAX_AGE_MS = 500;

/** The page is text and one style; nothing on it may run or load. */
const PAGE_POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const JSON_TYPE = 'application/json; charset=utf-8';
const NONE = Type.Object({});
const PUBLIC = {
  method: 'GET',
  tag: 'system',
  bucket: 'none',
  cors: 'api',
  access: 'public',
  params: NONE,
  query: NONE,
} as const;

export function systemRoutes(deps: SystemDeps): AnyRoute[] {
  const parts = memoized(() => bounded(deps.parts));
  // Made once: anybody may ask for them, as often as they like, and each takes a while to write.
  const document = once(() => new TextBody(JSON.stringify(deps.document()), JSON_TYPE));
  const page = once(() => new TextBody(deps.page(), 'text/html; charset=utf-8'));
  const declare = (
    path: string,
    summary: string,
    responses: Readonly<Record<number, TSchema>>,
    handle: (request: RequestInfo) => Promise<Reply<unknown>>,
  ) => route({ ...PUBLIC, path, summary, responses, handle: ({ request }) => handle(request) });
  return [
    declare('/health', 'Whether the process is alive', { 200: Health }, async () =>
      health(deps.version, await parts()),
    ),
    declare('/ready', 'Whether requests can be served', { 200: Ready, 503: Ready }, async () =>
      ready(deps.version, await parts()),
    ),
    declare(
      '/metrics',
      'Prometheus metrics of this node; with several processes each series has the label `process`',
      { 200: Type.String({ contentMediaType: 'text/plain' }) },
      async (request) => {
        if (deps.metricsToken !== undefined) demandToken(request, deps.metricsToken);
        return { status: 200, body: new TextBody(await deps.registry.metrics(), deps.registry.contentType) };
      },
    ),
    declare('/api/v1/openapi.json', 'This description', { 200: Type.Unknown() }, async () => ({
      status: 200,
      body: document(),
      headers: { 'Cache-Control': 'public, max-age=300' },
    })),
    declare(
      '/docs',
      'This description, for people',
      { 200: Type.String({ contentMediaType: 'text/html' }) },
      async () => ({
        status: 200,
        body: page(),
        headers: { 'Cache-Control': 'public, max-age=300', 'Content-Security-Policy': PAGE_POLICY },
      }),
    ),
  ];
}

/** @throws AppError `unauthorized`, after a time that tells nothing of the token */
function demandToken(request: RequestInfo, token: string): void {
  if (!isSameSecret(bearerToken(request.header('authorization')), token)) {
    throw new AppError('unauthorized', 'The metrics token is required');
  }
}

/** Keys and words of the original; `partitions` is always true since this program makes its own tables. */
function health(version: string, parts: readonly PartStatus[] | null): Reply<unknown> {
  const connected = parts?.some((part) => part.name === 'metadata' && part.state !== 'down') === true;
  return {
    status: 200,
    body: {
      status: 'healthy',
      database: connected ? 'connected' : 'disconnected',
      postgres: connected ? 'available' : 'unknown',
      partitions: true,
      timestamp: new Date().toISOString(),
      version,
    },
  };
}

function ready(version: string, parts: readonly PartStatus[] | null): Reply<unknown> {
  const isReady = parts?.every((part) => part.state !== 'down' || !part.required) === true;
  return {
    status: isReady ? 200 : 503,
    body: {
      status: isReady ? 'ready' : 'not_ready',
      parts: parts ?? [],
      timestamp: new Date().toISOString(),
      version,
    },
    ...(isReady ? {} : { headers: { 'Retry-After': '5' } }),
  };
}

/** Null when the parts did not answer in time or at all. */
async function bounded(ask: () => Promise<readonly PartStatus[]>): Promise<readonly PartStatus[] | null> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(resolve, PARTS_TIMEOUT_MS, null);
  });
  try {
    return await Promise.race([ask(), late]);
  } catch {
    return null;
  } finally {
    clearTimeout(timer);
  }
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

function memoized<T>(make: () => Promise<T>): () => Promise<T> {
  let value: Promise<T> | undefined;
  let madeAt = 0;
  return () => {
    const now = performance.now();
    if (value === undefined || now - madeAt > PARTS_MAX_AGE_MS) {
      value = make();
      madeAt = now;
    }
    return value;
  };
}
