import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AuditFact } from '../../src/audit/audit-log.js';
import { createPasswordResetService } from '../../src/auth/password-reset-service.js';
import { passwordResetRoutes } from '../../src/edge/routes/password-reset.js';
import { createMailer, type Mailer } from '../../src/mail/mailer.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshPostgres } from '../support/fresh.js';
import { type Logged, loggedTelemetry } from '../support/logged.js';
import { smtpSink } from '../support/smtp-sink.js';
import { until } from '../support/wait.js';
import { type Node, signUp, startNode } from './accounts-node.js';

const PASSWORD = 'correct horse';
const NEXT = 'battery staple';
const SENT = { message: "If an account exists with that email, we've sent a password reset link." };
const FRONTEND = 'https://stats.example';

let database: Awaited<ReturnType<typeof freshPostgres>>;
let sink: Awaited<ReturnType<typeof smtpSink>>;
let client: pg.Client;
let logged: Logged;
let node: Node;
let mute: Node;
let silent: Mailer;
const audited: AuditFact[] = [];
let refuse = (_address: string): number | undefined => undefined;
/** Ends what runs behind the answers of a node. */
const settle = new Map<Node, () => Promise<void>>();

beforeAll(async () => {
  database = await freshPostgres();
  sink = await smtpSink({ refuse: (address) => refuse(address) });
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
  logged = loggedTelemetry();
  const mail = { port: sink.port, secure: false, user: '', password: '', from: 'Stats <stats@example.com>' };
  const mailer = createMailer({ ...mail, host: '127.0.0.1', telemetry: silentTelemetry() });
  silent = createMailer({ ...mail, host: '', telemetry: silentTelemetry() });
  node = await withResets(mailer);
  mute = await withResets(silent);
});
afterAll(async () => {
  for (const it of [node, mute]) {
    await settle.get(it)?.();
    await it?.stop();
  }
  await client.end();
  await sink.close();
  await database.drop();
});

async function withResets(mailer: Mailer): Promise<Node> {
  let close = async () => {};
  const started = await startNode({
    databaseUrl: database.url,
    refreshGraceMs: 0,
    routes: ({ metadata, passwords, authenticator }) => {
      const service = createPasswordResetService({
        ...{ metadata, passwords, authenticator, mailer, telemetry: logged.telemetry() },
        audit: { record: (fact) => void audited.push(fact) },
        frontendUrl: `${FRONTEND}/`,
        retryMs: [10, 10],
      });
      close = async () => {
        await service.close();
        await mailer.close();
      };
      return passwordResetRoutes(service);
    },
  });
  settle.set(started, close);
  return started;
}

const post = (path: string, body: object, headers = {}) =>
  node.call('POST', `/api/v1/auth/${path}`, { body, headers });
const forgot = (email: string, headers = {}) => post('forgot-password', { email }, headers);
const reset = (token: string, newPassword = NEXT) => post('reset-password', { token, newPassword });
const login = (email: string, password: string) => post('login', { email, password });
const me = (token: string) => node.call('GET', '/api/v1/user/auth/me', { token });
const mailsTo = (email: string) => sink.mails.filter(({ to }) => to.includes(email));

/** The text of a mail, its soft line breaks and escapes undone. */
const textOf = (raw: string) =>
  raw
    .replace(/=\r\n/g, '')
    .replace(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));

/** Asks for a link and takes it out of the mail. */
async function linkFor(email: string, headers = {}): Promise<string> {
  const known = mailsTo(email).length;
  const answer = await forgot(email, headers);
  expect([answer.status, answer.body]).toEqual([200, SENT]);
  const mail = await until(() => mailsTo(email)[known], { what: `a mail to ${email}` });
  const link = /https?:\/\/\S+\/reset-password\?token=\S+/.exec(textOf(mail.raw))?.[0];
  if (link === undefined) throw new Error(mail.raw);
  return link;
}

async function tokenFor(email: string): Promise<string> {
  return new URL(await linkFor(email)).searchParams.get('token') ?? '';
}

