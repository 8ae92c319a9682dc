/**
 * A route is declared once: its schemas give the validation, the types of its handler and the OpenAPI document; its `access` is what
 * the gate enforces and what the gate test walks.
 */
import type { Static, TObject, TSchema } from 'typebox';
import type { Principal, SiteAction } from '../auth/principal.js';
import type { Site } from '../websites/site.js';

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** Who may call: anybody; a signed-in account; an instance admin; an account that may do `site` on the site named by a parameter. */
export type Access = 'public' | 'account' | 'admin' | { readonly site: SiteAction };

/** Rate-limit buckets of contract 1.6 (the tracker's own GETs are in `ingest`). `none`: health, readiness, metrics. */
export type RateBucket = 'ingest' | 'auth' | 'api' | 'admin' | 'internal' | 'none';

export interface RequestInfo {
  readonly method: string;
  readonly path: string;
  /** Client address after the trusted-proxy rule. Never logged. */
  readonly address: string;
  readonly userAgent: string;
  readonly origin: string;
  readonly referer: string;
  header(name: string): string;
  /** Aborts when the client leaves. */
  readonly signal: AbortSignal;
}

export interface RouteContext<P, Q, B> {
  readonly params: P;
  readonly query: Q;
  readonly body: B;
  readonly request: RequestInfo;
  /** The caller; anonymous only on public routes. */
  readonly principal: Principal;
}

export interface Reply<R> {
  readonly status: number;
  readonly body: R;
  readonly headers?: Readonly<Record<string, string>>;
}

interface RouteBase<P extends TObject, Q extends TObject> {
  readonly method: Method;
  /** With `:name` parameters, e.g. `/api/v1/user/websites/:id`. */
  readonly path: string;
  readonly summary: string;
  readonly tag: string;
  readonly bucket: RateBucket;
  /** `tracker`: any origin is echoed, with credentials. `api`: only configured origins. */
  readonly cors: 'tracker' | 'api';
  readonly params: P;
  readonly query: Q;
  /** Answers by status, e.g. `{ 200: Type.Object({...}) }`. Documentation and tests; not checked at run time. */
  readonly responses: Readonly<Record<number, TSchema>>;
  /** Bytes after inflation; default the API limit. */
  readonly bodyLimit?: number;
}

export interface Route<P extends TObject = TObject, Q extends TObject = TObject, B extends TSchema = TSchema>
  extends RouteBase<P, Q> {
  readonly kind: 'json';
  readonly access: Exclude<Access, { site: SiteAction }>;
  readonly body?: B;
  handle(context: RouteContext<Static<P>, Static<Q>, Static<B>>): Promise<Reply<unknown>>;
}

/** A route about one site: the gate has resolved it (404) and checked the action (403) before the handler runs. */
export interface SiteRoute<
  P extends TObject = TObject,
  Q extends TObject = TObject,
  B extends TSchema = TSchema,
> extends RouteBase<P, Q> {
  readonly kind: 'site';
  readonly access: { readonly site: SiteAction };
  /** Where the site id (either form) stands. */
  readonly siteFrom:
    | { readonly param: keyof Static<P> & string }
    | { readonly query: keyof Static<Q> & string };
  readonly body?: B;
  handle(
    context: RouteContext<Static<P>, Static<Q>, Static<B>> & { readonly site: Site },
  ): Promise<Reply<unknown>>;
}

/** A route that takes the inflated body as bytes (ingestion: parsing is the pool's work). The bytes are the handler's to keep. */
export interface RawRoute<P extends TObject = TObject, Q extends TObject = TObject> extends RouteBase<P, Q> {
  readonly kind: 'raw';
  readonly access: 'public';
  /** For the OpenAPI document only. */
  readonly body: TSchema;
  handle(context: { readonly bytes: Uint8Array; readonly request: RequestInfo }): Promise<Reply<unknown>>;
  /**
   * Turns a refusal that happened before the handler ran (too large, bad encoding) into the route's answer, so that trackers that
   * repeat on any non-2xx do not repeat for ever. Default: the error table.
   */
  refuse?(error: unknown): Reply<unknown> | undefined;
}

/** Any declared route, its type parameters forgotten: what the app and the OpenAPI document iterate over. */
export type AnyRoute = Route | SiteRoute | RawRoute;

/** Declares a JSON route; the identity function, for inference. */
export function route<P extends TObject, Q extends TObject, B extends TSchema>(
  definition: Omit<Route<P, Q, B>, 'kind'>,
): AnyRoute {
  return { ...definition, kind: 'json' } as unknown as AnyRoute;
}

/** Declares a route about one site. */
export function siteRoute<P extends TObject, Q extends TObject, B extends TSchema>(
  definition: Omit<SiteRoute<P, Q, B>, 'kind'>,
): AnyRoute {
  return { ...definition, kind: 'site' } as unknown as AnyRoute;
}

/** Declares a raw route. */
export function rawRoute<P extends TObject, Q extends TObject>(
  definition: Omit<RawRoute<P, Q>, 'kind'>,
): AnyRoute {
  return { ...definition, kind: 'raw' } as unknown as AnyRoute;
}

/** A plain text or binary answer (metrics page, documents) instead of JSON. */
export class TextBody {
  constructor(
    readonly text: string,
    readonly contentType: string,
  ) {}
}
