/** The one gate: who calls, and may they (promise P6). Every route passes here before its handler. */
import { looksLikeApiKey } from '../auth/api-key-verifier.js';
import { bearerToken } from '../auth/authenticator.js';
import type { Gateway } from '../auth/gateway.js';
import { ANONYMOUS, type KeyGrant, type Principal, type SiteAction } from '../auth/principal.js';
import { isSameSecret } from '../auth/same-secret.js';
import { AppError } from '../errors.js';
import type { Site } from '../websites/site.js';
import { addressGroup } from './address.js';
import { type Access, type JsonEndpoint, keyScope, type RequestInfo } from './route.js';

export interface GateOptions {
  /**
   * @param client group of addresses that calls
   * @throws AppError `invalid_token`, `rate_limited`, `overloaded`
   */
  authenticate(authorizationHeader: string, client: string): Promise<Principal>;
  resolveSite(idOrSiteId: string): Promise<Site | null>;
  authorize(principal: Principal, site: Site, action: SiteAction): Promise<boolean> | boolean;
  /** Cloud mode: asked instead of `authenticate`, and the only thing that looks at the headers of a gateway. */
  readonly gateway?: Gateway;
  /** What internal routes demand in `X-API-Key`; default: nothing is enough. */
  readonly serviceKey?: string;
}

/**
 * Who calls. On public routes everybody may be nobody.
 * @throws AppError `unauthorized`, `invalid_token`, `rate_limited`, `overloaded`
 */
export async function identify(
  gate: GateOptions,
  access: Access,
  request: Pick<RequestInfo, 'header' | 'address'>,
): Promise<Principal> {
  if (access === 'internal') return admitService(gate, request);
  if (gate.gateway !== undefined)
    return access === 'public' ? ANONYMOUS : gate.gateway((name) => request.header(name));
  const authorization = credentialOf(request);
  const client = addressGroup(request.address);
  if (access === 'public') return optionalPrincipal(gate, authorization, client);
  if (authorization === '') throw new AppError('unauthorized', 'Authorization header required');
  const principal = await gate.authenticate(authorization, client);
  if (principal.kind !== 'account') throw new AppError('invalid_token', 'Invalid or expired token');
  return principal;
}

function admitService({ serviceKey = '' }: GateOptions, request: Pick<RequestInfo, 'header'>): Principal {
  if (isSameSecret(request.header('x-api-key'), serviceKey)) return ANONYMOUS;
  throw new AppError('unauthorized', 'Invalid API key');
}

/**
 * Whether the caller may call the route at all; what may be done with a site is asked of `admitToSite`.
 * @throws AppError `forbidden`, `insufficient_scope` (an API key where keys are refused, or without the scope)
 */
export function admit(endpoint: Pick<JsonEndpoint, 'access' | 'keys'>, principal: Principal): void {
  if (endpoint.access === 'public' || principal.kind !== 'account') return;
  if (principal.key !== undefined) admitKey(endpoint, principal.key);
  if (endpoint.access === 'admin' && principal.role !== 'admin') {
    throw new AppError('forbidden', 'Access denied: insufficient permissions');
  }
}

function admitKey(endpoint: Pick<JsonEndpoint, 'access' | 'keys'>, key: KeyGrant): void {
  const scope = keyScope(endpoint);
  if (scope === null) throw new AppError('insufficient_scope', 'API keys may not do this');
  // Another scope may be enough there, which the site says.
  const dependsOnSite = typeof endpoint.access === 'object' && endpoint.access.unless !== undefined;
  if (!dependsOnSite) checkScope(key, scope);
}

function checkScope(key: KeyGrant, scope: SiteAction): void {
  if (key.scopes.includes(scope)) return;
  throw new AppError('insufficient_scope', `The API key lacks the scope "${scope}"`);
}

/** What a request brings to be recognised by: `Authorization`, else an API key in `X-API-Key`. */
function credentialOf(request: Pick<RequestInfo, 'header'>): string {
  const authorization = request.header('authorization');
  if (authorization !== '') return authorization;
  const key = request.header('x-api-key').trim();
  return key.startsWith('sk_') ? `Bearer ${key}` : '';
}

/**
 * On public routes a stale token is no error: the dashboard sends it along while it refreshes. An API key says nothing there: no scope
 * stands for them.
 */
async function optionalPrincipal(
  gate: GateOptions,
  authorization: string,
  client: string,
): Promise<Principal> {
  if (authorization === '' || looksLikeApiKey(bearerToken(authorization))) return ANONYMOUS;
  try {
    return await gate.authenticate(authorization, client);
  } catch (error) {
    if (error instanceof AppError && error.code === 'invalid_token') return ANONYMOUS;
    throw error;
  }
}

/** @throws AppError `website_not_found`, `forbidden`, or `insufficient_scope` where the site decides which scope is enough */
export async function admitToSite(
  gate: GateOptions,
  access: Access,
  principal: Principal,
  siteRef: string,
): Promise<Site> {
  if (typeof access === 'string') throw new Error('a site route must say what is done with the site');
  const site = siteRef === '' ? null : await gate.resolveSite(siteRef);
  if (site === null) throw new AppError('website_not_found', 'Website not found');
  const instead = access.unless?.(site);
  if (await gate.authorize(principal, site, access.site)) return site;
  if (instead !== undefined && (await gate.authorize(principal, site, instead))) return site;
  if (principal.kind === 'account' && principal.key !== undefined) checkScope(principal.key, access.site);
  throw new AppError('forbidden', 'Access denied to this website');
}