const BAD = { status: 400, body: { code: 'invalid_reset_token', message: 'invalid or expired reset token' } };

describe('a forgotten password', () => {
  it('is set anew by a mailed link, and all sessions of the account end', async () => {
    const email = 'Forgot@example.com';
    const { token: access, id } = await signUp(node, email);
    const bystander = await signUp(node, 'bystander@example.com');
    expect((await me(access)).status).toBe(200);
    const { refresh_token } = (await login(email, PASSWORD)).body.data.tokens;
    const before = audited.length;
    const answer = await reset(await tokenFor('Forgot@example.com'));
    expect([answer.status, answer.body]).toEqual([200, { message: 'Password has been reset successfully' }]);
    expect(audited.slice(before)).toMatchObject([
      { action: 'reset password', outcome: 'done', userId: id, address: '127.0.0.1' },
    ]);
    expect((await me(access)).status).toBe(401);
    expect((await post('refresh', { refresh_token })).status).toBe(401);
    expect((await me(bystander.token)).status).toBe(200);
    expect((await login(email, PASSWORD)).status).toBe(400);
    expect((await login(email, NEXT)).status).toBe(200);
  });

  it('ends API keys when that is asked for, and not otherwise', async () => {
    const email = 'keys@example.com';
    const { token, id } = await signUp(node, email);
    const asked = { name: 'one', scopes: ['read'] };
    const { key } = (await node.call('POST', '/api/v1/user/api-keys', { token, body: asked })).body.data;
    const works = async () => (await node.call('GET', '/api/v1/user/websites', { token: key })).status;
    expect((await reset(await tokenFor(email))).status).toBe(200);
    expect(await works()).toBe(200);
    const before = audited.length;
    const again = { token: await tokenFor(email), newPassword: NEXT, revokeApiKeys: true };
    expect((await post('reset-password', again)).status).toBe(200);
    expect(await works()).toBe(401);
    expect(audited.slice(before)).toMatchObject([
      { action: 'reset password', userId: id },
      { action: 'revoke API keys', userId: id, outcome: 'done', address: '127.0.0.1' },
    ]);
  });

  it('goes to the address of the account, in the spelling that it has there, and links to the configured dashboard', async () => {
    await signUp(node, 'Spelled@Example.com');
    await forgot(' spelled@example.COM ', {
      'x-forwarded-host': 'evil.example',
      origin: 'https://evil.example',
    });
    // Only the part before the @ can tell cases apart.
    const mail = await until(() => mailsTo('Spelled@example.com')[0], { what: 'the mail' });
    const text = textOf(mail.raw);
    expect(text).toMatch(/^https:\/\/stats\.example\/reset-password\?token=[A-Za-z0-9_-]{43}\r?$/m);
    expect(text).not.toContain('evil.example');
  });

  it('is answered alike whether there is an account or not, and refuses only what is no address', async () => {
    await signUp(node, 'known@example.com');
    const [known, unknown] = [await forgot('known@example.com'), await forgot('unknown@example.com')];
    const { date: _, ...headers } = Object.fromEntries(known.headers);
    const { date: __, ...others } = Object.fromEntries(unknown.headers);
    expect([known.status, known.body, headers]).toEqual([unknown.status, unknown.body, others]);
    expect((await forgot('no address')).status).toBe(400);
    expect((await post('forgot-password', {})).status).toBe(400);
    await until(() => mailsTo('known@example.com').length === 1, { what: 'the one mail' });
    expect(mailsTo('unknown@example.com')).toHaveLength(0);
  });

  it('does not wait for account, database or mail', async () => {
    await signUp(node, 'waited@example.com');
    // Nobody gets to the accounts while this is held.
    await client.query('BEGIN');
    await client.query('LOCK TABLE users IN ACCESS EXCLUSIVE MODE');
    try {
      for (const email of ['waited@example.com', 'nobody-waits@example.com'])
        expect((await forgot(email)).status).toBe(200);
      expect(mailsTo('waited@example.com')).toHaveLength(0);
    } finally {
      await client.query('ROLLBACK');
    }
    await until(() => mailsTo('waited@example.com').length === 1, { what: 'the mail' });
  });

  it('sends an account no more than three links an hour, also when asked at once', async () => {
    const email = 'flooded@example.com';
    await signUp(node, email);
    const answers = await Promise.all(Array.from({ length: 8 }, () => forgot(email)));
    expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(200));
    await until(() => mailsTo(email).length >= 3, { what: 'three mails' });
    // All that were asked before it are done when this one is.
    await linkFor('Forgot@example.com');
    expect(mailsTo(email)).toHaveLength(3);
    await client.query(
      "UPDATE password_resets SET created_at = created_at - interval '1 hour' WHERE user_id = (SELECT id FROM users WHERE email = $1)",
      [email],
    );
    expect(await tokenFor(email)).toHaveLength(43);
  });

  it('counts no link that the mail server did not take, and tries a busy one again', async () => {
    const email = 'bounced@example.com';
    await signUp(node, email);
    const busy = [452, 452];
    refuse = (address) => (address === email ? busy.shift() : undefined);
    expect(await tokenFor(email)).toHaveLength(43);
    refuse = (address) => (address === email ? 550 : undefined);
    const failures = () => logged.lines.filter((line) => line.includes('was not mailed'));
    for (let asked = 1; asked <= 3; asked++) {
      await forgot(email);
      await until(() => failures().length === asked, { what: 'a refusal' });
    }
    refuse = () => undefined;
    expect(await tokenFor(email)).toHaveLength(43);
    expect(failures().join('\n')).toContain('550');
  });
});

