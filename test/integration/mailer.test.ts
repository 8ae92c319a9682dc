import { afterEach, describe, expect, it } from 'vitest';
import { createMailer, isMailAddress, type MailerOptions } from '../../src/mail/mailer.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freePort } from '../support/ports.js';
import { type SmtpSinkOptions, smtpSink } from '../support/smtp-sink.js';

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function sink(options: SmtpSinkOptions = {}) {
  const opened = await smtpSink(options);
  closing.push(opened.close);
  return opened;
}

function mailer(port: number, changes: Partial<MailerOptions> = {}) {
  const opened = createMailer({
    ...{ host: '127.0.0.1', port, secure: false, user: '', password: '' },
    ...{ from: 'Shop <shop@shop.example>', telemetry: silentTelemetry(), timeoutMs: 500, ...changes },
  });
  closing.push(opened.close);
  return opened;
}

const mail = { to: ['ann@customer.example'], subject: 'Hello', text: 'Good day,\nAnn', key: 'key-1' };

describe('mailer', () => {
  it('delivers a plain text mail to a real SMTP server', async () => {
    const { port, mails } = await sink();
    expect(
      await mailer(port).send({ ...mail, to: ['ann@customer.example', 'bob@customer.example'] }),
    ).toEqual({
      outcome: 'sent',
    });
    expect(mails).toHaveLength(1);
    expect(mails[0]).toMatchObject({
      from: 'shop@shop.example',
      to: ['ann@customer.example', 'bob@customer.example'],
    });
    expect(mails[0]?.raw).toMatch(/^Subject: Hello\r?$/m);
    expect(mails[0]?.raw).toMatch(/^Message-ID: <key-1@seentics\.127\.0\.0\.1>\r?$/m);
    expect(mails[0]?.raw).toMatch(/^Content-Type: text\/plain/m);
  });

  it('logs in where a user is configured, and says when that fails', async () => {
    const { port, mails } = await sink({ login: { user: 'shop', password: 'secret word' } });
    const right = mailer(port, { user: 'shop', password: 'secret word' });
    const wrong = mailer(port, { user: 'shop', password: 'wrong' });
    expect(await right.send(mail)).toEqual({ outcome: 'sent' });
    expect(await wrong.send(mail)).toMatchObject({ outcome: 'refused', reason: /login/i });
    expect(mails).toHaveLength(1);
  });

  it('lets nothing in a mail become another header or recipient', async () => {
    const { port, mails } = await sink();
    const subject = 'Hi\r\nBcc: thief@evil.example\r\n\r\nbody';
    expect(await mailer(port).send({ ...mail, subject })).toEqual({ outcome: 'sent' });
    expect(mails[0]?.to).toEqual(['ann@customer.example']);
    expect(mails[0]?.raw).not.toMatch(/^Bcc:/m);
    for (const to of [
      'a@b.example, thief@evil.example',
      'a@b.example\r\nBcc: x@y.example',
      'Ann <a@b.example>',
    ])
      expect(await mailer(port).send({ ...mail, to: [to] })).toMatchObject({ outcome: 'refused' });
    expect(mails).toHaveLength(1);
  });

  it('tells what can be sent again from what cannot and from what may have arrived', async () => {
    const codes = new Map([
      ['full@customer.example', 452],
      ['gone@customer.example', 550],
    ]);
    const { port } = await sink({ refuse: (address) => codes.get(address) });
    const cutting = await sink({ cutAfterMessage: true });
    const send = (at: number, to: string) => mailer(at).send({ ...mail, to: [to] });
    expect(await send(port, 'full@customer.example')).toMatchObject({ outcome: 'later' });
    expect(await send(port, 'gone@customer.example')).toMatchObject({ outcome: 'refused' });
    expect(await send(await freePort(), 'ann@customer.example')).toMatchObject({ outcome: 'later' });
    expect(await send(cutting.port, 'ann@customer.example')).toMatchObject({ outcome: 'unknown' });
  });

  it('refuses with a clear reason when no server is configured', async () => {
    const none = mailer(0, { host: undefined });
    expect(none.isConfigured).toBe(false);
    expect(await none.send(mail)).toEqual({
      outcome: 'refused',
      reason: 'no mail server is configured (SMTP_HOST)',
    });
  });
});

describe('isMailAddress', () => {
  it.each(['a@b.example', 'first.last+tag@sub.host.example', "o'neil@x.example", 'ü@bücher.example'])(
    'takes %j',
    (text) => expect(isMailAddress(text)).toBe(true),
  );
  it.each([
    '',
    'a',
    '@b',
    'a@',
    'a@@b.example',
    'a b@c.example',
    'a@b..c',
    'a@-b',
    'a@b,c',
    '"a"@b.example',
    'a@b\n',
  ])('refuses %j', (text) => expect(isMailAddress(text)).toBe(false));
});
