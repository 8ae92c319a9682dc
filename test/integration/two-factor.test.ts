import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { codeOf, STEP_SECONDS, stepAt } from '../../src/auth/totp.js';
import { freshPostgres } from '../support/fresh.js';
import { type Node, signUp, startNode } from './accounts-node.js';

const PASSWORD = 'correct horse';
const LOGIN = '/api/v1/user/auth/login';
const FACTOR = '/api/v1/user/2fa';

let database: Awaited<ReturnType<typeof freshPostgres>>;
let node: Node;
let client: pg.Client;
/** Of the node, as far as codes go. */
let clock = Date.now();
beforeAll(async () => {
  database = await freshPostgres();
  node = await startNode({ databaseUrl: database.url, now: () => clock });
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
});
afterAll(async () => {
  await client.end();
  await node.stop();
  await database.drop();
});

let accounts = 0;
let email: string;
let account: { token: string; id: string };
beforeEach(async () => {
  email = `ann-${accounts++}@example.com`;
  account = await signUp(node, email);
});

const post = (path: string, body: object, token?: string) =>
  node.call('POST', path, { body, ...(token === undefined ? {} : { token }) });
const login = (more: object = {}) => post(LOGIN, { email, password: PASSWORD, ...more });
const finish = (challenge: string, code: string) => post(`${LOGIN}/2fa`, { challenge, code });
const state = async () => (await node.call('GET', FACTOR, { token: account.token })).body.data;
const outcome = ({ status, body }: { status: number; body: { code?: string } }) =>
  `${status} ${body.code ?? ''}`.trim();

/** What an authenticator app does with the text it was given. */
function fromBase32(text: string): Uint8Array {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  const bits = [...text].map((letter) => alphabet.indexOf(letter).toString(2).padStart(5, '0')).join('');
  return Uint8Array.from(bits.match(/.{8}/g) ?? [], (byte) => Number.parseInt(byte, 2));
}

/** A code that was not used yet: each call goes one step on. */
const appWith = (secret: string) => () => {
  clock += STEP_SECONDS * 1000;
  return codeOf(fromBase32(secret), stepAt(clock));
};
const setUp = async () => {
  const { body } = await post(`${FACTOR}/setup`, { password: PASSWORD }, account.token);
  return { ...body.data, app: appWith(body.data.secret) };
};
const enable = async () => {
  const { app, secret } = await setUp();
  const { body } = await post(`${FACTOR}/enable`, { code: app() }, account.token);
  return { app, secret, recoveryCodes: body.data.recovery_codes };
};
const wrong = (code: string) => code.replace(/^./, (digit) => String((Number(digit) + 1) % 10));

