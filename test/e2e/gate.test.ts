import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import pg from 'pg';
import Type from 'typebox';
import { Value } from 'typebox/value';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFailed, test } from 'vitest';
import { createTokens } from '../../src/auth/tokens.js';
import { freshPostgres } from '../support/fresh.js';
import {
  ACCOUNTS,
  type Account,
  ADMITTED,
  type Answer,
  expectedByKey,
  isAdmitted,
  isPublic,
  KEY_HOLDERS,
  type KeyHolder,
  NEVER_BY_KEY,
  OUTSIDERS,
  type Outsider,
  SCOPES,
} from '../support/gate-rules.js';
import { Guard } from '../support/guard.js';
import { type Operation, type OperationRequest, operationsOf, type Scope } from '../support/operations.js';
import { Program } from '../support/program.js';

const SECRET = 'the secret of the gate test, which is long enough';
const SERVICE_KEY = 'the key of another program';
const PASSWORD = 'correct horse';
const UNKNOWN_SITE = '00000000-0000-4000-8000-000000000000';

const SignedIn = Type.Object({
  data: Type.Object({
    user: Type.Object({ id: Type.String(), email: Type.String() }),
    tokens: Type.Object({ access_token: Type.String(), refresh_token: Type.String() }),
  }),
});
const Created = Type.Object({ data: Type.Object({ id: Type.String() }) });
const MadeKey = Type.Object({ data: Type.Object({ id: Type.String(), key: Type.String() }) });
const Failed = Type.Object({ code: Type.String() });

interface Member {
  readonly id: string;
  readonly email: string;
  readonly access: string;
  readonly refresh: string;
}

const NO_ANSWER: Answer = { status: 0, code: 'no answer' };

const memberFrom = ({ user, tokens }: Type.Static<typeof SignedIn>['data']): Member => ({
  ...user,
  access: tokens.access_token,
  refresh: tokens.refresh_token,
});

