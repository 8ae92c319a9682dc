import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { silentTelemetry } from '../telemetry.js';
import { docsPage } from './docs-page.js';
import { openApiDocument } from './openapi.js';
import { type AnyRoute, keyScope, route } from './route.js';
import { type PartStatus, systemRoutes } from './routes/system.js';
import { NONE, startApp, type TestApp, testRoutes } from './testing.js';

type Json = Record<string, unknown>;
const record = (value: unknown): Json => {
  if (typeof value !== 'object' || value === null) throw new Error(`no object: ${JSON.stringify(value)}`);
  return Object.fromEntries(Object.entries(value));
};

let parts: () => Promise<readonly PartStatus[]> = async () => [];
const telemetry = silentTelemetry();
const routes: readonly AnyRoute[] = [
  ...testRoutes(),
  route({
    ...{ method: 'GET', path: '/internal', summary: 'For another program', tag: 'test', bucket: 'internal' },
    ...{ cors: 'api', access: 'internal', params: NONE, query: NONE, responses: {} },
    handle: async () => ({ status: 200, body: {} }),
  }),
  ...systemRoutes({
    version: '9.8.7',
    parts: () => parts(),
    registry: telemetry.registry,
    document: () => openApiDocument(routes, { version: '9.8.7' }),
    page: () => docsPage(routes, '9.8.7'),
  }),
];
let test: TestApp;
beforeAll(async () => {
  test = await startApp({ routes, telemetry });
});
afterAll(() => test.app.close());

const json = async (path: string): Promise<[number, Json]> => {
  const response = await fetch(test.url + path);
  return [response.status, record(await response.json())];
};

function securityOf(route: AnyRoute): Json[] {
  if (route.access === 'public') return [];
  if (route.access === 'internal') return [{ service: [] }];
  return keyScope(route) === null ? [{ bearer: [] }] : [{ bearer: [] }, { apiKey: [] }];
}

describe('the OpenAPI document', () => {
  it('has the parts that OpenAPI 3.1 demands', async () => {
    const [status, document] = await json('/api/v1/openapi.json');
    expect(status).toBe(200);
    expect(document).toMatchObject({
      openapi: '3.1.0',
      info: { title: expect.any(String), version: '9.8.7' },
    });
    expect(record(record(document.components).securitySchemes).bearer).toMatchObject({ type: 'http' });
  });

  it('describes every route once, with its parameters and an answer', async () => {
    const [, document] = await json('/api/v1/openapi.json');
    const paths = record(document.paths);
    const ids: unknown[] = [];
    for (const route of routes) {
      const path = route.path.replace(/:(\w+)/g, '{$1}');
      const operation = record(record(paths[path])[route.method.toLowerCase()]);
      ids.push(operation.operationId);
      expect(Object.keys(record(operation.responses))).toContain('default');
      expect(operation.security).toEqual(securityOf(route));
      expect(operation['x-access']).toBe(
        typeof route.access === 'string' ? route.access : `site:${route.access.site}`,
      );
      const named = (Array.isArray(operation.parameters) ? operation.parameters : []).map(record);
      const inPath = named.filter((parameter) => parameter.in === 'path').map((parameter) => parameter.name);
      expect(inPath).toEqual([...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]));
      expect(operation.requestBody !== undefined).toBe(route.body !== undefined);
    }
    expect(new Set(ids).size).toBe(routes.length);
  });

  it('refers only to what it has', async () => {
    const [, document] = await json('/api/v1/openapi.json');
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g)].map(
      (match) => match[1] ?? '',
    );
    expect(references.length).toBeGreaterThan(0);
    for (const reference of references) {
      let node: unknown = document;
      for (const step of reference.split('/')) node = record(node)[step];
      expect(node).toBeDefined();
    }
  });

  it('tells types and whether a query parameter is needed', async () => {
    const [, document] = await json('/api/v1/openapi.json');
    const operation = record(record(record(document.paths)['/query/{id}']).get);
    expect(operation.parameters).toContainEqual(
      expect.objectContaining({ name: 'filter', in: 'query', required: false, schema: { type: 'string' } }),
    );
  });
});

