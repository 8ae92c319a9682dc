/** What becomes of visitors' addresses, by the site's settings, of the whole program on both event stores. */
import Type from 'typebox';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFailed } from 'vitest';
import type { Site } from '../support/api.js';
import { until } from '../support/wait.js';
import { type PrivacyProgram, parse, startPrivacyProgram } from './privacy-program.js';

/** In Great Britain. */
const ADDRESS = '81.2.69.142';
const NETWORK = '81.2.69.0';
const IPV6 = '2a02:1205:1234:5678:9abc:def0:1234:5678';

const Policies = Type.Object({
  data: Type.Array(
    Type.Object({
      data_type: Type.String(),
      retention_period: Type.Number(),
      website_id: Type.Union([Type.String(), Type.Null()]),
    }),
  ),
});
const Updated = Type.Object({ data: Type.Object({ settings: Type.Object({ ipHandling: Type.String() }) }) });

describe.each(['clickhouse', 'postgres'] as const)('addresses of visitors on %s', (kind) => {
  let node: PrivacyProgram;

  beforeAll(async () => {
    node = await startPrivacyProgram(kind);
  });
  beforeEach(() => onTestFailed(() => node.program.showLog()));
  afterAll(() => node?.stop());

  const visitorOf = (address: string) => `v${address.length}`;
  const visit = async (site: Site, address = ADDRESS) => {
    const body = { website_id: site.siteId, visitor_id: visitorOf(address), page: '/' };
    const headers = { 'x-forwarded-for': address };
    expect((await node.send('analytics/event', body, headers)).status).toBe(201);
    const [row] = await until(
      async () => {
        const rows = await node.rows(
          `SELECT ip_address, country_code FROM events WHERE site_id = '${site.siteId}' AND visitor_id = '${visitorOf(address)}'`,
        );
        return rows.length === 1 ? rows : undefined;
      },
      { what: 'the event' },
    );
    return row;
  };

  it('are dropped after the look-up of the place, unless the site says otherwise', async () => {
    expect(await visit(await node.site())).toEqual({ ip_address: '', country_code: 'GB' });
    expect(await visit(await node.site({ ipHandling: 'drop' }))).toMatchObject({ ip_address: '' });
    // A cut look-up stores no more.
    expect(await visit(await node.site({ useIpAnonymization: true }))).toMatchObject({ ip_address: '' });
  });

  it('are cut to their network, or kept whole, where the site asks for it', async () => {
    const cut = await node.site({ ipHandling: 'truncate' });
    expect(await visit(cut)).toEqual({ ip_address: NETWORK, country_code: 'GB' });
    expect(await visit(cut, IPV6)).toMatchObject({ ip_address: '2a02:1205:1234::' });
    const whole = await node.site({ ipHandling: 'keep' });
    expect(await visit(whole)).toEqual({ ip_address: ADDRESS, country_code: 'GB' });
    expect(await visit(whole, IPV6)).toMatchObject({ ip_address: IPV6 });
    const stored = JSON.stringify(await node.rows(`SELECT * FROM events WHERE site_id = '${cut.siteId}'`));
    expect(stored).toContain(NETWORK);
    for (const address of [ADDRESS, IPV6]) expect(stored).not.toContain(address);
    // The original's switch wins over keeping.
    const both = await node.site({ ipHandling: 'keep', useIpAnonymization: true });
    expect(await visit(both)).toMatchObject({ ip_address: NETWORK });
  });

  it('are a setting with three values, of which the retention policies tell', async () => {
    const site = await node.site();
    const path = `user/websites/${site.id}`;
    for (const ipHandling of ['truncate', 'keep', 'drop']) {
      const answer = await node.call('PUT', path, { settings: { ipHandling } });
      expect(parse(Updated, answer.body).data.settings.ipHandling).toBe(ipHandling);
    }
    expect((await node.call('PUT', path, { settings: { ipHandling: 'sell' } })).status).toBe(400);
    const days = async () => {
      const { body } = await node.call('GET', 'privacy/retention-policies');
      return parse(Policies, body).data.find(
        ({ data_type, website_id }) => data_type === 'IP Addresses' && website_id === site.id,
      )?.retention_period;
    };
    expect(await days()).toBe(0);
    await node.call('PUT', path, { settings: { ipHandling: 'keep', dataRetentionDays: 30 } });
    expect(await days()).toBe(30);
  });
});
