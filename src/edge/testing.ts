/** An application on a free port with routes of every kind, for the tests of this room. */
import { connect, type Socket } from 'node:net';
import Type from 'typebox';
import type { Principal } from '../auth/principal.js';
import { AppError } from '../errors.js';
import { createMemoryCache } from '../storage/cache/memory-cache.js';
import { silentTelemetry, type Telemetry } from '../telemetry.js';
import type { Site } from '../websites/site.js';
import { type App, type AppOptions, createApp } from './app.js';
import { createRateLimiter, type RateLimits } from './rate-limit.js';
import { type AnyRoute, type RouteContext, rawRoute, route, siteRoute } from './route.js';

export const NONE = Type.Object({});

export const SITE: Site = {
  id: '11111111-1111-4111-8111-111111111111',
  siteId: 'aaaaaaaaaaaaaaaaaaaaaaaa',
  ownerId: 'owner',
  name: 'Shop',
  host: 'shop.example',
  isActive: true,
  respectDoNotTrack: false,
  cutAddress: false,
  storeAddress: false,
  allowRawDataExport: false,
  allowedHosts: [],
  automationEnabled: true,
  funnelEnabled: true,
  heatmapEnabled: true,
  replayEnabled: true,
  replaySamplingRate: 1,
  heatmapIncludePatterns: null,
  heatmapExcludePatterns: null,
  replayIncludePatterns: null,
  replayExcludePatterns: null,
};

/** Tokens `owner`, `stranger` and `admin` are accounts; everything else is refused. */
async function authenticate(header: string): Promise<Principal> {
  const name = header.replace(/^Bearer /, '');
  if (!['owner', 'stranger', 'admin'].includes(name)) {
    throw new AppError('invalid_token', 'Invalid or expired token');
  }
  return {
    kind: 'account',
    userId: name,
    email: `${name}@example.com`,
    role: name === 'admin' ? 'admin' : 'user',
  };
}

export interface TestApp {
  readonly url: string;
  readonly port: number;
  readonly app: App;
  readonly telemetry: Telemetry;
  /** Value of a metric line that starts with `line`. */
  metric(line: string): Promise<number>;
}

export async function startApp(
  options: Partial<Omit<AppOptions, 'rateLimiter'>> & { rates?: Partial<RateLimits> } = {},
): Promise<TestApp> {
  const telemetry = options.telemetry ?? silentTelemetry();
  const cache = createMemoryCache({ telemetry: silentTelemetry() });
  const rates = { ingest: 0, auth: 0, api: 0, admin: 0, internal: 0, ...options.rates };
  const rateLimiter = createRateLimiter({ cache, telemetry, limits: rates });
  const created = createApp({
    routes: testRoutes(),
    cors: { allowedOrigins: ['https://app.example'], production: true },
    trustedProxies: { trust: [] },
    authenticate,
    resolveSite: async (ref) => (ref === SITE.id || ref === SITE.siteId ? SITE : null),
    authorize: (principal) => principal.kind === 'account' && principal.userId !== 'stranger',
    ...options,
    telemetry,
    rateLimiter,
  });
  const app: App = {
    listen: (port, host, settings) => created.listen(port, host, settings),
    drain: (graceMs) => created.drain(graceMs),
    async close(graceMs) {
      await created.close(graceMs);
      await rateLimiter.close();
      await cache.close();
    },
  };
  const port = await app.listen(0, '127.0.0.1');
  const metric = async (line: string): Promise<number> => {
    const text = await telemetry.registry.metrics();
    const found = text.split('\n').find((candidate) => candidate.startsWith(line));
    return found === undefined ? Number.NaN : Number(found.slice(found.lastIndexOf(' ')));
  };
  return { url: `http://127.0.0.1:${port}`, port, app, telemetry, metric };
}