describe('a link', () => {
  it('works once, also when used twice at once, and takes the other links of the account with it', async () => {
    const email = 'once@example.com';
    await signUp(node, email);
    const [first, second] = [await tokenFor(email), await tokenFor(email)];
    const answers = await Promise.all([reset(first), reset(second, 'another one'), reset(first)]);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 400, 400]);
    for (const token of [first, second]) expect(await reset(token)).toMatchObject(BAD);
  });

  it('is refused with one text when unknown, expired or malformed', async () => {
    const email = 'expired@example.com';
    await signUp(node, email);
    const token = await tokenFor(email);
    const { rows } = await client.query(
      `SELECT extract(epoch FROM r.expires_at - r.created_at)::int AS seconds
       FROM password_resets r JOIN users u ON u.id = r.user_id WHERE u.email = $1`,
      [email],
    );
    expect(rows).toEqual([{ seconds: 3600 }]);
    await client.query("UPDATE password_resets SET expires_at = now() - interval '1 second'");
    for (const bad of [token, 'x', 'A'.repeat(43), `${token.slice(0, -1)}\u00e9`, token.repeat(5)])
      expect(await reset(bad), bad).toMatchObject(BAD);
    expect((await login(email, PASSWORD)).status).toBe(200);
  });

  it('keeps the rules of passwords', async () => {
    const email = 'rules@example.com';
    await signUp(node, email);
    const token = await tokenFor(email);
    expect((await reset(token, 'short67')).status).toBe(400);
    expect((await reset(token, 'x'.repeat(257))).status).toBe(400);
    expect((await reset(token)).status).toBe(200);
  });

  it('dies with a change of the password and with a change of the address', async () => {
    const email = 'changes@example.com';
    const { token: access } = await signUp(node, email);
    const put = (path: string, body: object) =>
      node.call('PUT', `/api/v1/user/users/${path}`, { token: access, body });
    const byPassword = await tokenFor(email);
    const change = { currentPassword: PASSWORD, newPassword: NEXT };
    expect((await put('change-password', change)).status).toBe(200);
    expect(await reset(byPassword, 'thief word')).toMatchObject(BAD);
    const kept = await tokenFor(email);
    expect((await put('profile', { name: 'Renamed', email })).status).toBe(200);
    expect((await put('profile', { name: 'Renamed', email: 'changed@example.com' })).status).toBe(200);
    expect(await reset(kept, 'thief word')).toMatchObject(BAD);
    expect((await login('changed@example.com', NEXT)).status).toBe(200);
  });

  it('is kept as a hash and logged nowhere, no more than passwords and addresses', async () => {
    const email = 'secret@example.com';
    await signUp(node, email);
    const token = await tokenFor(email);
    await reset(token, 'a secret password');
    const { rows } = await client.query('SELECT password_resets::text AS row FROM password_resets');
    expect(rows.length).toBeGreaterThan(0);
    expect(rows.map(({ row }) => row).join('\n')).not.toContain(token);
    expect(logged.lines.some((line) => line.includes('password reset'))).toBe(true);
    for (const secret of [token, 'a secret password', '@example.com'])
      expect(logged.lines.join('\n')).not.toContain(secret);
  });

  it('sets a password for an account that has none', async () => {
    const email = 'synced@example.com';
    await client.query("INSERT INTO users (name, email) VALUES ('Synced', $1)", [email]);
    expect((await reset(await tokenFor(email))).status).toBe(200);
    expect((await login(email, NEXT)).status).toBe(200);
  });
});

