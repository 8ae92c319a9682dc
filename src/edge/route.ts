/**
 * A route is declared once: its schemas give the validation, the types of its handler and the OpenAPI document; its `access` is what
 * the gate enforces and what the gate test walks.
 */
import Type, { type Static, type TObject, type TSchema } from 'typebox';
import type { Principal, SiteAction } from '../auth/principal.js';
import type { Site } from '../websites/site.js';
import type { Form, FormFile, FormLimits } from './multipart.js';
import { compileBody, compileStrings, type Parse } from './validate.js';

/** Of routes that take no parameters, or no query. */
export const Nothing = Type.Object({});

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/**
 * Who may call: anybody; a signed-in account; an instance admin; another program of the operator's that has the service key; an account
 * that may do `site` on the site named by a parameter.
 */
export type Access = 'public' | 'account' | 'admin' | 'internal' | SiteAccess;

export interface SiteAccess {
  readonly site: SiteAction;
  /** What is enough instead for sites whose owner decided so; undefined: `site` it is. */
  readonly unless?: (site: Site) => SiteAction | undefined;
}

/**
 * Rate-limit buckets of contract 1.6 (the tracker's own GETs are in `ingest`). `public`: dashboards shared by link. `none`: health,
 * readiness, metrics.
 */
export type RateBucket = 'ingest' | 'auth' | 'api' | 'admin' | 'internal' | 'public' | 'none';

export interface RequestInfo {
  readonly method: string;
  readonly path: string;
  /** Client address after the trusted-proxy rule. Never logged. */
  readonly address: string;
  readonly userAgent: string;
  readonly origin: string;
  readonly referer: string;
  /** A header by name, '' when absent. On a raw route that lists its `headers`, only those. */
  header(name: string): string;
  /** Aborts when the client leaves. */
  readonly signal: AbortSignal;
}

export interface RouteContext<P, Q, B> {
  readonly params: P;
  readonly query: Q;
  readonly body: B;
  readonly request: RequestInfo;
  /** The caller; anonymous only on public and internal routes. */
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
  /** Values arrive as strings and are coerced; the first of a repeated name counts; undeclared names are ignored. */
  readonly query: Q;
  /** Answers by status, e.g. `{ 200: Type.Object({...}) }`. Documentation and tests; not checked at run time. */
  readonly responses: Readonly<Record<number, TSchema>>;
  /** Bytes after inflation; default the API limit, of JSON at most 1 MiB. */
  readonly bodyLimit?: number;
  /** The answer holds a secret that is shown once; it is never kept for a repeated request. */
  readonly answerIsSecret?: boolean;
  /** Hands out so much that the audit log has it, though it changes nothing. */
  readonly isNoted?: boolean;
}

export interface Route<P extends TObject = TObject, Q extends TObject = TObject, B extends TSchema = TSchema>
  extends RouteBase<P, Q> {
  readonly kind: 'json';
  readonly access: Exclude<Access, { site: SiteAction }>;
  /** The scope with which an API key may call; default: keys are refused, since the route is about the account itself. */
  readonly keys?: SiteAction;
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
  readonly access: SiteAccess;
  /** Refuses API keys; default: a key needs the scope of the action. */
  readonly keys?: 'refused';
  /** Where the site id (either form) stands. */
  readonly siteFrom:
    | { readonly param: keyof Static<P> & string }
    | { readonly query: keyof Static<Q> & string }
    | { readonly body: keyof Static<B> & string };
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
  /**
   * Lower-case names of the headers the handler asks for beside origin, referer and user agent, which are always there. Listing them
   * saves the walk over all headers on every request; `header()` of an unlisted name throws. Default: all headers are kept.
   */
  readonly headers?: readonly string[];
  handle(context: { readonly bytes: Uint8Array; readonly request: RequestInfo }): Promise<Reply<unknown>>;
  /**
   * Turns a refusal that happened before the handler ran (too large, bad encoding) into the route's answer, so that trackers that
   * repeat on any non-2xx do not repeat for ever. Default: the error table.
   */
  refuse?(error: unknown): Reply<unknown> | undefined;
}

