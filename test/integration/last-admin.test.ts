import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createAttempts } from '../../src/auth/attempts.js';
import { userPrivacyRoutes } from '../../src/edge/routes/user-privacy.js';
import { createAccountDeletion } from '../../src/privacy/account-deletion.js';
import { freshPostgres } from '../support/fresh.js';
import { type Node, signUp, startNode } from './accounts-node.js';

const nobody = () => Promise.reject(new Error('not asked here'));

let database: Awaited<ReturnType<typeof freshPostgres>>;
let node: Node;
let sql: pg.Client;
/** Accounts whose other data was removed. */
const emptied: string[] = [];

beforeAll(async () => {
  database = await freshPostgres();
  sql = new pg.Client({ connectionString: database.url });
  await sql.connect();
  node = await startNode({
    databaseUrl: database.url,
    routes: ({ metadata, passwords, authenticator, notices, cache, telemetry: { log } }) => {
      const accounts = createAccountDeletion({
        ...{ metadata, passwords, authenticator, notices, log },
        attempts: createAttempts({ cache, log }),
        beforehand: async (userId) => {
          emptied.push(userId);
        },
        ...{ afterwards: async () => {}, purge: async () => {} },
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

it('an instance with accounts keeps an admin, whoever leaves at the same moment', async () => {
  const leave = async ({ token }: { token: string }) => {
    const body = { password: 'correct horse' };
    const answer = await node.call('DELETE', '/api/v1/user/me', { token, body });
    return `${answer.status} ${answer.body.code ?? ''}`.trim();
  };
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