describe('without a mail server', () => {
  it('the answer is the same, and one line says that no mail can be sent', async () => {
    await signUp(mute, 'mute@example.com');
    const before = logged.lines.length;
    for (const email of ['mute@example.com', 'nobody-mute@example.com', 'mute@example.com']) {
      const answer = await mute.call('POST', '/api/v1/auth/forgot-password', { body: { email } });
      expect([answer.status, answer.body]).toEqual([200, SENT]);
    }
    const said = logged.lines.slice(before).filter((line) => line.includes('no mail can be sent'));
    expect(said).toHaveLength(1);
  });
});

describe('a sign-in with the old password', () => {
  const someoneWaits = () =>
    until(
      async () => {
        const { rowCount } = await client.query(
          "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        );
        return rowCount !== 0;
      },
      { what: 'somebody waiting for the account', everyMs: 10 },
    );

  it('opens no session once the password is another one, however late', async () => {
    const email = 'race@example.com';
    const { id } = await signUp(node, email);
    const proved = await node.metadata.users.findById(id);
    if (!proved) throw new Error('no account');
    const change = (next: string) =>
      node.metadata.users.changePassword(id, {
        ...{ previous: proved.passwordHash ?? '', next, keepSession: null, revokeKeys: false },
      });
    const open = (sessionId: string) =>
      node.metadata.sessions.open(
        {
          ...{ id: sessionId, userId: id, passwordVersion: proved.passwordVersion },
          ...{ tokenHash: Buffer.from(sessionId), expiresAt: new Date(Date.now() + 60_000) },
        },
        50,
      );
    // A change that holds the account while the session is opened.
    await client.query('BEGIN');
    await client.query('UPDATE users SET password_version = password_version + 1 WHERE id = $1', [id]);
    const opening = open('00000000-0000-4000-8000-000000000001');
    await someoneWaits();
    await client.query('COMMIT');
    expect(await opening).toBe(false);
    // A session that is opened while the change waits for it.
    await client.query('UPDATE users SET password_version = password_version - 1 WHERE id = $1', [id]);
    await client.query('BEGIN');
    await client.query('SELECT id FROM users WHERE id = $1 FOR SHARE', [id]);
    const changing = change('$argon2id$other');
    await someoneWaits();
    await client.query(
      "INSERT INTO auth_sessions (id, user_id, expires_at) VALUES ('00000000-0000-4000-8000-000000000002', $1, now() + interval '1 hour')",
      [id],
    );
    await client.query('COMMIT');
    expect((await changing)?.sessions).toContain('00000000-0000-4000-8000-000000000002');
    expect(await open('00000000-0000-4000-8000-000000000003')).toBe(false);
  });
});
