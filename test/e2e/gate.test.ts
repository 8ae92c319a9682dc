import { join } from 'node:path';
import pg from 'pg';
import Type from 'typebox';
import { Value } from 'typebox/value';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFailed, test } from 'vitest';
import { createTokens } from '../../src/auth/tokens.js';
import { freshPostgres } from '../support/fresh.js';
import { Guard } from '../support/guard.js';
import { type Access, type Operation, operationsOf } from '../support/operations.js';
import { Program } from '../support/program.js';

const SECRET = 'the secret of the gate test, which is long enough';
const PASSWORD = 'correct horse';
const UNKNOWN_SITE = '00000000-0000-4000-8000-000000000000';

const ACCOUNTS = ['stranger', 'viewer', 'member admin', 'owner', 'instance admin'] as const;
const OUTSIDERS = [
  'nobody',
  'somebody with garbage for a token',
  'an expired token of the owner',
  'a forged token of the instance admin',
  'a refresh token of the owner as access token',
  'a token of the owner after signing out',
] as const;
type Account = (typeof ACCOUNTS)[number];
type Outsider = (typeof OUTSIDERS)[number];

/** Who may pass the gate of each kind; outsiders pass that of public routes only. */
const ADMITTED: Readonly<Record<Exclude<Access, 'public'>, readonly Account[]>> = {
  account: ACCOUNTS,
  admin: ['instance admin'],
  'site:read': ['viewer', 'member admin', 'owner', 'instance admin'],
  'site:write': ['member admin', 'owner', 'instance admin'],
  'site:manage': ['owner', 'instance admin'],
};

const SignedIn = Type.Object({
  data: Type.Object({
    user: Type.Object({ id: Type.String(), email: Type.String() }),
    tokens: Type.Object({ access_token: Type.String(), refresh_token: Type.String() }),
  }),
});
const Created = Type.Object({ data: Type.Object({ id: Type.String() }) });
const Failed = Type.Object({ code: Type.String() });

interface Member {
  readonly id: string;
  readonly email: string;
  readonly access: string;
  readonly refresh: string;
}

interface Answer {
  readonly status: number;
  /** Of the error, '' when it is none. */
  readonly code: string;
}

const memberFrom = ({ user, tokens }: Type.Static<typeof SignedIn>['data']): Member => ({
  ...user,
  access: tokens.access_token,
  refresh: tokens.refresh_token,
});

describe('P6: every route of the program has its gate', () => {
  let guard: Guard;
  let program: Program;
  let database: Awaited<ReturnType<typeof freshPostgres>>;
  let sql: pg.Client;
  let operations: readonly Operation[];
  /** Of all calls that change nothing. */
  let cast: Record<Account, Member>;
  let site: string;
  let outsiders: Record<Outsider, string>;

  beforeAll(async () => {
    [guard, database] = await Promise.all([Guard.start(), freshPostgres()]);
    sql = new pg.Client({ connectionString: database.url });
    await sql.connect();
    program = await Program.start(guard, {
      dataDir: join(guard.directory, 'data'),
      env: {
        DATABASE_URL: database.url,
        EVENT_STORE: 'postgres',
        JWT_SECRET: SECRET,
        ALLOW_REGISTRATION: 'true',
      },
    });
    operations = await operationsOf(program.url);
    const [instanceAdmin, owner] = [await signUp(), await signUp()];
    site = await createSite(owner);
    cast = {
      stranger: await signUp(),
      viewer: await member(site, 'viewer'),
      'member admin': await member(site, 'admin'),
      owner,
      'instance admin': instanceAdmin,
    };
    outsiders = await outsidersLike(owner, instanceAdmin);
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
    request: { path: string; body?: string },
    token: string,
  ): Promise<Answer> => {
    const answer = await fetch(program.url + request.path, {
      method,
      headers: {
        origin: 'https://gate.example',
        ...(token === '' ? {} : { authorization: `Bearer ${token}` }),
        ...(request.body === undefined ? {} : { 'content-type': 'application/json' }),
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

  const createSite = async (owner: Member): Promise<string> =>
    (await post(Created, 'websites', { name: 'Gate', url: 'https://gate.example' }, owner.access)).data.id;

  const member = async (siteId: string, role: 'viewer' | 'admin'): Promise<Member> => {
    const account = await signUp();
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
    };
  };

  /** An account and a site of this call's own, since the call may end the one or the other. */
  const castOnce = async (kind: Account): Promise<{ token: string; siteId: string }> => {
    if (kind === 'owner') {
      const owner = await signUp();
      return { token: owner.access, siteId: await createSite(owner) };
    }
    const siteId = await createSite(cast.owner);
    if (kind === 'viewer') return { token: (await member(siteId, 'viewer')).access, siteId };
    if (kind === 'member admin') return { token: (await member(siteId, 'admin')).access, siteId };
    const account = await signUp();
    if (kind === 'instance admin')
      await sql.query("UPDATE users SET role = 'admin' WHERE id = $1", [account.id]);
    return { token: account.access, siteId };
  };

  const callAs = async (kind: Account, operation: Operation): Promise<Answer> => {
    const { token, siteId } =
      operation.method === 'GET' ? { token: cast[kind].access, siteId: site } : await castOnce(kind);
    return call(operation.method, operation.request(siteId), token);
  };

  const isPublic = ({ access }: Operation) => access === 'public';

  const isAdmitted = ({ status, code }: Answer) =>
    status < 500 && status !== 401 && status !== 403 && code !== 'website_not_found';

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
      for (const kind of ACCOUNTS) {
        const answer = await callAs(kind, operation);
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
