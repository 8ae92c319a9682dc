import { createHash } from 'node:crypto';
import { networkOf } from '../audit/network.js';
import { checkedEmail } from '../auth/credentials.js';
import { AppError } from '../errors.js';
import { isMailAddress, type Mailer } from '../mail/mailer.js';
import type { Client } from '../net/client.js';
import type { Cache } from '../storage/cache/cache.js';
import type { Telemetry } from '../telemetry.js';

export interface ContactMessage {
  /** Address to answer to. */
  readonly email: string;
  readonly name?: string | undefined;
  readonly subject?: string | undefined;
  readonly message: string;
  /** What it is about, as the sender says. */
  readonly websiteId?: string | undefined;
  /** The account that sends it, if it is signed in. */
  readonly userId?: string | undefined;
}

export interface ContactServiceOptions {
  readonly mailer: Mailer;
  /** Who reads the messages; undefined: nobody. */
  readonly recipient: string | undefined;
  readonly cache: Pick<Cache, 'increment'>;
  readonly telemetry: Telemetry;
}

/** Messages to the people who run this instance. */
export interface ContactService {
  /**
   * Mails a message. It has been taken by the mail server when the call returns.
   * @param visitor whose messages are counted together; only hashes of it are kept
   * @throws AppError `mail_not_configured`, `invalid_parameter`, `rate_limited`, `mail_failed`
   */
  send(message: ContactMessage, visitor: Client): Promise<void>;
}

const LIMITS = {
  visitor: { max: 5, windowMs: 10 * 60_000 },
  /** Of a /24, or a /48 in IPv6: one place alone does not use up what everybody has. */
  network: { max: 20, windowMs: 60 * 60_000 },
  /** Of everybody: the mailbox stays usable, whoever sends from however many places. */
  all: { max: 100, windowMs: 60 * 60_000 },
} as const;

export function createContactService(options: ContactServiceOptions): ContactService {
  const { mailer, recipient, cache } = options;
  const { log } = options.telemetry;

  const count = async (subject: string, { max, windowMs }: { max: number; windowMs: number }) => {
    let sent: number;
    try {
      sent = await cache.increment(`contact:${digest(subject)}`, 1, windowMs);
    } catch (err) {
      // As with sign-ins: a cache that is away must not close the door.
      log.warn({ err }, 'contact messages are not counted');
      return;
    }
    if (sent > max) {
      throw new AppError('rate_limited', 'Too many messages. Please try again later.', {
        retryAfterSeconds: windowMs / 1_000,
      });
    }
  };

  return {
    async send(message, visitor) {
      if (!mailer.isConfigured || recipient === undefined) {
        throw new AppError('mail_not_configured', 'This instance has no mail address for messages');
      }
      const replyTo = checkedEmail(message.email);
      if (!isMailAddress(replyTo)) throw new AppError('invalid_parameter', 'email must be an e-mail address');
      if (message.message.trim() === '') throw new AppError('invalid_parameter', 'message must not be empty');
      await count(visitor.group, LIMITS.visitor);
      await count(`network ${networkOf(visitor.address)}`, LIMITS.network);
      await count('all', LIMITS.all);
      const text = textOf(message, replyTo);
      const result = await mailer.send({
        to: [recipient],
        replyTo,
        subject: `[Contact] ${message.subject?.trim() || 'Message'}`,
        text,
        // The same message sent again, after an answer that got lost, is recognised as a copy.
        key: `contact-${digest(text)}`,
      });
      if (result.outcome === 'sent') return;
      log.error({ outcome: result.outcome, reason: result.reason }, 'a contact message could not be mailed');
      throw new AppError('mail_failed', 'The message could not be sent. Please try again later.');
    },
  };
}

function textOf({ name, websiteId, userId, message }: ContactMessage, email: string): string {
  const lines = [
    `From: ${name === undefined || name.trim() === '' ? email : `${oneLine(name)} <${email}>`}`,
    ...(userId === undefined ? [] : [`Signed in as: ${userId}`]),
    ...(websiteId === undefined || websiteId === '' ? [] : [`Website: ${oneLine(websiteId)}`]),
  ];
  return `${lines.join('\n')}\n\n${message.replaceAll('\r\n', '\n').trim()}\n`;
}

/** What stands in a line of its own cannot pretend to be another one. */
const oneLine = (text: string): string => text.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ').trim();

const digest = (text: string): string => createHash('sha256').update(text).digest('base64url');
