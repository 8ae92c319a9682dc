import { setMaxListeners } from 'node:events';
import type { Principal } from '../auth/principal.js';
import type { Site } from '../websites/site.js';
import type { RequestInfo } from './route.js';
import type { UwsRequest } from './uws.js';

/**
 * Listeners that the signal of one request may have before Node takes them for a leak: a report puts some twenty questions to its
 * store at once, and each waits for the client's leaving.
 */
const MAX_ABORT_LISTENERS = 64;

const NO_HEADERS: ReadonlyMap<string, string> = new Map();

/** What the gate has found out about a request so far. */
export interface Caller {
  readonly principal: Principal;
  /** null: not about a site, or not known yet. */
  readonly site: Site | null;
  /** Decoded path parameters. */
  readonly params: Readonly<Record<string, string>>;
}

/** The copy of a request that outlives its handler's synchronous part. */
export class EdgeRequest implements RequestInfo {
  /** null until somebody was recognised. */
  caller: Caller | null = null;
  #controller: AbortController | null = null;
  #aborted = false;

  constructor(
    readonly method: string,
    readonly path: string,
    readonly address: string,
    readonly origin: string,
    readonly referer: string,
    readonly userAgent: string,
    private readonly headers: ReadonlyMap<string, string>,
    /** When not null, only these may be asked for. */
    private readonly listed: ReadonlySet<string> | null,
  ) {}

  header(name: string): string {
    const key = name.toLowerCase();
    const value = this.headers.get(key);
    if (value !== undefined) return value;
    if (key === 'origin') return this.origin;
    if (key === 'referer') return this.referer;
    if (key === 'user-agent') return this.userAgent;
    if (this.listed !== null && !this.listed.has(key)) {
      throw new Error(`header "${key}" is not among the route's listed headers`);
    }
    return '';
  }

  /** Made on demand: most handlers never look at it. */
  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      setMaxListeners(MAX_ABORT_LISTENERS, this.#controller.signal);
      if (this.#aborted) this.#controller.abort();
    }
    return this.#controller.signal;
  }

  abort(): void {
    this.#aborted = true;
    this.#controller?.abort();
  }
}

/** What a gateway says of the caller. */
const BELIEVED = /^x-(?:api-key|user-(?:id|email|role|plan))$/;

/**
 * All headers; of a repeated one the first. What a gateway says is joined instead (RFC 9110, 5.3), which is nobody's key, account or role:
 * one that adds its lines to those of the client is found out, and the client chooses nothing.
 */
export function allHeaders(req: UwsRequest): ReadonlyMap<string, string> {
  const headers = new Map<string, string>();
  req.forEach((name, value) => {
    const before = headers.get(name);
    if (before === undefined) headers.set(name, value);
    else if (BELIEVED.test(name)) headers.set(name, `${before}, ${value}`);
  });
  return headers;
}

/** A request with all its headers (`allHeaders`). @param address of the client */
export function wholeRequest(
  req: UwsRequest,
  method: string,
  headers: ReadonlyMap<string, string>,
  address: string,
): EdgeRequest {
  const header = (name: string) => headers.get(name) ?? '';
  const common = [header('origin'), header('referer'), header('user-agent')] as const;
  return new EdgeRequest(method, req.getUrl(), address, ...common, headers, null);
}

/** Only the listed ones. */
export function listedHeaders(req: UwsRequest, names: readonly string[]): ReadonlyMap<string, string> {
  let headers: Map<string, string> | null = null;
  for (const name of names) {
    const value = req.getHeader(name);
    if (value === '') continue;
    headers ??= new Map();
    headers.set(name, value);
  }
  return headers ?? NO_HEADERS;
}
