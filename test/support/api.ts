/** A client of the REST API as far as the tests need it: the first account, websites, numbers. */
import Type, { type Static, type TSchema } from 'typebox';
import { Value } from 'typebox/value';
import { until } from './wait.js';

const Tokens = Type.Object({
  data: Type.Object({ tokens: Type.Object({ access_token: Type.String() }) }),
});
const Created = Type.Object({ data: Type.Object({ id: Type.String(), site_id: Type.String() }) });

const Dashboard = Type.Object({
  page_views: Type.Number(),
  unique_visitors: Type.Number(),
  total_visitors: Type.Number(),
  live_visitors: Type.Number(),
  bounce_rate: Type.Number(),
  session_duration: Type.Number(),
});

const BooksSchema = Type.Object({
  received: Type.Number(),
  stored: Type.Number(),
  duplicate: Type.Number(),
  bot: Type.Number(),
  rejected: Type.Number(),
  quarantined: Type.Number(),
  balanced: Type.Boolean(),
});
/** What became of the events that a site was sent. */
export type Books = Static<typeof BooksSchema>;

export interface Site {
  /** UUID. */
  readonly id: string;
  /** 24 hex characters. */
  readonly siteId: string;
  readonly host: string;
}

export const account = { name: 'Test', email: 'owner@shop.example', password: 'correct horse battery' };

export class Api {
  readonly #url: () => string;

  private constructor(
    url: () => string,
    /** Access token of the account. */
    readonly token: string,
  ) {
    this.#url = url;
  }

  /** Creates the first account and signs in. */
  static async register(url: () => string): Promise<Api> {
    await call(`${url()}/api/v1/user/auth/register`, { method: 'POST', body: account });
    return Api.login(url);
  }

  static async login(url: () => string): Promise<Api> {
    const { email, password } = account;
    const answer = await call(`${url()}/api/v1/user/auth/login`, {
      method: 'POST',
      body: { email, password },
    });
    return new Api(url, parse(Tokens, answer).data.tokens.access_token);
  }

  async createSite(host: string): Promise<Site> {
    const answer = await this.#request('POST', 'user/websites', { name: host, url: `https://${host}` });
    const { id, site_id } = parse(Created, answer).data;
    return { id, siteId: site_id, host };
  }

  /** GET of a path beneath `/api/v1/`, checked against a schema. */
  async get<Schema extends TSchema>(schema: Schema, path: string): Promise<Static<Schema>> {
    return parse(schema, await this.#request('GET', path));
  }

  dashboard(site: Site, query = ''): Promise<Static<typeof Dashboard>> {
    return this.get(Dashboard, `analytics/dashboard/${site.id}?days=30${query}`);
  }

  /** What became of the events that the site was sent. */
  books(site: Site): Promise<Books> {
    return this.get(BooksSchema, `websites/${site.id}/ingestion`);
  }

  /**
   * The books, as soon as they know of so many events. Figures that were asked for before serve for some seconds, so whoever waits for a
   * number asks here first.
   */
  booked(site: Site, received: number): Promise<Books> {
    const probe = async () => {
      const books = await this.books(site);
      return books.received >= received && books;
    };
    return until(probe, { what: `${received} events to be booked` });
  }

  #request(method: string, path: string, body?: unknown): Promise<unknown> {
    return call(`${this.#url()}/api/v1/${path}`, { method, body, token: this.token });
  }
}

function parse<Schema extends TSchema>(schema: Schema, value: unknown): Static<Schema> {
  if (!Value.Check(schema, value)) throw new Error(`unexpected answer: ${JSON.stringify(value)}`);
  return value;
}

async function call(
  url: string,
  options: { readonly method: string; readonly body?: unknown; readonly token?: string },
): Promise<unknown> {
  const request = {
    method: options.method,
    headers: {
      'content-type': 'application/json',
      ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }),
    },
    ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
    signal: AbortSignal.timeout(30_000),
  };
  // The server closes a connection that was quiet for ten seconds, perhaps in the moment in which it is used again.
  const answer = await fetch(url, request).catch((error: unknown) => {
    if (options.method !== 'GET') throw error;
    return fetch(url, request);
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${options.method} ${url}: ${answer.status} ${text}`);
  return JSON.parse(text);
}
