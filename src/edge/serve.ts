/** Turns declared routes into handlers of the web server. */
import type { Principal } from '../auth/principal.js';
import { AppError } from '../errors.js';
import type { ClientAddress } from './address.js';
import type { AtOnce } from './at-once.js';
import { Body } from './body.js';
import { type EdgeContext, Exchange, type RouteTraits, rateError } from './exchange.js';
import { admit, admitToSite, type GateOptions, identify } from './gate.js';
import type { Idempotency } from './idempotency.js';
import { parseEncoding, tooLarge } from './inflate.js';
import { parseJson } from './json.js';
import { decodeParams, paramNames, parseQuery } from './query.js';
import type { RateLimiter } from './rate-limit.js';
import { allHeaders, EdgeRequest, listedHeaders, wholeRequest } from './request.js';
import type { JsonEndpoint, RawEndpoint, Reply } from './route.js';
import type { UwsHandler, UwsRequest, UwsResponse } from './uws.js';

export interface ServeOptions {
  readonly edge: EdgeContext;
  readonly gate: GateOptions;
  readonly limiter: RateLimiter;
  readonly address: ClientAddress;
  /** Forms with files that are being read. */
  readonly uploads: AtOnce;
  /** Default: repeated requests are done again. */
  readonly idempotency: Idempotency | undefined;
  /** Default limit of a body, in bytes after inflation. */
  readonly bodyLimitBytes: number;
}

/** A refused body up to this size is swallowed, so that the client can read the answer; beyond, the connection is closed. */
export const SWALLOW_BYTES = 64 * 1024 * 1024;

/**
 * JSON is parsed on the main thread, some ten MiB of it in a second: whoever may call a few times a second, and send compressed what says
 * nothing, would have it for himself.
 */
const JSON_BYTES = 1 << 20;

export function serveRaw(endpoint: RawEndpoint, traits: RouteTraits, options: ServeOptions): UwsHandler {
  const { edge, limiter } = options;
  const limitBytes = endpoint.bodyLimit ?? options.bodyLimitBytes;
  const { bucket } = endpoint;
  const hasParams = paramNames(endpoint.path).length > 0;
  const listed = endpoint.headers === undefined ? null : new Set(endpoint.headers);
  return (res, req) => {
    const origin = req.getHeader('origin');
    const exchange = new Exchange(edge, traits, res, origin, false);
    try {
      const address = options.address.of(res, req);
      const refusal = bucket === 'none' ? null : limiter.take(bucket, address);
      if (refusal !== null) return exchange.refuseRate(refusal);
      const request = new EdgeRequest(
        endpoint.method,
        hasParams ? req.getUrl() : endpoint.path,
        address,
        origin,
        req.getHeader('referer'),
        req.getHeader('user-agent'),
        endpoint.headers === undefined ? allHeaders(req) : listedHeaders(req, endpoint.headers),
        listed,
      );
      exchange.request = request;
      readBody(exchange, res, req, limitBytes, options, (error, bytes) => {
        if (error !== null) return exchange.refuse(error);
        handleRaw(endpoint, exchange, bytes, request);
      });
    } catch (error) {
      exchange.refuse(error);
    }
  };
}

function handleRaw(endpoint: RawEndpoint, exchange: Exchange, bytes: Uint8Array, request: EdgeRequest): void {
  try {
    endpoint.handle({ bytes, request }).then(
      (reply) => exchange.reply(reply),
      (error: unknown) => exchange.fail(error),
    );
  } catch (error) {
    exchange.fail(error);
  }
}

/** Starts reading the body. @throws AppError when the head alone says that it cannot be taken */
function readBody(
  exchange: Exchange,
  res: UwsResponse,
  req: UwsRequest,
  limitBytes: number,
  options: ServeOptions,
  done: (error: AppError | null, bytes: Uint8Array) => void,
): void {
  const length = req.getHeader('content-length');
  const declared = length === '' ? Number.NaN : Number(length);
  const encoding = parseEncoding(req.getHeader('content-encoding'));
  if (declared > limitBytes) {
    exchange.closeConnection = declared > SWALLOW_BYTES;
    throw tooLarge(limitBytes);
  }
  const body = new Body(options.edge.budget, limitBytes, encoding, exchange.startedAt, (error, bytes) => {
    if (error !== null && Number.isNaN(declared)) exchange.closeConnection = true;
    done(error, bytes);
  });
  exchange.body = body;
  body.read(res);
}

