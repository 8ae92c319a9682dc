/** The HTTP application: declared routes on the web server, with everything that is true of all of them. */
import { AppError } from '../errors.js';
import type { Telemetry } from '../telemetry.js';
import { ClientAddress, type TrustedProxies } from './address.js';
import { AtOnce, type AtOnceOptions } from './at-once.js';
import type { AuditHook } from './audit-hook.js';
import { BodyBudget } from './body.js';
import { Cors, type CorsOptions } from './cors.js';
import { EdgeMetrics } from './edge-metrics.js';
import { type EdgeContext, Exchange, type RouteTraits } from './exchange.js';
import type { GateOptions } from './gate.js';
import type { Idempotency } from './idempotency.js';
import { claimPort } from './port.js';
import type { RateLimiter } from './rate-limit.js';
import type { AnyRoute, Method } from './route.js';
import { type ServeOptions, serveJson, serveRaw } from './serve.js';
import { serveUpload } from './serve-upload.js';
import { loadUws, type Uws, type UwsApp, type UwsHandler } from './uws.js';

export interface EdgeLimits {
  /** Bytes of a body after inflation, where the route names no limit of its own. Default 10 MiB. */
  readonly apiBodyBytes?: number;
  /** Bytes of all bodies held at once; beyond, 503 with Retry-After. Default 256 MiB. */
  readonly bodiesInFlightBytes?: number;
  /** ms from the head of a request to the end of its body. Default 15,000. */
  readonly bodyTimeoutMs?: number;
}

export interface AppOptions extends GateOptions {
  readonly routes: readonly AnyRoute[];
  readonly telemetry: Telemetry;
  readonly rateLimiter: RateLimiter;
  /** Default: the header `Idempotency-Key` is ignored. */
  readonly idempotency?: Idempotency;
  /** Told of every change that an account or one of its API keys has made; default: nobody. */
  readonly audit?: AuditHook;
  readonly cors: CorsOptions;
  readonly trustedProxies: TrustedProxies;
  readonly limits?: EdgeLimits;
}

export interface ListenOptions {
  /** Other processes of this program listen on the same port (SO_REUSEPORT). Otherwise a taken port is an error. */
  readonly shared?: boolean;
}

export interface App {
  /**
   * @param host address or name; default all interfaces
   * @returns the port (a free one for 0)
   * @throws Error when the port cannot be had
   */
  listen(port: number, host?: string, options?: ListenOptions): Promise<number>;
  /**
   * Stops accepting connections and waits until the running requests are over, at most `graceMs` (default 5,000).
   * @returns whether all were
   */
  drain(graceMs?: number): Promise<boolean>;
  /** Drains, then closes every connection. */
  close(graceMs?: number): Promise<void>;
}

const DEFAULTS: Required<EdgeLimits> = {
  apiBodyBytes: 10 * 1024 * 1024,
  bodiesInFlightBytes: 256 * 1024 * 1024,
  bodyTimeoutMs: 15_000,
};

const UPLOADS: AtOnceOptions = {
  ...{ metric: 'seentics_http_uploads', what: 'files that are being sent' },
  ...{ inAll: 32, ofAccount: 4 },
};
/** Exports and recordings that are being played. */
const STREAMS: AtOnceOptions = {
  ...{ metric: 'seentics_http_streams', what: 'exports and recordings that are being read' },
  ...{ inAll: 64, ofAccount: 8 },
};

/** @throws Error when no native build of the web server fits, with what to do */
export function createApp(options: AppOptions): App {
  const { uws, from } = loadUws();
  options.telemetry.log.debug({ build: from }, 'web server');
  return new EdgeApp(uws, options);
}

class EdgeApp implements App {
  readonly #server: UwsApp;
  readonly #edge: EdgeContext;
  #sockets: unknown[] = [];

  constructor(
    private readonly uws: Uws,
    options: AppOptions,
  ) {
    const limits = { ...DEFAULTS, ...options.limits };
    const budget = new BodyBudget({
      inFlightBytes: limits.bodiesInFlightBytes,
      timeoutMs: limits.bodyTimeoutMs,
    });
    this.#edge = {
      cors: new Cors(options.cors),
      budget,
      metrics: new EdgeMetrics(options.telemetry, budget),
      log: options.telemetry.log,
      audit: options.audit ?? null,
      streams: new AtOnce(STREAMS, options.telemetry),
      draining: false,
      idle: null,
    };
    this.#server = uws.App();
    const serve: ServeOptions = {
      edge: this.#edge,
      gate: options,
      limiter: options.rateLimiter,
      idempotency: options.idempotency,
      address: new ClientAddress(options.trustedProxies),
      uploads: new AtOnce(UPLOADS, options.telemetry),
      bodyLimitBytes: limits.apiBodyBytes,
    };
    register(this.#server, options.routes, serve);
  }

