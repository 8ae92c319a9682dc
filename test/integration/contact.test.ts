import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { composeContact } from '../../src/compose/contact.js';
import { createMailer, type Mailer } from '../../src/mail/mailer.js';
import { createMemoryCache } from '../../src/storage/cache/memory-cache.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshPostgres } from '../support/fresh.js';
import { freePort } from '../support/ports.js';
import { smtpSink } from '../support/smtp-sink.js';
import { type Node, signUp, startNode } from './accounts-node.js';

const SUPPORT = 'help@instance.example';
const FORMS = ['/api/contact', '/api/v1/user/support/contact'] as const;

let database: Awaited<ReturnType<typeof freshPostgres>>;
let sink: Awaited<ReturnType<typeof smtpSink>>;
const nodes: Node[] = [];
const mailers: Mailer[] = [];

beforeAll(async () => {
  [database, sink] = await Promise.all([freshPostgres(), smtpSink()]);
});
beforeEach(() => {
  sink.mails.length = 0;
});
afterAll(async () => {
  await Promise.all(nodes.map((node) => node.stop()));
  await Promise.all(mailers.map((mailer) => mailer.close()));
  await sink.close();
  await database.drop();
});

/** A node with a count of messages of its own. */
async function start(
  host: string | undefined,
  recipient: string | undefined,
  port = sink.port,
): Promise<Node> {
  const telemetry = silentTelemetry();
  const mailer = createMailer({
    ...{ host, port, secure: false, user: '', password: '', from: 'stats@instance.example', telemetry },
    timeoutMs: 500,
  });
  mailers.push(mailer);
  const cache = createMemoryCache({ telemetry });
  const node = await startNode({
    databaseUrl: database.url,
    cache,
    trust: ['loopback'],
    routes: () => composeContact({ SUPPORT_EMAIL: recipient }, mailer, cache, telemetry),
  });
  nodes.push(node);
  return node;
}

/** Headers by lower-case name, long ones joined, and the text. */
function read(raw: string) {
  const [head = '', ...rest] = raw.split('\r\n\r\n');
  const lines = head.replace(/\r\n[ \t]+/g, ' ').split('\r\n');
  const headers = lines.map((line) => [
    line.slice(0, line.indexOf(':')).toLowerCase(),
    line.replace(/^[^:]*: ?/, ''),
  ]);
  return {
    names: headers.map(([name]) => name),
    headers: Object.fromEntries(headers),
    text: rest.join('\r\n\r\n'),
  };
}
const onlyMail = () => {
  expect(sink.mails).toHaveLength(1);
  const [mail] = sink.mails;
  if (mail === undefined) throw new Error('no mail');
  return { ...mail, ...read(mail.raw) };
};

