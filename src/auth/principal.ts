/** Who is calling. */
export type Principal = AnonymousPrincipal | AccountPrincipal;

export interface AnonymousPrincipal {
  readonly kind: 'anonymous';
}

export interface AccountPrincipal {
  readonly kind: 'account';
  /** User UUID. */
  readonly userId: string;
  readonly email: string;
  /** Instance role. */
  readonly role: 'admin' | 'user';
}

/** What can be done with a site: look at it, change its settings and content, manage its team or delete it. */
export type SiteAction = 'read' | 'write' | 'manage';

/** Role of an account on a site; `owner` and `admin` members may write, only the owner (and the instance admin) may manage. */
export type SiteRole = 'owner' | 'admin' | 'viewer';

export const ANONYMOUS: AnonymousPrincipal = { kind: 'anonymous' };
