import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createAttempts } from '../../src/auth/attempts.js';
import { userPrivacyRoutes } from '../../src/edge/routes/user-privacy.js';
import { createAccountDeletion } from '../../src/privacy/account-deletion.js';
import { createAccountLeftovers } from '../../src/privacy/account-leftovers.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshPostgres } from '../support/fresh.js';
import { until } from '../support/wait.js';
import { type Node, signUp, startNode } from './accounts-node.js';

const nobody = () => Promise.reject(new Error('not asked here'));

let database: Awaited<ReturnType<typeof freshPostgres>>;
let node: Node;
let sql: pg.Client;
/** Accounts whose other data was removed. */
const emptied: string[] = [];
let isAway = false;

const leave = async ({ token }: { token: string }) => {
  const body = { password: 'correct horse' };
  const answer = await node.call('DELETE', '/api/v1/user/me', { token, body });
  return `${answer.status} ${answer.body.code ?? ''}`.trim();
};

beforeAll(async () => {
  database = await freshPostgres();
  sql = new pg.Client({ connectionString: database.url });
  await sql.connect();
  node = await startNode({
    databaseUrl: database.url,
    maxWebsites: 3,
    routes: ({ metadata, passwords, authenticator, notices, cache, telemetry: { log } }) => {
      const accounts = createAccountDeletion({
        ...{ metadata, passwords, authenticator, notices, log },
        attempts: createAttempts({ cache, log }),
        leftovers: createAccountLeftovers({
          store: metadata.accountDeletion,
          erase: async (userId) => {
            if (isAway) throw new Error('the pictures are away');
            emptied.push(userId);
          },
          telemetry: silentTelemetry(),
        }),
        purge: async () => {},
      });
      const requests = { submit: nobody, start: () => {}, close: async () => {} };
      const exports = {
        account: nobody,
        visitor() {
          throw new Error('not asked here');
        },
      };
      const websites = { list: nobody };
      return userPrivacyRoutes({ requests, store: metadata.privacyRequests, exports, accounts, websites });
    },
  });
});
afterAll(async () => {
  await node.stop();
  await sql.end();
  await database.drop();
});

it('an account whose deletion fails works as before, and one that is gone leaves nothing, also after a crash', async () => {
  const account = await signUp(node, 'owner@example.com');
  const { token } = account;
  const body = { name: 'k', scopes: ['read'] };
  const secret = (await node.call('POST', '/api/v1/user/api-keys', { token, body })).body.data.key;
  const works = async (token: string) => (await node.call('GET', '/api/v1/user/websites', { token })).status;
  expect(await works(secret)).toBe(200);
  await sql.query(
    `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$`,
  );
  await sql.query('CREATE TRIGGER refused BEFORE DELETE ON users FOR EACH ROW EXECUTE FUNCTION refuse()');
  expect(await leave(account)).toMatch(/^50/);
  expect([await works(secret), await works(account.token), emptied]).toEqual([200, 200, []]);
  await sql.query('DROP TRIGGER refused ON users');

  isAway = true;
  expect(await leave(account)).toBe('200');
  expect([await works(secret), await works(account.token)]).toEqual([401, 401]);
  isAway = false;
  // As another process does at its start.
  const next = createAccountLeftovers({
    store: node.metadata.accountDeletion,
    erase: async (userId) => void emptied.push(userId),
    telemetry: silentTelemetry(),
  });
  next.start();
  await until(async () => (await node.metadata.accountDeletion.leftovers(10)).length === 0, {
    what: 'the leftovers to be gone',
  });
  await next.close();
  expect(emptied.splice(0)).toEqual([account.id]);
});

it('an instance with accounts keeps an admin, whoever leaves at the same moment', async () => {
  const first = await signUp(node, 'first@example.com');
  const second = await signUp(node, 'second@example.com');
  const third = await signUp(node, 'third@example.com');
  expect(await leave(first)).toBe('409 conflict');
  // Nothing of the account is gone.
  expect(emptied).toEqual([]);
  expect((await node.call('GET', '/api/v1/user/websites', { token: first.token })).status).toBe(200);

  await sql.query("UPDATE users SET role = 'admin' WHERE id = $1", [second.id]);
  // Both asked before and were told that another one would be left.
  const { users, accountDeletion } = node.metadata;
  const outcomes = await Promise.all(
    [first, second].map(async ({ id }) =>
      accountDeletion.delete(id, (await users.findById(id))?.passwordHash ?? null),
    ),
  );
  expect(outcomes.filter((it) => it === 'last admin')).toHaveLength(1);
  const { rows } = await sql.query("SELECT count(*)::int AS admins FROM users WHERE role = 'admin'");
  expect(rows).toEqual([{ admins: 1 }]);

  expect(await leave(third)).toBe('200');
  // The last one turns off the light.
  expect((await Promise.all([leave(first), leave(second)])).sort()).toEqual(['200', '401 invalid_token']);
});

it('an account has only so many websites of its own, also when it asks for them at once', async () => {
  const [one, other] = [await signUp(node, 'one@example.com'), await signUp(node, 'other@example.com')];
  const add = async ({ token }: { token: string }) => {
    const answer = await node.call('POST', '/api/v1/user/websites', {
      token,
      body: { name: 'Shop', url: 'shop.example' },
    });
    return `${answer.status} ${answer.body.code ?? ''}`.trim();
  };
  const { websites } = node.metadata;
  const made = (n: number) => ({
    ...{
      id: randomUUID(),
      siteId: `${n}`.padStart(24, '0'),
      userId: one.id,
      name: 'Shop',
      url: 'shop.example',
    },
    trackingId: `ST-${n}`,
  });
  // All at the same moment: none gets further before the last one is there.
  await sql.query('BEGIN');
  await sql.query('LOCK TABLE websites IN EXCLUSIVE MODE');
  const asked = Promise.all(Array.from({ length: 8 }, (_, n) => websites.create(made(n), 2)));
  const waiting = async () => {
    await sql.query('SELECT pg_stat_clear_snapshot()');
    const { rows } = await sql.query(
      `SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    );
    return rows[0].n === 8;
  };
  await until(waiting, { what: 'all of them to wait', everyMs: 5 });
  await sql.query('COMMIT');
  expect((await asked).filter((site) => site !== null)).toHaveLength(2);
  expect([await add(one), await add(one)]).toEqual(['201', '400 limit_reached']);
  expect(await add(other)).toBe('201');
  const list = (await node.call('GET', '/api/v1/user/websites', { token: one.token })).body.data;
  expect(
    (await node.call('DELETE', `/api/v1/user/websites/${list[0].id}`, { token: one.token })).status,
  ).toBe(200);
  expect(await add(one)).toBe('201');
});
