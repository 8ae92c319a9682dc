import { describe, expect, it } from 'vitest';
import type { ExecutionReport } from '../../automations/reports.js';
import { AppError } from '../../errors.js';
import type { Site } from '../../websites/site.js';
import type { RequestInfo } from '../route.js';
import { SITE } from '../testing.js';
import { workflowRoutes } from './workflows.js';

const REQUEST: RequestInfo = {
  ...{ method: 'POST', path: '', address: '192.0.2.1', userAgent: 'UA', origin: '', referer: '' },
  header: () => '',
  signal: new AbortController().signal,
};

function setUp(site: Site | null = SITE, failure?: AppError) {
  const taken: ExecutionReport[] = [];
  const routes = workflowRoutes({
    directory: { peek: () => site, resolve: async () => site },
    automations: { peek: () => undefined, get: () => Promise.reject(new Error('nobody asks')) },
    reports: {
      async take(_, given) {
        if (failure !== undefined) throw failure;
        taken.push(...given);
        return given.length;
      },
    },
    ...{ production: true, bodyLimitBytes: 1_000 },
  });
  const batch = routes.find(({ path }) => path.endsWith('/batch'));
  if (batch?.kind !== 'raw') throw new Error('the batch has a raw route');
  const send = (body: string) => batch.handle({ bytes: Buffer.from(body), request: REQUEST });
  return { batch, taken, send };
}

const refused = (code: string) => ({ status: 200, body: { status: 'rejected', accepted: 0, code } });

describe('a batch of reports', () => {
  it('is taken entry by entry: what is none costs the others nothing', async () => {
    const { send, taken } = setUp();
    const body = `{"website_id":"x","executions":[null,5,"a",[],{"visitorId":"a\\u0000b","executionData":{"\\u0000":"\\u0000"}},{"visitorId":"v"}]}`;
    expect(await send(body)).toEqual({ status: 200, body: { status: 'success', count: 6, accepted: 6 } });
    const nul = { visitorId: 'a\ufffdb', executionData: { '\ufffd': '\ufffd' } };
    expect(taken).toEqual([{}, {}, {}, {}, nul, { visitorId: 'v' }]);
  });

  it('is refused with 200 for what will never be better, so that trackers do not repeat it', async () => {
    const { send, batch } = setUp();
    expect(await send('{')).toMatchObject(refused('invalid_json'));
    for (const body of ['', '[]', '{"executions":[]}', '{"website_id":"x","executions":{}}'])
      expect(await send(body)).toMatchObject(refused('invalid_request'));
    const report = '{"website_id":"x","executions":[{}]}';
    expect(await setUp(null).send(report)).toMatchObject(refused('website_not_found'));
    expect(await setUp({ ...SITE, isActive: false }).send(report)).toMatchObject(refused('website_inactive'));
    const off = setUp({ ...SITE, automationEnabled: false });
    expect(await off.send(report)).toMatchObject(refused('feature_disabled'));
    expect(batch.refuse?.(new AppError('body_too_large', 'x'))).toMatchObject(refused('body_too_large'));
  });

  it('is to be repeated when it may be taken later', async () => {
    const { send } = setUp(SITE, new AppError('storage_unavailable', 'away'));
    await expect(send('{"website_id":"x","executions":[{}]}')).rejects.toMatchObject({
      code: 'storage_unavailable',
    });
  });
});