const BASE = {
  summary: 'A test',
  tag: 'test',
  params: NONE,
  query: NONE,
  responses: { 200: Type.Unknown() },
};
const API = { ...BASE, bucket: 'api', cors: 'api' } as const;
const echo = async ({
  params,
  query,
  body,
  principal,
  request,
}: RouteContext<unknown, unknown, unknown>) => ({
  status: 200,
  body: { params, query, body, principal, address: request.address },
});

export function testRoutes(): AnyRoute[] {
  const Site = Type.Object({ id: Type.String() });
  const Body = Type.Object({
    name: Type.String({ maxLength: 20 }),
    tags: Type.Optional(Type.Array(Type.String())),
    size: Type.Integer({ default: 3 }),
  });
  return [
    route({ ...API, method: 'GET', path: '/open', access: 'public', handle: echo }),
    route({
      ...API,
      method: 'GET',
      path: '/query/:id',
      access: 'public',
      params: Site,
      query: Type.Object({
        days: Type.Integer({ minimum: 1, maximum: 365, default: 7 }),
        filter: Type.Optional(Type.String()),
        flag: Type.Optional(Type.Boolean()),
      }),
      handle: echo,
    }),
    route({ ...API, method: 'POST', path: '/json', access: 'public', body: Body, handle: echo }),
    route({ ...API, method: 'GET', path: '/account', access: 'account', handle: echo }),
    route({ ...API, method: 'PUT', path: '/account', access: 'account', body: Body, handle: echo }),
    route({ ...API, method: 'GET', path: '/admin', access: 'admin', handle: echo }),
    siteRoute({
      ...API,
      method: 'GET',
      path: '/sites/:id',
      access: { site: 'read' },
      params: Site,
      siteFrom: { param: 'id' },
      handle: async ({ site }) => ({ status: 200, body: { name: site.name } }),
    }),
    siteRoute({
      ...API,
      method: 'GET',
      path: '/by-query',
      access: { site: 'read' },
      query: Type.Object({ website_id: Type.String() }),
      siteFrom: { query: 'website_id' },
      handle: async ({ site }) => ({ status: 200, body: { name: site.name } }),
    }),
    route({
      ...API,
      method: 'GET',
      path: '/broken',
      access: 'public',
      handle: async () => {
        throw new Error('password=hunter2 at db.internal');
      },
    }),
    route({
      ...API,
      method: 'GET',
      path: '/tracker/config',
      cors: 'tracker',
      bucket: 'ingest',
      access: 'public',
      handle: echo,
    }),
    rawRoute({
      ...BASE,
      bucket: 'ingest',
      cors: 'tracker',
      method: 'POST',
      path: '/event',
      access: 'public',
      body: Type.Unknown(),
      bodyLimit: 100_000,
      headers: ['sec-purpose'],
      handle: async ({ bytes, request }) => ({
        status: 200,
        body: {
          bytes: bytes.length,
          start: new TextDecoder().decode(bytes.subarray(0, 10)),
          address: request.address,
          purpose: request.header('sec-purpose'),
        },
      }),
    }),
  ];
}

/** A connection that speaks what is written to it; `until` waits for text in the answer, `ended` for the end. */
export class Wire {
  text = '';
  closed = false;
  readonly socket: Socket;
  readonly #waiting = new Set<() => void>();

  constructor(port: number) {
    this.socket = connect(port, '127.0.0.1');
    this.socket.on('data', (chunk) => {
      this.text += chunk.toString();
      this.#wake();
    });
    this.socket.on('error', () => this.#close());
    this.socket.on('close', () => this.#close());
  }

  write(text: string | Uint8Array): void {
    this.socket.write(text);
  }

  async until(part: string): Promise<string> {
    while (!this.text.includes(part)) {
      if (this.closed) throw new Error(`closed before "${part}": ${this.text}`);
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
    return this.text;
  }

  async ended(): Promise<string> {
    while (!this.closed) await new Promise<void>((resolve) => this.#waiting.add(resolve));
    return this.text;
  }

  #close(): void {
    this.closed = true;
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }
}

/** Polls a condition; the test's own time-out ends it. */
export async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5));
}
