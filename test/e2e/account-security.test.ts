import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFailed, test } from 'vitest';
import { freshPostgres } from '../support/fresh.js';
import { Guard } from '../support/guard.js';
import { PICTURES } from '../support/pictures.js';
import { Program } from '../support/program.js';
import { smtpSink } from '../support/smtp-sink.js';
import { until } from '../support/wait.js';

const EMAIL = 'ada@shop.example';
const PASSWORD = 'correct horse';
const NEXT = 'battery staple';

// The weaknesses of the original by their numbers (contract 22.5), asked of the program as it is shipped.
describe('accounts of the program', () => {
  let guard: Guard;
  let program: Program;
  let database: Awaited<ReturnType<typeof freshPostgres>>;
  let sink: Awaited<ReturnType<typeof smtpSink>>;
  let sql: pg.Client;
  let token = '';
  let link = '';

  beforeAll(async () => {
    [guard, database, sink] = await Promise.all([Guard.start(), freshPostgres(), smtpSink()]);
    sql = new pg.Client({ connectionString: database.url });
    await sql.connect();
    program = await Program.start(guard, {
      dataDir: join(guard.directory, 'data'),
      env: {
        ...{ DATABASE_URL: database.url, EVENT_STORE: 'postgres', RATE_LIMIT_AUTH: '20' },
        ...{ SMTP_HOST: '127.0.0.1', SMTP_PORT: String(sink.port), FRONTEND_URL: 'https://stats.example' },
      },
    });
    const { body } = await call('POST', '/api/v1/auth/register', {
      name: 'Ada',
      email: EMAIL,
      password: PASSWORD,
    });
    token = body.data.tokens.access_token;
  });

  beforeEach(() => onTestFailed(() => program.showLog()));

  afterAll(async () => {
    await program?.stop();
    await sql?.end();
    await sink?.close();
    await database?.drop();
    await guard?.stop();
  });

  async function call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
    const answer = await fetch(program.url + path, {
      method,
      headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    // biome-ignore lint/suspicious/noExplicitAny: a JSON answer, looked into by the assertions
    const json: any = text === '' ? null : JSON.parse(text);
    return { status: answer.status, headers: answer.headers, text, body: json };
  }
  const bearer = () => ({ authorization: `Bearer ${token}` });

  test('A16, U11: take pictures only, and show them under the origin of the dashboard', async () => {
    const upload = async (bytes: Uint8Array, name: string) => {
      const form = new FormData();
      form.set('avatar', new Blob([bytes], { type: 'image/png' }), name);
      const url = `${program.url}/api/v1/user/users/avatar`;
      return fetch(url, { method: 'PUT', headers: bearer(), body: form });
    };
    expect((await upload(Buffer.from('<script>alert(1)</script>'), '../../me.html')).status).toBe(400);
    expect((await upload(PICTURES.png, 'me.png')).status).toBe(200);
    const { avatar } = (await call('GET', '/api/v1/user/auth/me', undefined, bearer())).body.data.user;
    expect(avatar).toMatch(/^\/api\/v1\/uploads\//);
    const served = await fetch(program.url + avatar);
    expect([served.status, served.headers.get('content-type')]).toEqual([200, 'image/png']);
  });

  test('A8, A9: set a forgotten password by mail, which ends all sessions and leaves no trace in the log', async () => {
    expect((await call('POST', '/api/v1/auth/forgot-password', { email: EMAIL })).status).toBe(200);
    const mail = await until(() => sink.mails[0], { what: 'the mail' });
    link =
      /https:\/\/stats\.example\/reset-password\?token=([\w-]+)/.exec(
        mail.raw.replace(/=\r\n/g, '').replaceAll('=3D', '='),
      )?.[1] ?? '';
    const reset = { token: link, newPassword: NEXT };
    expect((await call('POST', '/api/v1/auth/reset-password', reset)).status).toBe(200);
    expect((await call('GET', '/api/v1/user/auth/me', undefined, bearer())).status).toBe(401);
    const login = await call('POST', '/api/v1/auth/login', { email: EMAIL, password: NEXT });
    expect(login.status).toBe(200);
    token = login.body.data.tokens.access_token;
    const log = await program.log();
    for (const secret of [EMAIL, link, PASSWORD, NEXT, token]) expect(log.includes(secret)).toBe(false);
    const { rows } = await sql.query('SELECT reset_token FROM users WHERE reset_token IS NOT NULL');
    expect(rows).toEqual([]);
  });

  test('A14: believe no header about who calls', async () => {
    const [{ id }] = (await sql.query('SELECT id::text FROM users')).rows;
    const headers = { 'x-user-id': id, 'x-user-email': EMAIL, 'x-user-role': 'admin', 'x-api-key': '' };
    expect((await call('GET', '/api/v1/user/websites', undefined, headers)).status).toBe(401);
    expect(
      (await call('GET', `/api/v1/internal/user-resource-counts?user_id=${id}`, undefined, headers)).status,
    ).toBe(401);
  });

  test('A17: open nothing by the end of a path', async () => {
    for (const path of ['/api/v1/user/websites/pulse', '/api/v1/admin/analytics/stats/pulse', '/pulse'])
      expect([401, 404], path).toContain((await call('GET', path)).status);
  });

  test('A18: allow no page of a localhost to read with credentials unless it is configured', async () => {
    const answer = await call('GET', '/health', undefined, { origin: 'http://localhost.evil.example' });
    expect(answer.headers.get('access-control-allow-origin')).toBeNull();
    expect(answer.headers.get('vary')).toContain('Origin');
  });

  test('A19: tell nobody what the database says', async () => {
    await sql.query('ALTER TABLE websites RENAME COLUMN name TO hidden');
    try {
      const answer = await call('GET', '/api/v1/user/websites', undefined, bearer());
      expect(answer.status).toBe(500);
      expect(answer.text).not.toMatch(/column|relation|websites|hidden|select/i);
    } finally {
      await sql.query('ALTER TABLE websites RENAME COLUMN hidden TO name');
    }
  });

  test('P-6: ask the database once for an id that nobody has', async () => {
    const loads = async () => {
      const metrics = await (await fetch(`${program.url}/metrics`)).text();
      return Number(/^seentics_lookup_loads_total\{cache="sites"\} (\d+)/m.exec(metrics)?.[1] ?? 0);
    };
    const before = await loads();
    const config = '/api/v1/tracker/config/ffffffffffffffffffffffff';
    for (let asked = 0; asked < 20; asked++) expect((await call('GET', config)).status).toBe(404);
    expect((await loads()) - before).toBe(1);
  });

  test('A14, A20: count sign-ins and new passwords together by the address that the socket has, and mail to the end', async () => {
    const mailed = sink.mails.length;
    expect((await call('POST', '/api/v1/auth/forgot-password', { email: EMAIL })).status).toBe(200);
    const answers = await Promise.all(
      // More than fit into the two minutes that they may touch.
      Array.from({ length: 45 }, (_, index) =>
        call(
          'POST',
          '/api/v1/auth/forgot-password',
          { email: `nobody-${index}@shop.example` },
          {
            'x-forwarded-for': `203.0.113.${index}`,
            'cf-connecting-ip': `203.0.113.${index}`,
            'x-test-ip': `203.0.113.${index}`,
          },
        ),
      ),
    );
    const refused = answers.filter(({ status }) => status === 429);
    expect(refused.length).toBeGreaterThanOrEqual(5);
    expect(Number(refused[0]?.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(Number(refused[0]?.headers.get('retry-after'))).toBeLessThanOrEqual(60);
    // Its own bucket: who is signed in works on.
    expect((await call('GET', '/api/v1/user/auth/me', undefined, bearer())).status).toBe(200);
    // What was taken is still done.
    await program.stop();
    expect(sink.mails).toHaveLength(mailed + 1);
  });
});
