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
  /** Set when the account acts through one of its API keys: it may then do only what both of them may. */
  readonly key?: KeyGrant;
}

/** What an API key lets its account do. */
export interface KeyGrant {
  /** Key UUID. */
  readonly id: string;
  /** Each stands for the action of the same name; none includes another. */
  readonly scopes: readonly SiteAction[];
  /** UUIDs of the only websites it is for; null: all that the account may reach. */
  readonly websiteIds: readonly string[] | null;
}

/** What can be done with a site: look at it, change its settings and content, manage its team or delete it. */
export type SiteAction = 'read' | 'write' | 'manage';

/** Role of an account on a site; `owner` and `admin` members may write, only the owner (and the instance admin) may manage. */
export type SiteRole = 'owner' | 'admin' | 'viewer';

export const ANONYMOUS: AnonymousPrincipal = { kind: 'anonymous' };