export function serveJson(
  endpoint: JsonEndpoint,
  traits: RouteTraits,
  options: ServeOptions,
  head: boolean,
): UwsHandler {
  const names = paramNames(endpoint.path);
  const limitBytes = endpoint.bodyLimit ?? Math.min(JSON_BYTES, options.bodyLimitBytes);
  return (res, req) => {
    const headers = allHeaders(req);
    const origin = headers.get('origin') ?? '';
    const exchange = new Exchange(options.edge, traits, res, origin, head);
    try {
      const method = head ? 'HEAD' : endpoint.method;
      const request = wholeRequest(req, method, headers, options.address.of(res, req));
      exchange.request = request;
      const encoded = names.map((_, index) => req.getParameter(index));
      const query = req.getQuery();
      const body = endpoint.body === undefined ? null : bodyPromise(exchange, res, req, limitBytes, options);
      callJson(endpoint, options, { request, names, encoded, query, body }).then(
        (reply) => exchange.reply(reply),
        (error: unknown) => exchange.refuse(error),
      );
    } catch (error) {
      exchange.refuse(error);
    }
  };
}

function bodyPromise(
  exchange: Exchange,
  res: UwsResponse,
  req: UwsRequest,
  limitBytes: number,
  options: ServeOptions,
): Promise<Uint8Array> {
  const promise = new Promise<Uint8Array>((resolve, reject) => {
    readBody(exchange, res, req, limitBytes, options, (error, bytes) => {
      if (error === null) resolve(bytes);
      else reject(error);
    });
  });
  // The caller may be turned away before anybody waits for the body.
  promise.catch(() => undefined);
  return promise;
}

interface Call {
  readonly request: EdgeRequest;
  readonly names: readonly string[];
  readonly encoded: readonly string[];
  readonly query: string | undefined;
  readonly body: Promise<Uint8Array> | null;
}

/** Who calls, how often, with what, about which site, may they; then the handler. */
async function callJson(endpoint: JsonEndpoint, options: ServeOptions, call: Call): Promise<Reply<unknown>> {
  const { request } = call;
  const { gate } = options;
  const principal = await admitLimited(endpoint, options, request);
  const params = decodeParams(call.names, call.encoded);
  const accepted = endpoint.accept({ params, query: parseQuery(call.query), request, principal });
  const siteRef =
    accepted.siteKey === undefined ? accepted.siteRef : siteInBody(await call.body, accepted.siteKey);
  const site = endpoint.kind === 'site' ? await admitToSite(gate, endpoint.access, principal, siteRef) : null;
  request.caller = { principal, site, params };
  const bytes = call.body === null ? undefined : await call.body;
  const run = () => accepted.run(bytes === undefined ? undefined : parseJson(bytes), site);
  const key = request.header('idempotency-key');
  // Not where everybody may call: signing in answers tokens, which must not lie in the database.
  if (
    endpoint.access === 'public' ||
    key === '' ||
    options.idempotency === undefined ||
    request.method !== 'POST' ||
    principal.kind !== 'account'
  )
    return run();
  return options.idempotency.run({
    userId: principal.userId,
    key,
    method: request.method,
    target: `${request.path}?${call.query ?? ''}`,
    body: bytes ?? NOTHING,
    secret: endpoint.answerIsSecret === true,
    run,
  });
}

const NOTHING = new Uint8Array(0);

/** @throws AppError `invalid_json`, `invalid_request` when the body names no site */
function siteInBody(bytes: Uint8Array | null, key: string): string {
  const body = parseJson(bytes ?? NOTHING);
  const site: unknown =
    typeof body === 'object' && body !== null ? Object.getOwnPropertyDescriptor(body, key)?.value : undefined;
  if (typeof site === 'string' && site !== '') return site;
  throw new AppError('invalid_request', `${key} is required`);
}

/** Counts by key or account where there is one, else by address; callers with a bad token count by address, too. */
export async function admitLimited(
  endpoint: Pick<JsonEndpoint, 'access' | 'bucket' | 'keys'>,
  { gate, limiter }: ServeOptions,
  request: EdgeRequest,
): Promise<Principal> {
  const { bucket, access } = endpoint;
  const enforce = (identity: string): void => {
    const refusal = bucket === 'none' ? null : limiter.take(bucket, identity);
    if (refusal !== null) throw rateError(refusal);
  };
  if (access === 'public') {
    enforce(request.address);
    return identify(gate, access, request);
  }
  let principal: Principal;
  try {
    principal = await identify(gate, access, request);
  } catch (error) {
    if (error instanceof AppError && (error.code === 'unauthorized' || error.code === 'invalid_token')) {
      enforce(request.address);
    }
    throw error;
  }
  enforce(principal.kind === 'account' ? (principal.key?.id ?? principal.userId) : request.address);
  admit(endpoint, principal);
  return principal;
}
