/** Mail by SMTP: the one place that knows the mail library. Automations and password resets send through it. */
import { createTransport } from 'nodemailer';
import { Counter, type Registry } from 'prom-client';
import type { Telemetry } from '../telemetry.js';

export interface MailerOptions {
  /** Server; '' or undefined: no mail can be sent. */
  readonly host: string | undefined;
  readonly port: number;
  /** TLS from the first byte (port 465). Otherwise STARTTLS where the server offers it. */
  readonly secure: boolean;
  /** '' = without login. */
  readonly user: string;
  readonly password: string;
  /** Sender, `name@example.com` or `Name <name@example.com>`; '' = `seentics@<host>`. */
  readonly from: string;
  readonly telemetry: Telemetry;
  /** Longest time for each stage of a delivery (connect, greeting, silence), ms. Default 10,000. */
  readonly timeoutMs?: number;
}

export interface Mail {
  /** One to ten addresses without display names. */
  readonly to: readonly string[];
  /** Where an answer goes, one plain address; default: to the sender. */
  readonly replyTo?: string;
  /** Line breaks become spaces. */
  readonly subject: string;
  /** Plain text: what visitors send can be in it and must never become markup. */
  readonly text: string;
  /** The same key again gives the same Message-ID, by which mailboxes recognise copies. */
  readonly key: string;
}

/**
 * `sent`: the server took it. `refused`: it never will. `later`: it did not take it now, and sending again is safe. `unknown`: the
 * connection was lost when it may have taken it, so sending again may deliver it twice. `reason` is safe to show to the site's owner.
 */
export type MailOutcome =
  | { readonly outcome: 'sent' }
  | { readonly outcome: 'refused' | 'later' | 'unknown'; readonly reason: string };

export interface Mailer {
  /** Whether a server is configured; without one everything is refused with a reason that says so. */
  readonly isConfigured: boolean;
  /** Never rejects. */
  send(mail: Mail): Promise<MailOutcome>;
  close(): Promise<void>;
}

export const MAX_RECIPIENTS = 10;
const MAX_SUBJECT = 500;

/** Creates the mailer; connects at the first mail. */
export function createMailer(options: MailerOptions): Mailer {
  const counter = counterOf(options.telemetry.registry);
  const { host } = options;
  if (host === undefined || host === '') {
    return {
      isConfigured: false,
      async send() {
        counter.inc({ outcome: 'refused' });
        return { outcome: 'refused', reason: 'no mail server is configured (SMTP_HOST)' };
      },
      async close() {},
    };
  }
  const timeoutMs = options.timeoutMs ?? 10_000;
  const transport = createTransport({
    host,
    port: options.port,
    secure: options.secure,
    ...(options.user === '' ? {} : { auth: { user: options.user, pass: options.password } }),
    pool: true,
    maxConnections: 3,
    connectionTimeout: timeoutMs,
    greetingTimeout: timeoutMs,
    socketTimeout: timeoutMs,
    dnsTimeout: timeoutMs,
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  const deliver = async (mail: Mail): Promise<MailOutcome> => {
    const problem = problemOf(mail);
    if (problem !== undefined) return { outcome: 'refused', reason: problem };
    try {
      await transport.sendMail({
        from: options.from === '' ? `seentics@${host}` : options.from,
        // As objects: a text would be parsed as a list that may name further recipients.
        to: mail.to.map((address) => ({ name: '', address })),
        ...(mail.replyTo === undefined ? {} : { replyTo: { name: '', address: mail.replyTo } }),
        subject: oneLine(mail.subject).slice(0, MAX_SUBJECT),
        text: mail.text,
        messageId: `<${mail.key.replace(/[^\w.-]/g, '')}@seentics.${host}>`,
        headers: { 'Auto-Submitted': 'auto-generated' },
      });
      return { outcome: 'sent' };
    } catch (error) {
      return outcomeOf(error);
    }
  };
  return {
    isConfigured: true,
    async send(mail) {
      const result = await deliver(mail);
      counter.inc({ outcome: result.outcome });
      return result;
    },
    async close() {
      transport.close();
    },
  };
}

/** Whether a text is one plain mail address: no display name, no list, nothing that could start another header. */
export function isMailAddress(text: string): boolean {
  if (text.length > 254 || /[\s\p{Cc}<>()[\]\\,;:"]/u.test(text)) return false;
  const at = text.lastIndexOf('@');
  const domain = text.slice(at + 1);
  return (
    at > 0 && at <= 64 && text.indexOf('@') === at && domain.length > 0 && !/^[.-]|\.\.|[.-]$/.test(domain)
  );
}

function problemOf({ to, replyTo }: Mail): string | undefined {
  if (replyTo !== undefined && !isMailAddress(replyTo)) return 'the address for answers is no mail address';
  if (to.length === 0) return 'the mail has no recipient';
  if (to.length > MAX_RECIPIENTS) return `the mail has more than ${MAX_RECIPIENTS} recipients`;
  return to.every(isMailAddress) ? undefined : 'a recipient is not a mail address';
}

function oneLine(text: string): string {
  return text.replace(/\p{Cc}+/gu, ' ').trim();
}

/** Failures before the server can have seen any of the message. */
const BEFORE_MESSAGE = new Set(['EDNS', 'ETLS', 'EAUTH', 'ENOAUTH', 'EPROXY']);
const UNREACHABLE = /^E(CONNREFUSED|HOSTUNREACH|NETUNREACH|NOTFOUND|AI_AGAIN)$/;

function outcomeOf(error: unknown): MailOutcome {
  const reason = `mail server: ${error instanceof Error ? oneLine(error.message).slice(0, 300) : 'failed'}`;
  if (field(error, 'responseCode') !== undefined)
    return { outcome: field(error, 'permanent') === true ? 'refused' : 'later', reason };
  const code = String(field(error, 'code') ?? '');
  if (code === 'EENVELOPE' || code === 'EMESSAGE' || code === 'ECONFIG')
    return { outcome: 'refused', reason };
  const timeout = field(error, 'timeoutType');
  const isBefore =
    BEFORE_MESSAGE.has(code) ||
    (timeout !== undefined && timeout !== 'SOCKET_TIMEOUT') ||
    UNREACHABLE.test(code) ||
    UNREACHABLE.test(String(field(error, 'originalCode') ?? ''));
  return { outcome: isBefore ? 'later' : 'unknown', reason };
}

function field(error: unknown, name: string): unknown {
  return typeof error === 'object' && error !== null && name in error ? Reflect.get(error, name) : undefined;
}

const counters = new WeakMap<Registry, Counter<'outcome'>>();

function counterOf(registry: Registry): Counter<'outcome'> {
  const known = counters.get(registry);
  if (known) return known;
  const counter = new Counter({
    name: 'seentics_mails_total',
    help: 'Mails by what became of them: sent, refused, later, unknown.',
    labelNames: ['outcome'],
    registers: [registry],
  });
  counters.set(registry, counter);
  return counter;
}
