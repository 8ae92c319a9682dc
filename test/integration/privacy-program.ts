/** The whole program on one of the event stores, one signed-in owner, one site, and a look past it into the store. */
import { join } from 'node:path';
import pg from 'pg';
import Type, { type Static, type TSchema } from 'typebox';
import { Value } from 'typebox/value';
import { Api, account, type Site } from '../support/api.js';
import { freshClickhouse, freshName, freshPostgres } from '../support/fresh.js';
import { Guard } from '../support/guard.js';
import { Program } from '../support/program.js';
import { until } from '../support/wait.js';

export type StoreKind = 'clickhouse' | 'postgres';
export const HOST = 'shop.example';
export const BROWSER =
  'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36';

const SignedIn = Type.Object({
  data: Type.Object({ tokens: Type.Object({ access_token: Type.String() }) }),
});

export interface Answer {
  readonly status: number;
  readonly body: unknown;
  readonly headers: Headers;
}

export function parse<Schema extends TSchema>(schema: Schema, value: unknown): Static<Schema> {
  if (!Value.Check(schema, value)) throw new Error(`unexpected answer: ${JSON.stringify(value)}`);
  return value;
}

export type PrivacyProgram = Awaited<ReturnType<typeof startPrivacyProgram>>;

export async function startPrivacyProgram(kind: StoreKind, more: Readonly<Record<string, string>> = {}) {
  const postgres = await freshPostgres();
  const clickhouse = kind === 'clickhouse' ? await freshClickhouse() : null;
  const sql = new pg.Client({ connectionString: postgres.url });
  await sql.connect();
  const guard = await Guard.start();
  const store =
    clickhouse === null
      ? { EVENT_STORE: 'postgres' }
      : { CLICKHOUSE_URL: clickhouse.url, CLICKHOUSE_DB: clickhouse.database };
  const program = await Program.start(guard, {
    dataDir: join(guard.directory, 'data'),
    env: {
      ...{ DATABASE_URL: postgres.url, ...store, ALLOW_REGISTRATION: 'true' },
      ...{ JWT_SECRET: freshName('a secret that is long enough'), FLUSH_INTERVAL_MS: '50' },
      ...{ TRUSTED_PROXIES: '127.0.0.1', RECORDINGS_FLUSH_MS: '50' },
      ...more,
    },
  });
  const api = await Api.register(() => program.url);

  const request = async (
    method: string,
    path: string,
    body: unknown,
    headers: Record<string, string>,
  ): Promise<Answer> => {
    const answer = await fetch(`${program.url}/api/v1/${path}`, {
      method,
      headers: { 'content-type': 'application/json', ...headers },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      signal: AbortSignal.timeout(30_000),
    });
    const text = await answer.text();
    return {
      status: answer.status,
      body: text === '' ? null : JSON.parse(text),
      headers: answer.headers,
    };
  };
  const signIn = async (email: string, password: string) => {
    const { body } = await request('POST', 'user/auth/login', { email, password }, {});
    return parse(SignedIn, body).data.tokens.access_token;
  };
  const owner = await signIn(account.email, account.password);

  /** Rows of a query past the program; texts and numbers, as the store gives them. */
  const rows = async (query: string): Promise<Record<string, unknown>[]> => {
    if (clickhouse === null) return (await sql.query(query)).rows;
    const url = `${clickhouse.url}/?database=${clickhouse.database}&output_format_json_quote_64bit_integers=0`;
    const answer = await fetch(url, { method: 'POST', body: `${query} FORMAT JSON` });
    const text = await answer.text();
    if (!answer.ok) throw new Error(text);
    return JSON.parse(text).data;
  };
  /** A statement in the event store, past the program. */
  const execute = async (statement: string): Promise<void> => {
    if (clickhouse === null) {
      await sql.query(statement);
      return;
    }
    const url = `${clickhouse.url}/?database=${clickhouse.database}&mutations_sync=2`;
    const answer = await fetch(url, { method: 'POST', body: statement });
    const text = await answer.text();
    if (!answer.ok) throw new Error(text);
  };

  return {
    ...{ kind, program, api, sql, rows, execute, signIn, guard },
    /** As the owner. */
    call: (method: string, path: string, body?: unknown, token = owner) =>
      request(method, path, body, { authorization: `Bearer ${token}` }),
    /** As a tracker on a page of the site. */
    send: (path: string, body: unknown, headers: Record<string, string> = {}) =>
      request('POST', path, body, { 'user-agent': BROWSER, origin: `https://${HOST}`, ...headers }),
    async site(settings: object = {}): Promise<Site> {
      const site = await api.createSite(HOST);
      if (Object.keys(settings).length > 0) {
        const { status, body } = await request(
          'PUT',
          `user/websites/${site.id}`,
          { settings },
          { authorization: `Bearer ${owner}` },
        );
        if (status !== 200) throw new Error(JSON.stringify(body));
      }
      return site;
    },
    /** The site's books, as soon as so many are received and accounted for. */
    booked: (site: Site, received: number) =>
      until(
        async () => {
          const found = await api.books(site);
          return found.received === received && found.balanced ? found : undefined;
        },
        { what: `${received} to be accounted for` },
      ),
    async stop() {
      await program.stop();
      await guard.stop();
      await sql.end();
      await clickhouse?.drop();
      await postgres.drop();
    },
  };
}
