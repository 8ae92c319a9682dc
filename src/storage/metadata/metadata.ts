/**
 * The metadata store: accounts, sessions, websites and what belongs to them. One adapter (Postgres, embedded or a server); the
 * domain knows these interfaces only. All methods may throw AppError `storage_unavailable`, `timeout` or `overloaded`.
 */
import type { AccountCountStore } from './account-counts.js';
import type { AccountDeletionStore } from './account-deletion.js';
import type { ApiKeyStore } from './api-keys.js';
import type { AuditStore } from './audit.js';
import type { AutomationStore } from './automations.js';
import type { ErasureStore } from './erasures.js';
import type { ExecutionStore } from './executions.js';
import type { IdempotencyStore } from './idempotency.js';
import type { ImportStore } from './imports.js';
import type { MemberStore } from './members.js';
import type { NotificationStore } from './notifications.js';
import type { EndedAccess } from './password-change.js';
import type { PasswordResetStore } from './password-resets.js';
import type { PrivacyRequestStore } from './privacy-requests.js';
import type { SecondFactorStore } from './second-factors.js';
import type { ShareStore } from './shares.js';
import type { VisitorSaltStore } from './visitor-salts.js';

export interface MetadataStore {
  readonly users: UserStore;
  readonly sessions: SessionStore;
  readonly passwordResets: PasswordResetStore;
  readonly websites: WebsiteStore;
  readonly members: MemberStore;
  readonly goals: GoalStore;
  readonly funnels: FunnelStore;
  readonly idempotency: IdempotencyStore;
  readonly apiKeys: ApiKeyStore;
  readonly secondFactors: SecondFactorStore;
  readonly audit: AuditStore;
  readonly automations: AutomationStore;
  readonly executions: ExecutionStore;
  readonly imports: ImportStore;
  readonly shares: ShareStore;
  readonly notifications: NotificationStore;
  readonly accountCounts: AccountCountStore;
  readonly visitorSalts: VisitorSaltStore;
  readonly erasures: ErasureStore;
  readonly accountDeletion: AccountDeletionStore;
  readonly privacyRequests: PrivacyRequestStore;
  /** Throws when the server does not answer. */
  ping(): Promise<void>;
  close(): Promise<void>;
}

