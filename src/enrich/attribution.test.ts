import fc from 'fast-check';
import { expect, it } from 'vitest';
import { AttributionCache } from './attribution.js';

const site = (host: string) => ({ key: `65f1a2b3c4d5e6f7a8b9c0d1\t${host}`, host, allowedHosts: [] });

it('answers from memory what it would make anew', () => {
  const pick = (...texts: string[]) => fc.constantFrom(...texts);
  const label = pick('', '', '', '', 'a', 'b', 'ab');
  const event = fc.record({
    site: pick('example.com', 'shop.example').map(site),
    referrer: pick('', 'https://www.google.com/', 'https://t.co/a ', 'https://t.co/a ?utm_source=a', 'a'),
    pageHost: pick('', 'example.com'),
    query: pick('', '?x=1', '?utm_source=a', '?utm_medium=cpc&gclid=1', '?gclid=1', '?gclid=2', '?fbclid=1'),
    explicit: fc.option(
      fc.record({
        utm_source: label,
        utm_medium: label,
        utm_campaign: label,
        utm_term: label,
        utm_content: label,
      }),
      { freq: 1 },
    ),
  });
  fc.assert(
    fc.property(fc.array(event, { minLength: 60, maxLength: 120 }), (events) => {
      const cache = new AttributionCache(40);
      for (const { site: of, referrer, pageHost, query, explicit } of events) {
        const made = new AttributionCache(40).block(of, referrer, pageHost, query, explicit);
        const answered = cache.block(of, referrer, pageHost, query, explicit);
        expect(Buffer.from(answered).toString('hex')).toBe(Buffer.from(made).toString('hex'));
      }
    }),
    { seed: 7, numRuns: 100 },
  );
});
