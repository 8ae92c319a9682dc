import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createMailer } from '../../src/mail/mailer.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshPostgres } from '../support/fresh.js';
import { smtpSink } from '../support/smtp-sink.js';
import { until } from '../support/wait.js';
import { type Node, signUp, startNode } from './accounts-node.js';

const PASSWORD = 'correct horse';
const NEXT = 'battery staple';

let database: Awaited<ReturnType<typeof freshPostgres>>;
let node: Node;
let client: pg.Client;
let sink: Awaited<ReturnType<typeof smtpSink>>;
beforeAll(async () => {
  database = await freshPostgres();
  sink = await smtpSink();
  const mailer = createMailer({
    ...{
      host: '127.0.0.1',
      port: sink.port,
      secure: false,
      user: '',
      password: '',
      from: 'stats@example.com',
    },
    telemetry: silentTelemetry(),
  });
  node = await startNode({ databaseUrl: database.url, maxAttempts: 3, refreshGraceMs: 0, mailer });
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
});
afterAll(async () => {
  await client.end();
  await node.stop();
  await sink.close();
  await database.drop();
});

const login = (email: string, password: string) =>
  node.call('POST', '/api/v1/user/auth/login', { body: { email, password } });
const session = async (email: string, password = PASSWORD) => (await login(email, password)).body.data.tokens;
const me = (token: string) => node.call('GET', '/api/v1/user/auth/me', { token });
const put = (path: string, token: string | undefined, body: object) =>
  node.call('PUT', `/api/v1/user/users/${path}`, { body, ...(token === undefined ? {} : { token }) });
const change = (token: string | undefined, currentPassword: string, newPassword: string) =>
  put('change-password', token, { currentPassword, newPassword });
const refresh = (refresh_token: string) =>
  node.call('POST', '/api/v1/auth/refresh', { body: { refresh_token } });

describe('the profile', () => {
  it('changes name and e-mail address, which then signs in', async () => {
    const { token, id } = await signUp(node, 'old@example.com');
    const answer = await put('profile', token, { name: ' Ann ', email: ' New@Example.com ' });
    expect([answer.status, answer.body]).toEqual([
      200,
      {
        success: true,
        message: 'Profile updated successfully',
        data: { user: expect.objectContaining({ id, name: 'Ann', email: 'New@Example.com' }) },
      },
    ]);
    expect((await me(token)).body.data.user).toEqual(answer.body.data.user);
    expect((await login('new@example.com', PASSWORD)).status).toBe(200);
    expect((await login('old@example.com', PASSWORD)).status).toBe(400);
    // The same address in another case is the account's own.
    expect((await put('profile', token, { name: 'Ann', email: 'new@example.com' })).status).toBe(200);
  });

  it('tells the former address of the new one, and nobody of a new name', async () => {
    const { token } = await signUp(node, 'before@example.com');
    const become = async (name: string, email: string) =>
      (await put('profile', token, { name, email })).status;
    expect(await become('Bee', 'Before@example.com')).toBe(200);
    expect(await become('Bee', 'after@example.com')).toBe(200);
    const told = () => sink.mails.filter(({ to }) => /before@|after@/i.test(to.join()));
    await until(async () => told().length > 0, { what: 'the mail' });
    expect(told().map(({ to }) => to)).toEqual([['Before@example.com']]);
    expect(told()[0]?.raw).toContain('https://dashboard.example');
    expect(told()[0]?.raw).not.toContain('after@example.com');
    // Each is a mail to somebody: nobody gets them without end.
    expect(await become('Bee', 'before@example.com')).toBe(200);
    expect(await become('Bee', 'after@example.com')).toBe(200);
    expect(await become('Bee', 'before@example.com')).toBe(429);
    expect(await become('Cee', 'after@example.com')).toBe(200);
  });

  it('never takes the address of another account, in any case, also when two want it at once', async () => {
    await signUp(node, 'taken@example.com');
    const one = await signUp(node, 'one@example.com');
    const two = await signUp(node, 'two@example.com');
    expect(await put('profile', one.token, { name: 'One', email: 'TAKEN@example.com' })).toMatchObject({
      status: 409,
      body: { code: 'email_taken', message: 'user with this email already exists' },
    });
    // Where a database of the original has addresses that differ in case only, no unique index helps.
    await client.query('DROP INDEX users_email_lower');
    const answers = await Promise.all([
      put('profile', one.token, { name: 'One', email: 'both@example.com' }),
      put('profile', two.token, { name: 'Two', email: 'Both@example.com' }),
    ]);
    await client.query('CREATE UNIQUE INDEX users_email_lower ON users (lower(email))');
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409]);
  });

  it('refuses nobody, empty names and what is no address', async () => {
    const { token } = await signUp(node, 'refused@example.com');
    expect((await put('profile', undefined, { name: 'x', email: 'x@example.com' })).status).toBe(401);
    for (const body of [
      { name: ' ', email: 'x@example.com' },
      { name: 'x', email: 'x' },
      { name: 'x' },
      { email: 'x@example.com' },
    ]) {
      expect((await put('profile', token, body)).status, JSON.stringify(body)).toBe(400);
    }
  });
});

