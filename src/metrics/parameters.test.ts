import { describe, expect, it } from 'vitest';
import { type AnalyticsQuery, parseParameters } from './parameters.js';

const NOW = Date.parse('2026-11-02T03:37:12.345Z');
const parse = (query: AnalyticsQuery) => parseParameters(query, 7, NOW);

describe('parseParameters', () => {
  it('has defaults, also for empty texts', () => {
    expect(parse({ days: '', limit: ' ', timezone: '', from: '' })).toMatchObject({
      timezone: 'UTC',
      limit: 10,
      filters: [],
      period: { days: 7, to: NOW + 1 },
    });
  });

  it('takes the bounds', () => {
    expect(parse({ days: '3650', limit: '1000' })).toMatchObject({ limit: 1000, period: { days: 3650 } });
    expect(parse({ days: '1', limit: '1' })).toMatchObject({ limit: 1, period: { days: 1 } });
  });

  it('lets dates win over days', () => {
    expect(parse({ days: '3', from: '2026-01-01', to: '2026-01-31' }).period.days).toBe(31);
  });

  it.each<AnalyticsQuery>([
    { days: '0' },
    { days: '-1' },
    { days: '3651' },
    { days: '7.5' },
    { days: '1e3' },
    { days: 'seven' },
    { days: '٣' },
    { days: '99999999999999999999' },
    { limit: '0' },
    { limit: '1001' },
    { limit: 'all' },
    { timezone: 'Europe/Atlantis' },
    { timezone: '+02:00' },
    { from: '2026-01-01' },
    { to: '2026-01-01' },
    { from: '2026-01-02', to: '2026-01-01' },
    { from: 'yesterday', to: 'today' },
    { city: 'x'.repeat(2049) },
  ])('refuses %o', (query) => {
    expect(() => parse(query)).toThrow(expect.objectContaining({ code: 'invalid_parameter' }));
  });
});