describe('a second factor', () => {
  it('changes nothing for accounts without one', async () => {
    expect(await state()).toEqual({ enabled: false, enabled_at: null, recovery_codes_left: 0 });
    expect(outcome(await login())).toBe('200');
    expect(outcome(await login({ totp: '123456' }))).toBe('200');
    // A secret that was given out and not confirmed is none yet.
    await setUp();
    expect(outcome(await login())).toBe('200');
    expect((await state()).enabled).toBe(false);
  });

  it('is set up with an app and confirmed by a code, and then asked for', async () => {
    const { secret, otpauth_url, app } = await setUp();
    expect(secret).toMatch(/^[A-Z2-7]{32}$/);
    expect(otpauth_url).toBe(
      `otpauth://totp/Seentics:${encodeURIComponent(email)}?secret=${secret}&issuer=Seentics&algorithm=SHA1&digits=6&period=30`,
    );
    expect(outcome(await post(`${FACTOR}/enable`, { code: wrong(app()) }, account.token))).toBe(
      '400 invalid_second_factor',
    );
    const { status, body } = await post(`${FACTOR}/enable`, { code: app() }, account.token);
    expect(status).toBe(200);
    expect(body.data.recovery_codes).toHaveLength(10);
    for (const code of body.data.recovery_codes) expect(code).toMatch(/^([a-z2-7]{4}-){3}[a-z2-7]{4}$/);
    expect(await state()).toEqual({
      enabled: true,
      enabled_at: expect.any(String),
      recovery_codes_left: 10,
    });
    for (const path of ['setup', 'enable']) {
      expect(
        outcome(await post(`${FACTOR}/${path}`, { code: app(), password: PASSWORD }, account.token)),
      ).toBe('409 conflict');
    }

    const asked = await login();
    expect(asked.status).toBe(403);
    expect(asked.body).toEqual({
      error: expect.any(String),
      message: asked.body.error,
      code: 'two_factor_required',
      details: { challenge: expect.any(String), expires_in: 300 },
    });
    const done = await finish(asked.body.details.challenge, app());
    expect(done.status).toBe(200);
    const { access_token } = done.body.data.tokens;
    const me = await node.call('GET', '/api/v1/user/auth/me', { token: access_token });
    expect(me.body.data.user.email).toBe(email);
    // Or all at once.
    expect(outcome(await login({ totp: app() }))).toBe('200');
    const code = app();
    expect(outcome(await login({ totp: `${code.slice(0, 3)} ${code.slice(3)}` }))).toBe('200');
    // Whoever does not know the password learns nothing of the factor.
    expect(outcome(await login({ password: 'wrong password' }))).toBe('400 invalid_credentials');
  });

  it('is not begun by a session alone, and ends all others', async () => {
    const setup = (password?: string) => post(`${FACTOR}/setup`, { password }, account.token);
    expect(outcome(await setup())).toBe('400 invalid_request');
    expect(outcome(await setup('wrong password'))).toBe('400 invalid_credentials');
    const other = (await login()).body.data.tokens;
    const me = async (token: string) => (await node.call('GET', '/api/v1/user/auth/me', { token })).status;
    expect(await me(other.access_token)).toBe(200);
    await enable();
    expect([await me(account.token), await me(other.access_token)]).toEqual([200, 401]);
    const { refresh_token } = other;
    expect(outcome(await post('/api/v1/auth/refresh', { refresh_token }))).toBe('401 invalid_token');
  });

  it('counts wrong passwords of beginning and ending together', async () => {
    for (let i = 0; i < 10; i++) await post(`${FACTOR}/setup`, { password: 'wrong' }, account.token);
    for (const [path, body] of [
      ['setup', { password: PASSWORD }],
      ['disable', { password: PASSWORD, code: '123456' }],
    ] as const) {
      expect(outcome(await post(`${FACTOR}/${path}`, body, account.token))).toBe('429 rate_limited');
    }
  });

  it('takes each code once, also from several at the same time, and none of before', async () => {
    const { app } = await enable();
    const code = app();
    const { challenge } = (await login()).body.details;
    const all = await Promise.all(Array.from({ length: 4 }, () => finish(challenge, code)));
    expect(all.map(outcome).sort()).toEqual(['200', ...Array(3).fill('400 invalid_second_factor')]);
    expect(outcome(await login({ totp: code }))).toBe('400 invalid_second_factor');
    // However close to each other they read the step that was used last, one of them uses the next.
    const { secondFactors } = node.metadata;
    const step = stepAt(clock) + 1;
    expect(await secondFactors.useStep(account.id, step)).toBe(true);
    expect(await secondFactors.useStep(account.id, step)).toBe(false);
    app();
    const [earlier, later] = [app(), app()];
    expect(outcome(await login({ totp: later }))).toBe('200');
    expect(outcome(await login({ totp: earlier }))).toBe('400 invalid_second_factor');
  });

  it('takes each recovery code once, in any spelling', async () => {
    const { recoveryCodes } = await enable();
    const [first, second] = recoveryCodes;
    expect(outcome(await login({ totp: first }))).toBe('200');
    expect(outcome(await login({ totp: first }))).toBe('400 invalid_second_factor');
    expect(outcome(await login({ totp: second.replaceAll('-', ' ').toUpperCase() }))).toBe('200');
    expect((await state()).recovery_codes_left).toBe(8);
  });

  it('stops guessing for longer and longer, wherever from, until the holder comes', async () => {
    const { app } = await enable();
    const lock = async () => {
      const { rows } = await client.query(
        'SELECT round(extract(epoch FROM locked_until - now()))::int AS seconds FROM second_factors WHERE user_id = $1',
        [account.id],
      );
      return rows[0].seconds;
    };
    const unlock = () =>
      client.query('UPDATE second_factors SET locked_until = now() WHERE user_id = $1', [account.id]);
    const guess = async () => outcome(await login({ totp: wrong(app()) }));
    // Guesses at the same moment count one by one.
    const guesses = await Promise.all(Array.from({ length: 8 }, guess));
    expect(guesses.filter((it) => it === '400 invalid_second_factor')).toHaveLength(5);
    expect(guesses.filter((it) => it === '429 rate_limited')).toHaveLength(3);
    const refused = await login({ totp: app() });
    expect(outcome(refused)).toBe('429 rate_limited');
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(20);
    for (const seconds of [60, 120, 240]) {
      await unlock();
      expect(await guess()).toBe('400 invalid_second_factor');
      expect(Math.abs((await lock()) - seconds)).toBeLessThan(5);
    }
    await client.query('UPDATE second_factors SET failures = 900 WHERE user_id = $1', [account.id]);
    await unlock();
    await guess();
    expect(Math.abs((await lock()) - 3600)).toBeLessThan(5);
    await unlock();
    expect(outcome(await login({ totp: app() }))).toBe('200');
    expect(await guess()).toBe('400 invalid_second_factor');
    expect(await lock()).toBeNull();
  });

  it('takes no challenge that is forged, another token, too old or of a password that was changed', async () => {
    const { app } = await enable();
    const { challenge } = (await login()).body.details;
    const stale = '400 invalid_credentials';
    for (const other of ['x', `${challenge}x`, account.token]) {
      expect(outcome(await finish(other, app()))).toBe(stale);
    }
    // And a challenge opens nothing else.
    expect((await node.call('GET', '/api/v1/user/auth/me', { token: challenge })).status).toBe(401);
    expect(outcome(await post('/api/v1/auth/refresh', { refresh_token: challenge }))).toBe(
      '401 invalid_token',
    );
    const change = { currentPassword: PASSWORD, newPassword: 'battery staple' };
    const changed = await node.call('PUT', '/api/v1/user/users/change-password', {
      token: account.token,
      body: change,
    });
    expect(changed.status).toBe(200);
    expect(outcome(await finish(challenge, app()))).toBe(stale);
  });

  it('ends with password and code, and then a new one may begin', async () => {
    const { app } = await enable();
    const end = (password: string, code: string) =>
      post(`${FACTOR}/disable`, { password, code }, account.token);
    expect(outcome(await end('wrong password', app()))).toBe('400 invalid_credentials');
    expect(outcome(await end(PASSWORD, wrong(app())))).toBe('400 invalid_second_factor');
    expect(outcome(await login())).toBe('403 two_factor_required');
    expect(outcome(await end(PASSWORD, app()))).toBe('200');
    expect(outcome(await login())).toBe('200');
    expect(await state()).toEqual({ enabled: false, enabled_at: null, recovery_codes_left: 0 });
    expect(outcome(await end(PASSWORD, app()))).toBe('409 conflict');
    const again = await enable();
    expect(outcome(await login({ totp: app() }))).toBe('400 invalid_second_factor');
    expect(outcome(await login({ totp: again.app() }))).toBe('200');
  });

  it('stays when a forgotten password is set anew, which ends sign-ins that have begun', async () => {
    const { app } = await enable();
    const { challenge } = (await login()).body.details;
    const { users, passwordResets } = node.metadata;
    const tokenHash = Buffer.from(account.id);
    const hash = (await users.findById(account.id))?.passwordHash ?? '';
    expect(await passwordResets.add({ userId: account.id, email, tokenHash, ttlMs: 60_000 }, 5)).toBe(true);
    expect(await passwordResets.use(tokenHash, hash, false)).not.toBeNull();
    expect(outcome(await finish(challenge, app()))).toBe('400 invalid_credentials');
    expect(outcome(await login())).toBe('403 two_factor_required');
    expect(outcome(await login({ totp: app() }))).toBe('200');
  });

  it('is nowhere in the database as it is', async () => {
    const { secret, recoveryCodes } = await enable();
    const { rows } = await client.query(
      `SELECT f::text || coalesce(string_agg(r::text, ' '), '') AS line
       FROM second_factors f LEFT JOIN recovery_codes r USING (user_id) WHERE f.user_id = $1 GROUP BY f.*`,
      [account.id],
    );
    const stored = String(rows[0].line);
    expect(stored.length).toBeGreaterThan(600);
    expect(stored).not.toContain(Buffer.from(fromBase32(secret)).toString('hex'));
    for (const code of recoveryCodes) expect(stored).not.toContain(Buffer.from(code).toString('hex'));
  });
});