describe('a change of the password', () => {
  it('leaves API keys alone unless their end is asked for, which is noted', async () => {
    const { token, id } = await signUp(node, 'keys@example.com');
    const secrets: string[] = [];
    for (const name of ['one', 'two']) {
      const body = { name, scopes: ['read'] };
      secrets.push((await node.call('POST', '/api/v1/user/api-keys', { token, body })).body.data.key);
    }
    const statuses = async () => {
      const answers = secrets.map((it) => node.call('GET', '/api/v1/user/websites', { token: it }));
      return (await Promise.all(answers)).map(({ status }) => status);
    };
    expect((await change(token, PASSWORD, NEXT)).status).toBe(200);
    expect(await statuses()).toEqual([200, 200]);
    const body = { currentPassword: NEXT, newPassword: PASSWORD, revokeApiKeys: true };
    expect((await put('change-password', token, body)).status).toBe(200);
    expect(await statuses()).toEqual([401, 401]);
    expect((await node.call('GET', '/api/v1/user/api-keys', { token })).body.data).toEqual([]);
    await node.audit.flush();
    const { rows } = await client.query('SELECT action FROM audit_log WHERE user_id = $1 ORDER BY at, id', [
      id,
    ]);
    expect(rows.map(({ action }) => action)).toContain('revoke API keys');
  });

  it('ends all other sessions and keeps that of the caller', async () => {
    const email = 'change@example.com';
    const first = await signUp(node, email);
    const other = await session(email);
    const own = await session(email);
    const stranger = await signUp(node, 'bystander@example.com');
    expect((await me(other.access_token)).status).toBe(200);
    const answer = await change(own.access_token, PASSWORD, NEXT);
    expect([answer.status, answer.body]).toEqual([
      200,
      { success: true, message: 'Password changed successfully' },
    ]);
    expect((await me(own.access_token)).status).toBe(200);
    expect((await refresh(own.refresh_token)).status).toBe(200);
    expect((await me(other.access_token)).status).toBe(401);
    expect((await refresh(other.refresh_token)).status).toBe(401);
    expect((await me(first.token)).status).toBe(401);
    expect((await me(stranger.token)).status).toBe(200);
    expect((await login(email, PASSWORD)).status).toBe(400);
    expect((await login(email, NEXT)).status).toBe(200);
    const { rows } = await client.query('SELECT password_hash FROM users WHERE email = $1', [email]);
    expect(rows[0].password_hash).toMatch(/^\$argon2id\$/);
  });

  it('needs the current password, says 400 without it and is not to be guessed', async () => {
    const email = 'guessed@example.com';
    const { token } = await signUp(node, email);
    const wrong = await change(token, 'wrong', NEXT);
    expect(wrong).toMatchObject({
      status: 400,
      body: { code: 'invalid_credentials', message: 'current password is incorrect' },
    });
    expect((await change(undefined, PASSWORD, NEXT)).status).toBe(401);
    expect((await change(token, PASSWORD, 'short67')).status).toBe(400);
    await change(token, 'wrong', NEXT);
    await change(token, 'wrong', NEXT);
    expect((await change(token, PASSWORD, NEXT)).status).toBe(429);
    expect((await login(email, PASSWORD)).status).toBe(200);
  });

  it('happens once when asked for twice at once', async () => {
    const { token } = await signUp(node, 'twice@example.com');
    const answers = await Promise.all([change(token, PASSWORD, NEXT), change(token, PASSWORD, 'third one')]);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
  });
});