describe('the system routes', () => {
  const part = (state: PartStatus['state'], required = true): PartStatus => ({
    name: 'metadata',
    adapter: 'postgres',
    embedded: true,
    state,
    required,
    backlog: 3,
    lagSeconds: 0.5,
  });
  /** Answers of the parts serve for half a second. */
  const startWith = async (state: () => Promise<readonly PartStatus[]>) => {
    const own = silentTelemetry();
    const app = await startApp({
      telemetry: own,
      routes: systemRoutes({
        version: '1',
        parts: state,
        registry: own.registry,
        document: () => ({}),
        page: () => '',
      }),
    });
    const ask = async (path: string): Promise<[number, Json]> => {
      const response = await fetch(app.url + path);
      return [response.status, record(await response.json())];
    };
    return { ask, close: () => app.app.close() };
  };

  it('say healthy in the words of the original', async () => {
    const { ask, close } = await startWith(async () => [part('up')]);
    const [status, body] = await ask('/health');
    expect([status, body]).toMatchObject([
      200,
      { status: 'healthy', database: 'connected', postgres: 'available', partitions: true, version: '1' },
    ]);
    expect(new Date(String(body.timestamp)).getTime()).toBeGreaterThan(0);
    await close();
  });

  it('describe the API in a text that is made once, however often it is asked for', async () => {
    let made = 0;
    const count = () => {
      made++;
      return String(made);
    };
    const own = { version: '1', parts: async () => [], registry: silentTelemetry().registry };
    const { app, url } = await startApp({ routes: systemRoutes({ ...own, document: count, page: count }) });
    for (let n = 0; n < 3; n++)
      for (const path of ['/api/v1/openapi.json', '/docs'])
        expect((await fetch(url + path)).status).toBe(200);
    expect(made).toBe(2);
    await app.close();
  });

  it('are alive but not ready while a needed part is down', async () => {
    const { ask, close } = await startWith(async () => [part('down')]);
    expect(await ask('/health')).toMatchObject([200, { database: 'disconnected' }]);
    expect(await ask('/ready')).toMatchObject([
      503,
      { status: 'not_ready', parts: [{ state: 'down', backlog: 3 }] },
    ]);
    await close();
  });

  it('are ready with a part that is degraded or not needed', async () => {
    const { ask, close } = await startWith(async () => [part('degraded'), part('down', false)]);
    expect(await ask('/ready')).toMatchObject([200, { status: 'ready', parts: [{ lagSeconds: 0.5 }, {}] }]);
    await close();
  });

  it('answer when the parts fail or hang', async () => {
    for (const state of [
      () => Promise.reject(new Error('no')),
      () => new Promise<never>(() => undefined),
      () => {
        throw new Error('no');
      },
    ]) {
      const { ask, close } = await startWith(state);
      expect((await ask('/health'))[0]).toBe(200);
      expect((await ask('/ready'))[0]).toBe(503);
      await close();
    }
  });

  it('serve the metrics only to who brings the token, when there is one', async () => {
    const own = silentTelemetry();
    const { app, url } = await startApp({
      telemetry: own,
      routes: systemRoutes({
        ...{
          version: '1',
          parts: async () => [],
          registry: own.registry,
          document: () => ({}),
          page: () => '',
        },
        metricsToken: 'a token',
      }),
    });
    const ask = async (authorization?: string) => {
      const headers = authorization === undefined ? {} : { authorization };
      const response = await fetch(`${url}/metrics`, { headers });
      return [response.status, (await response.text()).includes('seentics_')];
    };
    expect(await ask('Bearer a token')).toEqual([200, true]);
    for (const wrong of [undefined, '', 'Bearer', 'Bearer a toke', 'Bearer a tokenn', 'Bearer owner']) {
      expect(await ask(wrong)).toEqual([401, false]);
    }
    await app.close();
  });

  it('serve the metrics as text', async () => {
    parts = async () => [part('up')];
    const response = await fetch(`${test.url}/metrics`);
    expect(response.headers.get('content-type')).toContain('text/plain');
    expect(await response.text()).toContain('# TYPE seentics_http_request_duration_seconds histogram');
  });
});
