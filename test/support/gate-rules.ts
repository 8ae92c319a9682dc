/** What every kind of caller gets of every kind of route, by what the route declares and nothing else. */
import type { Access, Operation, Scope } from './operations.js';

export const ACCOUNTS = ['stranger', 'viewer', 'member admin', 'owner', 'instance admin'] as const;
export const OUTSIDERS = [
  'nobody',
  'somebody with garbage for a token',
  'an expired token of the owner',
  'a forged token of the instance admin',
  'a refresh token of the owner as access token',
  'a token of the owner after signing out',
  'an API key of the owner after its deletion',
  'an expired API key of the owner',
] as const;
export const SCOPES = ['read', 'write', 'manage'] as const satisfies readonly Scope[];
/** Holders of API keys, as far as their answers differ from those of the account itself. */
export const KEY_HOLDERS = [
  'an API key of the owner without the scope',
  'an API key of the owner with the scope',
  'an API key of the owner for another website',
  'an API key of a viewer with all scopes',
  'an API key of a stranger with all scopes',
] as const;
export type Account = (typeof ACCOUNTS)[number];
export type Outsider = (typeof OUTSIDERS)[number];
export type KeyHolder = (typeof KEY_HOLDERS)[number];

/** Who may pass the gate of each kind; outsiders pass that of public routes only. */
export const ADMITTED: Readonly<Record<Exclude<Access, 'public'>, readonly Account[]>> = {
  account: ACCOUNTS,
  admin: ['instance admin'],
  internal: [],
  'site:read': ['viewer', 'member admin', 'owner', 'instance admin'],
  'site:write': ['member admin', 'owner', 'instance admin'],
  'site:manage': ['owner', 'instance admin'],
};

export interface Answer {
  readonly status: number;
  /** Of the error, '' when it is none. */
  readonly code: string;
}

/** What is about the account itself or hands out access; no key may call it, whatever else is declared. */
export const NEVER_BY_KEY =
  /^(?!GET).*\/members\b|\/user\/(auth\/me|users|api-keys|2fa|privacy|notifications|billing)\b|\/privacy\/\w+\/\{user_id\}|\/admin\/|^(?!GET).*\/(share|sharing)\b/;

/** What the gate says; other codes are the business of the route. */
export const REFUSALS = [
  'unauthorized',
  'invalid_token',
  'forbidden',
  'insufficient_scope',
  'website_not_found',
];
/** What the declaration says that a key gets. */
export const expectedByKey = (who: KeyHolder, { access, keyScope }: Operation) => {
  if (access === 'public') return 'in';
  if (keyScope === null || who === 'an API key of the owner without the scope') return 'insufficient_scope';
  if (who === 'an API key of the owner with the scope') return 'in';
  if (!access.startsWith('site:'))
    return who === 'an API key of the owner for another website' ? 'either' : 'in';
  return who === 'an API key of a viewer with all scopes' && access === 'site:read' ? 'in' : 'forbidden';
};

export const isPublic = ({ access }: Operation) => access === 'public';

export const isAdmitted = ({ status, code }: Answer) =>
  status > 0 && status < 500 && status !== 401 && !REFUSALS.includes(code);