describe('P6: every route of the program has its gate', () => {
  let guard: Guard;
  let program: Program;
  let database: Awaited<ReturnType<typeof freshPostgres>>;
  let sql: pg.Pool;
  let operations: readonly Operation[];
  let internal: readonly Operation[];
  /** Of all calls that change nothing. */
  let cast: Record<Account, Member>;
  /** Owns the sites that one call each is made about, so that the owner has few. */
  let landlord: Member;
  let site: string;
  let outsiders: Record<Outsider, string>;
  let keys: Readonly<Record<KeyHolder, (scope: Scope | null) => string>>;

  beforeAll(async () => {
    [guard, database] = await Promise.all([Guard.start(), freshPostgres()]);
    sql = new pg.Pool({ connectionString: database.url, max: 5 });
    program = await Program.start(guard, {
      dataDir: join(guard.directory, 'data'),
      env: {
        DATABASE_URL: database.url,
        EVENT_STORE: 'postgres',
        JWT_SECRET: SECRET,
        GLOBAL_API_KEY: SERVICE_KEY,
        ALLOW_REGISTRATION: 'true',
      },
    });
    const all = await operationsOf(program.url);
    operations = all.filter(({ access }) => access !== 'internal');
    internal = all.filter(({ access }) => access === 'internal');
    const [instanceAdmin, owner] = [await signUp(), await signUp()];
    site = await createSite(owner);
    landlord = await signUp();
    cast = {
      stranger: await signUp(),
      viewer: await member(site, 'viewer'),
      'member admin': await member(site, 'admin'),
      owner,
      'instance admin': instanceAdmin,
    };
    outsiders = await outsidersLike(owner, instanceAdmin);
    keys = await keysOf();
  });

  beforeEach(() => onTestFailed(() => program.showLog()));

  afterAll(async () => {
    await program?.stop();
    await sql?.end();
    await database?.drop();
    await guard?.stop();
  });

  const call = async (
    method: string,
    request: OperationRequest,
    token: string,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer> => {
    const answer = await fetch(program.url + request.path, {
      method,
      headers: {
        origin: 'https://gate.example',
        ...(token === '' ? {} : { authorization: `Bearer ${token}` }),
        ...(request.body === undefined ? {} : { 'content-type': request.contentType ?? 'application/json' }),
        ...headers,
      },
      ...(request.body === undefined ? {} : { body: request.body }),
      signal: AbortSignal.timeout(30_000),
    });
    const text = await answer.text();
    if (answer.status < 400) return { status: answer.status, code: '' };
    const failure: unknown = JSON.parse(text);
    return { status: answer.status, code: Value.Check(Failed, failure) ? failure.code : text };
  };

  const post = async <S extends Type.TSchema>(
    schema: S,
    path: string,
    body: object,
    token = '',
  ): Promise<Type.Static<S>> => {
    const answer = await fetch(`${program.url}/api/v1/user/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: token === '' ? '' : `Bearer ${token}` },
      body: JSON.stringify(body),
    });
    const json: unknown = await answer.json();
    if (!Value.Check(schema, json)) throw new Error(`${path}: ${answer.status} ${JSON.stringify(json)}`);
    return json;
  };

  let accounts = 0;
  const signUp = async (): Promise<Member> => {
    const email = `account-${accounts++}@gate.example`;
    const { data } = await post(SignedIn, 'auth/register', { name: 'Gate', email, password: PASSWORD });
    return memberFrom(data);
  };

  /** An account with a session as if it had signed up, at no cost of hashing: several hundred of them are needed. */
  const madeUp = async (): Promise<Member> => {
    const [email, sessionId] = [`account-${accounts++}@gate.example`, randomUUID()];
    const { rows } = await sql.query(
      `WITH account AS (
         INSERT INTO users (name, email, password_hash, avatar_url)
         SELECT 'Gate', $1, password_hash, '' FROM users WHERE email = $2 RETURNING id
       ), session AS (
         INSERT INTO auth_sessions (id, user_id, expires_at) SELECT $3, id, now() + interval '1 hour' FROM account
       )
       SELECT id FROM account`,
      [email, cast.owner.email, sessionId],
    );
    const id = String(rows[0].id);
    const access = await createTokens({ secret: SECRET }).issueAccess({ id, email, role: 'user' }, sessionId);
    return { id, email, access, refresh: '' };
  };

  const createSite = async (owner: Member): Promise<string> =>
    (await post(Created, 'websites', { name: 'Gate', url: 'https://gate.example' }, owner.access)).data.id;

  const member = async (siteId: string, role: 'viewer' | 'admin', sign = signUp): Promise<Member> => {
    const account = await sign();
    await sql.query('INSERT INTO website_members (website_id, user_id, role) VALUES ($1, $2, $3)', [
      siteId,
      account.id,
      role,
    ]);
    return account;
  };

  const login = async ({ email }: Member): Promise<Member> => {
    const { data } = await post(SignedIn, 'auth/login', { email, password: PASSWORD });
    return memberFrom(data);
  };

  /** Their tokens are of sessions that nobody else has, for signing out with an expired token ends its session. */
  const outsidersLike = async (owner: Member, admin: Member): Promise<Record<Outsider, string>> => {
    const issue = async (of: Member, role: 'admin' | 'user', secret: string, accessSeconds: number) => {
      const { sessionId } = await createTokens({ secret: SECRET }).read('access', of.access);
      return createTokens({ secret, accessSeconds }).issueAccess({ ...of, role }, sessionId);
    };
    const [valid, gone] = [await login(owner), await login(owner)];
    await post(Type.Unknown(), 'auth/logout', {}, gone.access);
    return {
      nobody: '',
      'somebody with garbage for a token': 'gar.ba.ge',
      'an expired token of the owner': await issue(valid, 'user', SECRET, -60),
      'a forged token of the instance admin': await issue(admin, 'admin', 'x'.repeat(64), 3600),
      'a refresh token of the owner as access token': valid.refresh,
      'a token of the owner after signing out': gone.access,
      'an API key of the owner after its deletion': await deletedKey(owner),
      'an expired API key of the owner': await expiredKey(owner),
    };
  };

  const makeKey = async (of: string, scopes: readonly Scope[], websites: readonly string[] | null = null) =>
    (await post(MadeKey, 'api-keys', { name: 'Gate', scopes, websites }, of)).data;

  const deletedKey = async ({ access }: Member): Promise<string> => {
    const { id, key } = await makeKey(access, SCOPES);
    await call('GET', { path: '/api/v1/user/websites' }, key);
    await call('DELETE', { path: `/api/v1/user/api-keys/${id}` }, access);
    return key;
  };

  const expiredKey = async ({ access }: Member): Promise<string> => {
    const { id, key } = await makeKey(access, SCOPES);
    await sql.query("UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = $1", [id]);
    return key;
  };

  /** An account and a site of this call's own, since the call may end the one or the other. */
  const castOnce = async (kind: Account): Promise<{ account: Member; siteId: string }> => {
    if (kind === 'owner') {
      const account = await madeUp();
      return { account, siteId: await createSite(account) };
    }
    const siteId = await createSite(landlord);
    if (kind === 'viewer') return { account: await member(siteId, 'viewer', madeUp), siteId };
    if (kind === 'member admin') return { account: await member(siteId, 'admin', madeUp), siteId };
    const account = await madeUp();
    if (kind === 'instance admin')
      await sql.query("UPDATE users SET role = 'admin' WHERE id = $1", [account.id]);
    return { account, siteId };
  };

  const callAs = async (kind: Account, operation: Operation): Promise<Answer> => {
    const { account, siteId } =
      operation.method === 'GET' ? { account: cast[kind], siteId: site } : await castOnce(kind);
    return call(operation.method, operation.request(siteId, account.id), account.access);
  };

  /** By the scope that a route asks for; where keys are refused, they have every scope there is. */
  const keysOf = async (): Promise<typeof keys> => {
    const { owner, viewer, stranger } = cast;
    const all = (await makeKey(owner.access, SCOPES)).key;
    const elsewhere = (await makeKey(owner.access, SCOPES, [await createSite(owner)])).key;
    const [viewers, strangers] = [
      (await makeKey(viewer.access, SCOPES)).key,
      (await makeKey(stranger.access, SCOPES)).key,
    ];
    const [with_, without] = [new Map<Scope | null, string>(), new Map<Scope | null, string>()];
    for (const scope of SCOPES) {
      with_.set(scope, (await makeKey(owner.access, [scope])).key);
      const others = SCOPES.filter((other) => other !== scope);
      without.set(scope, (await makeKey(owner.access, others)).key);
    }
    return {
      'an API key of the owner without the scope': (scope) => without.get(scope) ?? all,
      'an API key of the owner with the scope': (scope) => with_.get(scope) ?? all,
      'an API key of the owner for another website': () => elsewhere,
      'an API key of a viewer with all scopes': () => viewers,
      'an API key of a stranger with all scopes': () => strangers,
    };
  };

  /** Only the owner's key with the scope can change anything: it gets an account and a website of its own for that. */
  const callByKey = async (who: KeyHolder, operation: Operation): Promise<Answer> => {
    const { method, keyScope } = operation;
    const changes = method !== 'GET' && keyScope !== null && who === 'an API key of the owner with the scope';
    if (!changes) return call(method, operation.request(site), keys[who](keyScope));
    const { account, siteId } = await castOnce('owner');
    const { key } = await makeKey(account.access, [keyScope]);
    return call(method, operation.request(siteId, account.id), key);
  };

  const line = ({ method, path, access }: Operation, who: string, { status, code }: Answer) =>
    `${method} ${path} (${access}) by ${who}: ${status} ${code}`;

  test('which the program declares for each', () => {
    const kinds = new Set(operations.map(({ access }) => access));
    for (const kind of ['public', 'account', 'site:read', 'site:write', 'site:manage'] as const)
      expect(kinds).toContain(kind);
  });

  test('that lets in whom it should and says 403 to all other accounts', { timeout: 120_000 }, async () => {
    const wrong: string[] = [];
    for (const operation of operations) {
      const answers = await Promise.all(ACCOUNTS.map((kind) => callAs(kind, operation)));
      for (const [index, kind] of ACCOUNTS.entries()) {
        const answer = answers[index] ?? NO_ANSWER;
        const admitted = operation.access === 'public' || ADMITTED[operation.access].includes(kind);
        const right = admitted ? isAdmitted(answer) : answer.status === 403 && answer.code === 'forbidden';
        if (!right) wrong.push(line(operation, kind, answer));
      }
    }
    expect(wrong).toEqual([]);
  });

  test('that says 401 to everybody without a valid token', { timeout: 120_000 }, async () => {
    const wrong: string[] = [];
    // Public routes come last: one of them ends the session of the token it gets.
    for (const operation of operations.toSorted((a, b) => Number(isPublic(a)) - Number(isPublic(b)))) {
      for (const who of OUTSIDERS) {
        const answer = await call(operation.method, operation.request(site), outsiders[who]);
        const code = who === 'nobody' ? 'unauthorized' : 'invalid_token';
        const right =
          operation.access === 'public' ? isAdmitted(answer) : answer.status === 401 && answer.code === code;
        if (!right) wrong.push(line(operation, who, answer));
      }
    }
    expect(wrong).toEqual([]);
  });

  test('that lets API keys in as far as their account, scopes and websites go', {
    timeout: 120_000,
  }, async () => {
    const wrong: string[] = [];
    for (const operation of operations) {
      for (const who of KEY_HOLDERS) {
        const expected = expectedByKey(who, operation);
        const answer = await callByKey(who, operation);
        const right =
          expected === 'in'
            ? isAdmitted(answer)
            : expected === 'either' || (answer.status === 403 && answer.code === expected);
        if (!right) wrong.push(`${line(operation, who, answer)}, not ${expected}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test('that no key passes to the account itself and to what hands out access', () => {
    const open = operations.filter(
      ({ access, keyScope, method, path }) =>
        access !== 'public' && keyScope !== null && NEVER_BY_KEY.test(`${method} ${path}`),
    );
    expect(open.map(({ method, path }) => `${method} ${path}`)).toEqual([]);
    const ofAccount = operations.filter(({ access, keyScope }) => access === 'account' && keyScope !== null);
    expect(ofAccount.map(({ method, path, keyScope }) => `${method} ${path} ${keyScope}`)).toEqual([
      'GET /api/v1/user/websites read',
      'POST /api/v1/user/websites manage',
    ]);
  });

  test('that lets nobody at internal routes but who has the service key', async () => {
    const wrong: string[] = [];
    const tokens = [...Object.values(outsiders), ...ACCOUNTS.map((kind) => cast[kind].access), SERVICE_KEY];
    expect(internal.length).toBeGreaterThan(0);
    for (const operation of internal) {
      const request = operation.request(site);
      for (const token of tokens) {
        for (const key of ['', 'x', SERVICE_KEY.slice(0, -1), `${SERVICE_KEY}x`]) {
          const answer = await call(operation.method, request, token, key === '' ? {} : { 'x-api-key': key });
          if (answer.status !== 401 || answer.code !== 'unauthorized')
            wrong.push(line(operation, 'without the key', answer));
        }
      }
      const answer = await call(operation.method, request, '', { 'x-api-key': SERVICE_KEY });
      if (!isAdmitted(answer)) wrong.push(line(operation, 'with the key', answer));
    }
    expect(wrong).toEqual([]);
  });

  test('that keeps accounts from what is named as another account’s, but for the instance admin', async () => {
    const wrong: string[] = [];
    const ofAccounts = operations.filter(
      ({ access, path }) => access === 'account' && path.includes('{user_id}'),
    );
    expect(ofAccounts.length).toBeGreaterThan(0);
    for (const operation of ofAccounts) {
      for (const kind of ['stranger', 'viewer', 'member admin'] as const) {
        const request = operation.request(site, cast.owner.id);
        const answer = await call(operation.method, request, cast[kind].access);
        if (answer.status !== 403 || answer.code !== 'forbidden') wrong.push(line(operation, kind, answer));
      }
      const { account } = await castOnce('owner');
      const byAdmin = await call(
        operation.method,
        operation.request(site, account.id),
        cast['instance admin'].access,
      );
      if (!isAdmitted(byAdmin)) wrong.push(line(operation, 'instance admin', byAdmin));
    }
    expect(wrong).toEqual([]);
  });

  test('that says 404 to every account when there is no such site', { timeout: 120_000 }, async () => {
    const wrong: string[] = [];
    for (const operation of operations.filter(({ access }) => access.startsWith('site:'))) {
      for (const kind of ACCOUNTS) {
        const answer = await call(operation.method, operation.request(UNKNOWN_SITE), cast[kind].access);
        if (answer.status !== 404 || answer.code !== 'website_not_found')
          wrong.push(line(operation, kind, answer));
      }
    }
    expect(wrong).toEqual([]);
  });

  test('and no refused call has changed anything: the site and its owner are still there', async () => {
    const path = `/api/v1/user/websites/${site}`;
    expect((await call('GET', { path }, cast.owner.access)).status).toBe(200);
  });
});