  async listen(port: number, host?: string, options: ListenOptions = {}): Promise<number> {
    if (options.shared !== true && port !== 0) await claimPort(port, host);
    return new Promise((resolve, reject) => {
      const listening = (socket: unknown): void => {
        if (socket) {
          this.#sockets.push(socket);
          resolve(this.uws.us_socket_local_port(socket));
        } else reject(new Error(`cannot listen on port ${port}`));
      };
      if (host === undefined) this.#server.listen(port, listening);
      else this.#server.listen(host, port, listening);
    });
  }

  async drain(graceMs = 5000): Promise<boolean> {
    const edge = this.#edge;
    edge.draining = true;
    for (const socket of this.#sockets.splice(0)) this.uws.us_listen_socket_close(socket);
    if (edge.metrics.inFlight === 0) return true;
    return new Promise((resolve) => {
      const finish = (all: boolean): void => {
        edge.idle = null;
        clearTimeout(timer);
        resolve(all);
      };
      const timer = setTimeout(() => finish(false), graceMs);
      edge.idle = () => finish(true);
    });
  }

  async close(graceMs?: number): Promise<void> {
    await this.drain(graceMs);
    this.#server.close();
    this.#edge.budget.close();
  }
}

const REGISTER: Readonly<Record<Method, 'get' | 'post' | 'put' | 'patch' | 'del'>> = {
  GET: 'get',
  POST: 'post',
  PUT: 'put',
  PATCH: 'patch',
  DELETE: 'del',
};

function register(server: UwsApp, routes: readonly AnyRoute[], options: ServeOptions): void {
  const paths = new Map<string, AnyRoute[]>();
  for (const route of routes) {
    const same = paths.get(route.path) ?? [];
    if (same.some((other) => other.method === route.method)) {
      throw new Error(`${route.method} ${route.path} is declared twice`);
    }
    paths.set(route.path, [...same, route]);
    registerRoute(server, route, options);
  }
  for (const [path, same] of paths) registerRest(server, path, same, options);
  const unknown = traits(options.edge, 'ANY', '(unknown)', 'api');
  server.options('/*', preflight(options.edge, 'api'));
  server.any(
    '/*',
    refuse(options.edge, unknown, () => new AppError('not_found', 'There is no such route')),
  );
}

/** A trailing slash makes no difference: the original redirected, which preflights do not survive. */
function variants(path: string): readonly string[] {
  return path === '/' || path.endsWith('/*') ? [path] : [path, `${path}/`];
}

function registerRoute(server: UwsApp, route: AnyRoute, options: ServeOptions): void {
  const refuse = route.kind === 'raw' && route.refuse !== undefined ? route.refuse.bind(route) : null;
  const negotiated = route.kind !== 'raw';
  const own = {
    ...traits(options.edge, route.method, route.path, route.cors),
    ...{ negotiated, refuse, noted: route.isNoted === true },
  };
  for (const path of variants(route.path))
    server[REGISTER[route.method]](path, handlerOf(route, own, options));
  if (route.method !== 'GET' || route.kind === 'raw' || route.kind === 'upload') return;
  const head = serveJson(route, traits(options.edge, 'HEAD', route.path, route.cors), options, true);
  for (const path of variants(route.path)) server.head(path, head);
}

function handlerOf(route: AnyRoute, own: RouteTraits, options: ServeOptions): UwsHandler {
  if (route.kind === 'raw') return serveRaw(route, own, options);
  return route.kind === 'upload' ? serveUpload(route, own, options) : serveJson(route, own, options, false);
}

/** Preflights, and 405 for the methods that a path does not have. */
function registerRest(
  server: UwsApp,
  path: string,
  routes: readonly AnyRoute[],
  options: ServeOptions,
): void {
  const policy = routes.some((route) => route.cors === 'tracker') ? 'tracker' : 'api';
  const methods = routes.flatMap((route) => (route.method === 'GET' ? ['GET', 'HEAD'] : [route.method]));
  const allow = [...methods, 'OPTIONS'].join(', ');
  const wrong = traits(options.edge, 'ANY', path, policy);
  const error = () => new AppError('method_not_allowed', `Method not allowed; use ${allow}`);
  for (const variant of variants(path)) {
    server.options(variant, preflight(options.edge, policy));
    server.any(variant, refuse(options.edge, wrong, error, { Allow: allow }));
  }
}

function preflight(edge: EdgeContext, policy: 'tracker' | 'api'): UwsHandler {
  return (res, req) => edge.cors.preflight(res, policy, req.getHeader('origin'), edge.draining);
}

function refuse(
  edge: EdgeContext,
  own: RouteTraits,
  error: () => AppError,
  headers: Readonly<Record<string, string>> = {},
): UwsHandler {
  return (res, req) => {
    const exchange = new Exchange(edge, own, res, req.getHeader('origin'), req.getMethod() === 'head');
    exchange.fail(error(), headers);
  };
}

function traits(edge: EdgeContext, method: string, path: string, cors: 'tracker' | 'api'): RouteTraits {
  const metrics = edge.metrics.route(method, path);
  return { cors, metrics, noted: false, negotiated: true, name: `${method} ${path}`, refuse: null };
}
