/**
 * A client of the REST API whose types are made from the OpenAPI document (`npm run client` writes `generated/schema.d.ts`).
 *
 *     const api = createSeenticsClient({ baseUrl: 'http://localhost:3002', token });
 *     const { data, error } = await api.GET('/api/v1/analytics/dashboard/{website_id}', { params: { path: { website_id } } });
 */
import createClient, { type Client } from 'openapi-fetch';
import type { paths } from './generated/schema.js';

export type { paths } from './generated/schema.js';
export type SeenticsClient = Client<paths>;

export interface SeenticsClientOptions {
  /** Address of the instance, without a path. */
  readonly baseUrl: string;
  /** Access token or API key, or how to come by one; asked for before every request. */
  readonly token?: string | (() => string | Promise<string>);
}

export function createSeenticsClient({ baseUrl, token }: SeenticsClientOptions): SeenticsClient {
  const client = createClient<paths>({ baseUrl });
  if (token !== undefined)
    client.use({
      async onRequest({ request }) {
        const value = typeof token === 'string' ? token : await token();
        request.headers.set('Authorization', `Bearer ${value}`);
        return request;
      },
    });
  return client;
}
