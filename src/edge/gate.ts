/** The one gate: who calls, and may they (promise P6). Every route passes here before its handler. */
import { ANONYMOUS, type Principal, type SiteAction } from '../auth/principal.js';
import { AppError } from '../errors.js';
import type { Site } from '../websites/site.js';
import type { Access } from './route.js';

export interface GateOptions {
  /** @throws AppError `invalid_token` */
  authenticate(authorizationHeader: string): Promise<Principal>;
  resolveSite(idOrSiteId: string): Promise<Site | null>;
  authorize(principal: Principal, site: Site, action: SiteAction): Promise<boolean> | boolean;
}

/** @throws AppError `unauthorized`, `invalid_token` or `forbidden` */
export async function admit(gate: GateOptions, access: Access, authorization: string): Promise<Principal> {
  if (access === 'public') return optionalPrincipal(gate, authorization);
  if (authorization === '') throw new AppError('unauthorized', 'Authorization header required');
  const principal = await gate.authenticate(authorization);
  if (principal.kind !== 'account') throw new AppError('invalid_token', 'Invalid or expired token');
  if (access === 'admin' && principal.role !== 'admin') {
    throw new AppError('forbidden', 'Access denied: insufficient permissions');
  }
  return principal;
}

/** On public routes a stale token is no error: the dashboard sends it along while it refreshes. */
async function optionalPrincipal(gate: GateOptions, authorization: string): Promise<Principal> {
  if (authorization === '') return ANONYMOUS;
  try {
    return await gate.authenticate(authorization);
  } catch (error) {
    if (error instanceof AppError && error.code === 'invalid_token') return ANONYMOUS;
    throw error;
  }
}

/** @throws AppError `website_not_found` or `forbidden` */
export async function admitToSite(
  gate: GateOptions,
  access: Access,
  principal: Principal,
  siteRef: string,
): Promise<Site> {
  if (typeof access === 'string') throw new Error('a site route must say what is done with the site');
  const site = siteRef === '' ? null : await gate.resolveSite(siteRef);
  if (site === null) throw new AppError('website_not_found', 'Website not found');
  if (!(await gate.authorize(principal, site, access.site))) {
    throw new AppError('forbidden', 'Access denied to this website');
  }
  return site;
}