/**
 * Reads the form that a request brings, once. A site is asked about as soon as its field is there: before the file when it stands before
 * it, else after the file. A file that was taken is given to `discard` when the caller may not, or when the rest of the form is bad.
 */
export type ReadForm<S> = <T>(
  take: (file: FormFile, fields: ReadonlyMap<string, string>) => Promise<T>,
  discard?: (taken: T) => Promise<void>,
) => Promise<Form<T> & { readonly site: S }>;

export interface UploadContext<P, S> {
  readonly params: P;
  readonly request: RequestInfo;
  readonly principal: Principal;
  /** @throws AppError as `readForm`, `website_not_found`, `forbidden` */
  readonly read: ReadForm<S>;
}

interface UploadBase<P extends TObject> extends Omit<RouteBase<P, TObject>, 'query' | 'bodyLimit'> {
  /** The form's fields, for the OpenAPI document only. */
  readonly body: TObject;
  readonly form: FormLimits;
}

/** A route that takes a form with a file, which it reads while it arrives. */
export interface UploadRoute<P extends TObject = TObject> extends UploadBase<P> {
  readonly access: 'account';
  handle(context: UploadContext<Static<P>, null>): Promise<Reply<unknown>>;
}

/** A route that takes a form with a file for one site, which a field of the form names. */
export interface SiteUploadRoute<P extends TObject = TObject> extends UploadBase<P> {
  readonly access: { readonly site: SiteAction };
  readonly siteFrom: { readonly field: string };
  handle(context: UploadContext<Static<P>, Site>): Promise<Reply<unknown>>;
}