export interface User {
  readonly id: string;
  readonly name: string;
  /** As the account holder typed it, trimmed; compared without regard to case. */
  readonly email: string;
  /** argon2id (ours) or bcrypt (the original's); null for accounts without a password. */
  readonly passwordHash: string | null;
  /** Grows with every change of the password. */
  readonly passwordVersion: number;
  readonly role: 'admin' | 'user';
  readonly avatar: string;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export interface NewUser {
  readonly id: string;
  readonly name: string;
  readonly email: string;
  readonly passwordHash: string;
}

export interface UserStore {
  /** Whether any account exists. */
  exists(): Promise<boolean>;
  findById(id: string): Promise<User | null>;
  /** Where addresses differ in case only (a database of the original), the exact spelling wins, then the older account. */
  findByEmail(email: string): Promise<User | null>;
  /**
   * Adds an account, atomically over all nodes: the first one becomes admin, further ones need `open`.
   * @returns the account, or why there is none
   */
  register(user: NewUser, open: boolean): Promise<User | 'closed' | 'taken'>;
  /** Replaces a hash only if it is still `previous`, so that an upgrade never undoes a password change. */
  replacePasswordHash(id: string, previous: string, next: string): Promise<void>;
  /** @returns the changed account; 'taken' when another one has the address, null when there is no such account */
  updateProfile(id: string, name: string, email: string): Promise<User | 'taken' | null>;
  /**
   * Adds an account that another program keeps, or its new address and name. Empty ones leave what is known; other accounts stay as they are.
   * @returns 'taken' when another account has the address; null when there is no such account and no address for it
   */
  sync(account: {
    readonly id: string;
    readonly email: string;
    readonly name: string;
  }): Promise<User | 'taken' | null>;
  /** @param url '' for none; null when there is no such account */
  setAvatar(id: string, url: string): Promise<{ readonly user: User; readonly previous: string } | null>;
  /**
   * Replaces the hash if it is still `previous`, and revokes the account's sessions with it, all at once.
   * @returns ids of the revoked sessions; null when the hash was another one
   */
  changePassword(id: string, change: NewPassword): Promise<EndedAccess | null>;
}

export interface NewPassword {
  readonly previous: string;
  readonly next: string;
  /** The one session that stays. */
  readonly keepSession: string | null;
  /** Whether the account's API keys end, too. */
  readonly revokeKeys: boolean;
}

export interface NewSession {
  readonly id: string;
  readonly userId: string;
  /** The account's when its password was proved. */
  readonly passwordVersion: number;
  /** SHA-256 of the first refresh token. */
  readonly tokenHash: Uint8Array;
  readonly expiresAt: Date;
}

export interface SessionStore {
  /**
   * Opens a session with its first refresh token; expired sessions of the account go, and the oldest beyond `keep`.
   * @returns false when the password was changed since it was proved, or the account is gone
   */
  open(session: NewSession, keep: number): Promise<boolean>;
  /**
   * Exchanges an unused token of a live session for its successor, once.
   * @param graceMs how long after its first use a token is exchanged again
   * @returns the account, or null when the token is unknown, used, expired or its session revoked
   */
  rotate(tokenHash: Uint8Array, nextHash: Uint8Array, expiresAt: Date, graceMs: number): Promise<User | null>;
  /** Revokes the session of a token that has been used before; the session's id when this call revoked it. */
  revokeReused(tokenHash: Uint8Array): Promise<string | null>;
  revoke(sessionId: string, reason: string): Promise<void>;
  /** Sessions of an account that are neither revoked nor expired. */
  ofAccount(userId: string): Promise<string[]>;
  /** The account of a session that is neither revoked nor expired. */
  findAccount(sessionId: string): Promise<User | null>;
}

export interface WebsiteRecord {
  readonly id: string;
  readonly siteId: string;
  readonly userId: string;
  readonly name: string;
  /** As stored; the original may have left a whole URL here. */
  readonly url: string;
  readonly trackingId: string;
  readonly isActive: boolean;
  readonly isVerified: boolean;
  readonly automationEnabled: boolean;
  readonly funnelEnabled: boolean;
  readonly heatmapEnabled: boolean;
  readonly heatmapIncludePatterns: string | null;
  readonly heatmapExcludePatterns: string | null;
  readonly replayEnabled: boolean;
  readonly replaySamplingRate: number;
  readonly replayIncludePatterns: string | null;
  readonly replayExcludePatterns: string | null;
  /** Whatever was saved; read it with `settingsFrom`. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export interface NewWebsite {
  readonly id: string;
  readonly siteId: string;
  readonly userId: string;
  readonly name: string;
  readonly url: string;
  readonly trackingId: string;
}

/** null: unchanged. */
export interface WebsitePatch {
  readonly name: string | null;
  readonly url: string | null;
  readonly isActive: boolean | null;
  readonly automationEnabled: boolean | null;
  readonly funnelEnabled: boolean | null;
  readonly heatmapEnabled: boolean | null;
  readonly heatmapIncludePatterns: string | null;
  readonly heatmapExcludePatterns: string | null;
  readonly replayEnabled: boolean | null;
  readonly replaySamplingRate: number | null;
  readonly replayIncludePatterns: string | null;
  readonly replayExcludePatterns: string | null;
  /** Keys that replace those stored. */
  readonly settings: Readonly<Record<string, unknown>> | null;
}

export interface Membership {
  readonly userId: string;
  readonly role: string;
}

export interface WebsiteStore {
  /** Stores the site and its owner's membership. Null when the account has `limit` websites of its own already. */
  create(website: NewWebsite, limit: number): Promise<WebsiteRecord | null>;
  /** Own sites and those the account is a member of, newest first. */
  listFor(userId: string): Promise<WebsiteRecord[]>;
  /** @param ids UUIDs or public site ids, lower case, well formed */
  findMany(ids: readonly string[]): Promise<WebsiteRecord[]>;
  /** All sites of the instance in the order of their public ids, from behind `after` ('' the first) on. */
  pageOfAll(after: string, limit: number): Promise<WebsiteRecord[]>;
  update(id: string, patch: WebsitePatch): Promise<WebsiteRecord | null>;
  /** Removes the site with goals, members and funnels, and notes that its data must be purged. False when there is none. */
  delete(id: string): Promise<boolean>;
  /** Public ids of deleted sites whose data is not proven gone, oldest first. */
  pendingPurges(limit: number): Promise<string[]>;
  markPurged(siteId: string): Promise<void>;
  members(id: string): Promise<Membership[]>;
}

export interface ClickGoal {
  readonly id: string;
  readonly identifier: string;
  readonly selector: string;
}

export interface GoalRecord {
  readonly id: string;
  /** UUID of the website. */
  readonly websiteId: string;
  readonly name: string;
  readonly type: string;
  /** Event type or path, `*` a wildcard in paths. */
  readonly identifier: string;
  readonly selector: string | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export type NewGoal = Pick<GoalRecord, 'id' | 'websiteId' | 'name' | 'type' | 'identifier' | 'selector'>;

export interface GoalStore {
  /** Goals of type `event` with a CSS selector: what the tracker watches for. */
  withSelector(websiteId: string): Promise<ClickGoal[]>;
  /** Newest first, at most 500. */
  list(websiteId: string): Promise<GoalRecord[]>;
  /** Null when the site has `limit` goals already, or is gone. */
  create(goal: NewGoal, limit: number): Promise<GoalRecord | null>;
  /** False when the site has no such goal. */
  delete(websiteId: string, id: string): Promise<boolean>;
}

export interface FunnelRecord {
  readonly id: string;
  readonly siteId: string;
  /** Account that made it. */
  readonly userId: string;
  readonly isActive: boolean;
  readonly name: string;
  readonly description: string;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  /** By ascending order. */
  readonly steps: readonly FunnelStepRecord[];
}

export interface FunnelStepRecord {
  readonly id: string;
  readonly name: string;
  readonly order: number;
  readonly stepType: string;
  readonly pagePath: string | null;
  readonly eventType: string | null;
  readonly matchType: string;
}

export type NewFunnelStep = Pick<FunnelStepRecord, 'name' | 'order' | 'stepType' | 'matchType'> & {
  /** '' when it is not about a page, or an event. */
  readonly pagePath: string;
  readonly eventType: string;
};

export interface NewFunnel {
  readonly id: string;
  readonly siteId: string;
  readonly userId: string;
  readonly name: string;
  readonly description: string;
  readonly steps: readonly NewFunnelStep[];
}

/** null: unchanged. */
export interface FunnelPatch {
  readonly name: string | null;
  readonly description: string | null;
  readonly isActive: boolean | null;
  /** Replace all steps. */
  readonly steps: readonly NewFunnelStep[] | null;
}

export interface FunnelStore {
  /** Active funnels of a site, newest first, at most 200. */
  active(siteId: string): Promise<FunnelRecord[]>;
  /** All funnels of a site, newest first, at most 200. */
  list(siteId: string): Promise<FunnelRecord[]>;
  find(siteId: string, id: string): Promise<FunnelRecord | null>;
  /** Null when the site has `limit` funnels already. */
  create(funnel: NewFunnel, limit: number): Promise<FunnelRecord | null>;
  /** Null when the site has no such funnel. */
  update(siteId: string, id: string, patch: FunnelPatch): Promise<FunnelRecord | null>;
  /** False when the site has no such funnel. */
  delete(siteId: string, id: string): Promise<boolean>;
}
