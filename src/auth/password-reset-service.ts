import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { Counter } from 'prom-client';
import type { AuditLog } from '../audit/audit-log.js';
import { AppError } from '../errors.js';
import type { Mailer, MailOutcome } from '../mail/mailer.js';
import type { MetadataStore, User } from '../storage/metadata/metadata.js';
import type { Telemetry } from '../telemetry.js';
import type { Authenticator } from './authenticator.js';
import { createBackground } from './background.js';
import { checkedEmail, checkPassword } from './credentials.js';
import { forgetAccess } from './ended-access.js';
import type { Passwords } from './passwords.js';
import { hashOf } from './tokens.js';

export interface PasswordResetOptions {
  readonly metadata: Pick<MetadataStore, 'users' | 'passwordResets'>;
  readonly passwords: Pick<Passwords, 'hash'>;
  readonly authenticator: Pick<Authenticator, 'sessionEnded' | 'keyEnded'>;
  readonly mailer: Mailer;
  readonly audit: Pick<AuditLog, 'record'>;
  /** Where the dashboard is, e.g. `https://stats.example`. Never taken from a request: its host may be forged. */
  readonly frontendUrl: string;
  readonly telemetry: Telemetry;
  /** Pauses before a mail is sent again that the server did not take, ms. */
  readonly retryMs?: readonly number[];
}

export interface ResetChange {
  readonly newPassword: string;
  /** Whether the account's API keys end, too. */
  readonly revokeApiKeys: boolean;
}

export interface PasswordResetService {
  /**
   * Mails a link to the account of an address, if there is one, behind the answer: neither it nor its time tells whether.
   * @throws AppError `invalid_parameter`, `overloaded`
   */
  ask(email: string): void;
  /**
   * Sets a new password with the token of a link; all sessions of the account end, its API keys only if wanted.
   * @param address of the client, for the audit log
   * @throws AppError `invalid_reset_token`, `invalid_parameter`, `overloaded`
   */
  reset(token: string, change: ResetChange, address: string): Promise<void>;
  /** Waits until what was asked for is done; mails are not sent again meanwhile. */
  close(): Promise<void>;
}

const TTL_MS = 3_600_000;
/** Links that one account gets in an hour. */
const PER_HOUR = 3;
const RETRY_MS = [2_000, 15_000];
/** 256 random bits as text. */
const TOKEN = /^[A-Za-z0-9_-]{43}$/;

export function createPasswordResetService(options: PasswordResetOptions): PasswordResetService {
  const { metadata, passwords, authenticator, mailer, audit, telemetry, retryMs = RETRY_MS } = options;
  const { users, passwordResets } = metadata;
  const { log, registry } = telemetry;
  const frontend = options.frontendUrl.replace(/\/+$/, '');
  const background = createBackground({ name: 'password_reset', concurrency: 3, maxWaiting: 500, registry });
  const asked = new Counter({
    name: 'seentics_password_resets_total',
    help: 'Requests for a new password by outcome: mailed, no_account, too_many, failed, no_mail_server; done: set by a link.',
    labelNames: ['outcome'],
    registers: [registry],
  });
  const stopping = new AbortController();
  let saidNoMail = false;

  const deliver = async (user: User, token: string): Promise<MailOutcome> => {
    const mail = { to: [user.email], key: randomUUID(), ...letter(frontend, token) };
    let result = await mailer.send(mail);
    for (const ms of retryMs) {
      if (result.outcome !== 'later' || stopping.signal.aborted) break;
      await pause(ms, undefined, { signal: stopping.signal }).catch(() => {});
      result = await mailer.send(mail);
    }
    return result;
  };

  const serve = async (email: string): Promise<string> => {
    const user = await users.findByEmail(email);
    if (user === null) return 'no_account';
    const token = randomBytes(32).toString('base64url');
    const tokenHash = hashOf(token);
    const reset = { userId: user.id, email: user.email, tokenHash, ttlMs: TTL_MS };
    if (!(await passwordResets.add(reset, PER_HOUR))) return 'too_many';
    const result = await deliver(user, token);
    if (result.outcome === 'sent') return 'mailed';
    // The server's words may repeat the address.
    const reason = result.reason.replaceAll(user.email, 'the recipient');
    log.warn(
      { userId: user.id, outcome: result.outcome, reason },
      'a link for a new password was not mailed',
    );
    // `unknown` may have arrived.
    if (result.outcome !== 'unknown') await passwordResets.remove(tokenHash);
    return 'failed';
  };

  return {
    ask(email) {
      const address = checkedEmail(email);
      if (!mailer.isConfigured) {
        asked.inc({ outcome: 'no_mail_server' });
        if (!saidNoMail)
          log.warn('a new password was asked for, but no mail can be sent: SMTP_HOST is not set');
        saidNoMail = true;
        return;
      }
      background.add(async () => {
        try {
          asked.inc({ outcome: await serve(address) });
        } catch (err) {
          asked.inc({ outcome: 'failed' });
          log.error({ err }, 'a request for a new password failed');
        }
      });
    },

    async reset(token, { newPassword, revokeApiKeys }, address) {
      checkPassword(newPassword);
      const tokenHash = TOKEN.test(token) ? hashOf(token) : null;
      // Before the costly hash; decided for good by the store.
      if (tokenHash === null || !(await passwordResets.isOpen(tokenHash))) throw invalidResetToken();
      const used = await passwordResets.use(tokenHash, await passwords.hash(newPassword), revokeApiKeys);
      if (used === null) throw invalidResetToken();
      asked.inc({ outcome: 'done' });
      audit.record({
        ...{ action: 'reset password', outcome: 'done', userId: used.userId, address },
        ...{ keyId: null, websiteId: null, targetId: null },
      });
      const { userId, ended } = used;
      await forgetAccess({ authenticator, audit }, ended, userId, address);
      const counts = { endedSessions: ended.sessions.length, revokedKeys: ended.keys.length };
      log.info({ userId, ...counts }, 'password reset');
    },

    async close() {
      stopping.abort();
      await background.drain();
    },
  };
}

/** One text for all: unknown, expired, used. */
const invalidResetToken = () => new AppError('invalid_reset_token', 'invalid or expired reset token');

const letter = (frontend: string, token: string) => ({
  subject: 'Set a new password',
  text: `Somebody asked for a new password for the account with this address at ${frontend}

Open this link within an hour to set one. It works once.

${frontend}/reset-password?token=${token}

If it was not you, nothing needs to be done: the password stays as it is.
`,
});