/** What a call brings, not yet validated. */
export interface CallInput {
  /** Decoded path parameters. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  readonly request: RequestInfo;
  readonly principal: Principal;
}

/** A call whose parameters and query were found valid. */
export interface AcceptedCall {
  /** The site id as the caller gave it; '' on routes that are not about a site. */
  readonly siteRef: string;
  /** Where in the body it stands instead. */
  readonly siteKey?: string;
  /**
   * Validates the body and runs the handler.
   * @param body parsed JSON; ignored when the route declares none
   * @param site the resolved site; not null on routes of kind `site`
   */
  run(body: unknown, site: Site | null): Promise<Reply<unknown>>;
}

interface Declared extends RouteBase<TObject, TObject> {
  readonly access: Access;
  readonly keys?: SiteAction | 'refused';
  readonly body?: TSchema;
}

/** A declared JSON or site route, its type parameters closed over. */
export interface JsonEndpoint extends Declared {
  readonly kind: 'json' | 'site';
  /** @throws AppError `invalid_request` when parameters or query do not fit */
  accept(input: CallInput): AcceptedCall;
}

export interface RawEndpoint extends Declared {
  readonly kind: 'raw';
  readonly access: 'public';
  readonly body: TSchema;
  readonly headers?: readonly string[];
  handle(context: { readonly bytes: Uint8Array; readonly request: RequestInfo }): Promise<Reply<unknown>>;
  refuse?(error: unknown): Reply<unknown> | undefined;
}

export interface UploadEndpoint extends Declared {
  readonly kind: 'upload';
  readonly access: 'account' | { readonly site: SiteAction };
  readonly body: TObject;
  readonly form: FormLimits;
  /** The field that names the site. */
  readonly siteField: string | null;
  /** @throws AppError `invalid_request` when the parameters do not fit */
  accept(input: Omit<CallInput, 'query'>): (read: ReadForm<Site | null>) => Promise<Reply<unknown>>;
}

/** Any declared route, its type parameters forgotten: what the app and the OpenAPI document iterate over. */
export type AnyRoute = JsonEndpoint | RawEndpoint | UploadEndpoint;

/** The scope that an API key needs for a route; null: it is refused there, or (on a public route) not looked at. */
export function keyScope({ access, keys }: Pick<Declared, 'access' | 'keys'>): SiteAction | null {
  if (access === 'public' || access === 'internal' || keys === 'refused') return null;
  return keys ?? (typeof access === 'string' ? null : access.site);
}

/** Declares a JSON route. */
export function route<P extends TObject, Q extends TObject, B extends TSchema>(
  definition: Omit<Route<P, Q, B>, 'kind'>,
): AnyRoute {
  const parse = compileInput(definition);
  return {
    ...definition,
    kind: 'json',
    accept(input) {
      const { params, query, body } = parse(input);
      const { request, principal } = input;
      return {
        siteRef: '',
        run: async (raw) => definition.handle({ params, query, body: body(raw), request, principal }),
      };
    },
  };
}

/** Declares a route about one site. */
export function siteRoute<P extends TObject, Q extends TObject, B extends TSchema>(
  definition: Omit<SiteRoute<P, Q, B>, 'kind'>,
): AnyRoute {
  const parse = compileInput(definition);
  const { siteFrom } = definition;
  return {
    ...definition,
    kind: 'site',
    accept(input) {
      const { params, query, body } = parse(input);
      const { request, principal } = input;
      return {
        ...siteNamed(siteFrom, input),
        run: async (raw, site) => {
          if (site === null) throw new Error(`${definition.path} ran without its site`);
          return definition.handle({ params, query, body: body(raw), request, principal, site });
        },
      };
    },
  };
}

function siteNamed(
  from: { readonly param: string } | { readonly query: string } | { readonly body: string },
  { params, query }: CallInput,
): Pick<AcceptedCall, 'siteRef' | 'siteKey'> {
  if ('body' in from) return { siteRef: '', siteKey: from.body };
  return { siteRef: ('param' in from ? params[from.param] : query[from.query]) ?? '' };
}

/** Declares a raw route. */
export function rawRoute<P extends TObject, Q extends TObject>(
  definition: Omit<RawRoute<P, Q>, 'kind'>,
): AnyRoute {
  return { ...definition, kind: 'raw' };
}

const NO_QUERY: TObject = Type.Object({});

/** Declares a route that takes a file. */
export function uploadRoute<P extends TObject>(definition: UploadRoute<P>): AnyRoute {
  const params = compileStrings(definition.params, 'Invalid path parameter');
  return {
    ...definition,
    kind: 'upload',
    query: NO_QUERY,
    siteField: null,
    accept(input) {
      const context = { ...input, params: params(input.params) };
      return (read) => {
        const readAny: ReadForm<null> = async (take, discard) => ({
          ...(await read(take, discard)),
          site: null,
        });
        return definition.handle({ ...context, read: readAny });
      };
    },
  };
}

/** Declares a route that takes a file for one site. */
export function siteUploadRoute<P extends TObject>(definition: SiteUploadRoute<P>): AnyRoute {
  const params = compileStrings(definition.params, 'Invalid path parameter');
  return {
    ...definition,
    kind: 'upload',
    query: NO_QUERY,
    siteField: definition.siteFrom.field,
    accept(input) {
      const context = { ...input, params: params(input.params) };
      return (read) => {
        const readOfSite: ReadForm<Site> = async (take, discard) => {
          const { site, ...form } = await read(take, discard);
          if (site === null) throw new Error(`${definition.path} ran without its site`);
          return { ...form, site };
        };
        return definition.handle({ ...context, read: readOfSite });
      };
    },
  };
}

function compileInput<P extends TObject, Q extends TObject, B extends TSchema>(definition: {
  readonly params: P;
  readonly query: Q;
  readonly body?: B;
}): (input: CallInput) => { params: Static<P>; query: Static<Q>; body: Parse<Static<B>> } {
  const params = compileStrings(definition.params, 'Invalid path parameter');
  const query = compileStrings(definition.query, 'Invalid query parameter');
  const body = definition.body === undefined ? noBody<Static<B>> : compileBody(definition.body);
  return (input) => ({ params: params(input.params), query: query(input.query), body });
}

/** Of a route without a body schema the handler's `body` is undefined. */
function noBody<T>(): T {
  const nothing: unknown = undefined;
  if (isNothing<T>(nothing)) return nothing;
  throw new Error('unreachable');
}

function isNothing<T>(value: unknown): value is T {
  return value === undefined;
}

/** A plain text or binary answer (metrics page, documents) instead of JSON. */
export class TextBody {
  constructor(
    readonly text: string,
    readonly contentType: string,
  ) {}
}