describe('contact forms', () => {
  it('reach the people who run the instance, who can answer', async () => {
    const node = await start('127.0.0.1', SUPPORT);
    const body = {
      ...{ name: 'Ann', email: 'ann@customer.example', message: 'It does not count.\nPlease help.' },
      websiteId: '65f1c0ffee5eaf00d15ea5e5',
    };
    const answer = await node.call('POST', '/api/contact', { body });
    expect([answer.status, answer.body]).toEqual([200, { success: true, message: 'Message sent' }]);
    const mail = onlyMail();
    expect(mail.to).toEqual([SUPPORT]);
    expect(mail.from).toBe('stats@instance.example');
    expect(mail.headers).toMatchObject({ to: SUPPORT, 'reply-to': 'ann@customer.example' });
    expect(mail.text).toBe(
      'From: Ann <ann@customer.example>\r\nWebsite: 65f1c0ffee5eaf00d15ea5e5\r\n\r\nIt does not count.\r\nPlease help.\r\n',
    );
  });

  it('know who is signed in', async () => {
    const node = await start('127.0.0.1', SUPPORT);
    const { token, id } = await signUp(node, 'owner@customer.example');
    const path = '/api/v1/user/support/contact';
    const sent = await node.call('POST', path, { token, body: { subject: 'Bill', message: 'Thanks' } });
    expect(sent.status).toBe(200);
    const mail = onlyMail();
    expect(mail.headers).toMatchObject({ subject: '[Contact] Bill', 'reply-to': 'owner@customer.example' });
    expect(mail.text).toContain(`Signed in as: ${id}`);
    const anonymous = await node.call('POST', path, { body: { subject: 'Bill', message: 'Thanks' } });
    expect([anonymous.status, anonymous.body.code]).toEqual([400, 'invalid_parameter']);
  });

  it('add no header and no recipient, whatever is typed', async () => {
    const node = await start('127.0.0.1', SUPPORT);
    const evil = 'x\r\nBcc: victim@example.com\r\n\r\nbody';
    const sent = await node.call('POST', '/api/v1/user/support/contact', {
      body: {
        subject: evil,
        message: `\r\n.\r\nRCPT TO:<victim@example.com>\r\n${evil}`,
        email: 'a@b.example',
      },
    });
    expect(sent.status).toBe(200);
    const named = await node.call('POST', '/api/contact', {
      body: { name: evil, websiteId: 'w\nSigned in as: admin', email: 'a@b.example', message: 'm' },
    });
    expect(named.status).toBe(200);
    expect(sink.mails.map(({ to }) => to)).toEqual([[SUPPORT], [SUPPORT]]);
    for (const { raw } of sink.mails) {
      const { names } = read(raw);
      expect(names).not.toContain('bcc');
      expect(names.filter((name) => name === 'to')).toHaveLength(1);
    }
    const { text } = read(sink.mails[1]?.raw ?? '');
    expect(text.split('\r\n').filter((line) => line.startsWith('Signed in as:'))).toEqual([]);
    expect(text).toContain('Website: w Signed in as: admin');
    for (const email of [
      'a@b.example, victim@example.com',
      'a@b.example\r\nBcc: victim@example.com',
      'Victim <victim@example.com>',
      'nobody',
      '',
    ]) {
      const answer = await node.call('POST', '/api/contact', { body: { email, message: 'm' } });
      expect(answer.status, email).toBe(400);
    }
    expect(sink.mails).toHaveLength(2);
    const empty = await node.call('POST', '/api/contact', { body: { email: 'a@b.example', message: ' ' } });
    expect(empty.status).toBe(400);
  });

  it('say that nobody reads them where that is so', async () => {
    for (const node of [await start(undefined, SUPPORT), await start('127.0.0.1', undefined)]) {
      for (const path of FORMS) {
        const body = { subject: 's', email: 'a@b.example', message: 'm' };
        const answer = await node.call('POST', path, { body });
        expect([answer.status, answer.body.code]).toEqual([409, 'mail_not_configured']);
        expect(answer.body.error).toBe(answer.body.message);
      }
    }
  });

  it('say that the mail server did not take it, and nothing else about it', async () => {
    const node = await start('127.0.0.1', SUPPORT, await freePort());
    const body = { email: 'a@b.example', message: 'm' };
    const answer = await node.call('POST', '/api/contact', { body });
    expect([answer.status, answer.body.code]).toEqual([503, 'mail_failed']);
    expect(answer.headers.get('retry-after')).toBe('60');
    expect(JSON.stringify(answer.body)).not.toMatch(/127\.0\.0\.1|ECONN/);
  });

  it('take five messages of one address in ten minutes', async () => {
    const node = await start('127.0.0.1', SUPPORT);
    const statuses: number[] = [];
    for (let i = 0; i < 6; i++) {
      const body = { email: 'a@b.example', message: `no ${i}` };
      statuses.push((await node.call('POST', FORMS[i % 2] ?? FORMS[0], { body })).status);
    }
    expect(statuses).toEqual([200, 200, 200, 200, 200, 429]);
    expect(sink.mails).toHaveLength(5);
  });

  it('take twenty of one network in an hour, so that it leaves room for others', async () => {
    const node = await start('127.0.0.1', SUPPORT);
    const send = async (from: string, n: number) => {
      const body = { email: 'a@b.example', message: `no ${n}` };
      return (await node.call('POST', FORMS[0], { body, headers: { 'x-forwarded-for': from } })).status;
    };
    const own = (n: number) => send(`2001:db8:1:${n}::1`, n);
    for (let n = 0; n < 20; n++) expect(await own(n)).toBe(200);
    expect(await own(20)).toBe(429);
    expect(await send('2001:db8:2::1', 21)).toBe(200);
  });
});
