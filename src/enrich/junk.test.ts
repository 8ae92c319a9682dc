import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { batch, CHROME, one, PAGEVIEW, rowsOf, SITE, send } from '../../test/support/enrich-request.js';

describe('junk', () => {
  it('has NULs and lone surrogates replaced, and nothing else', () => {
    const body = `\ufeff{"website_id":"${SITE.siteId}","visitor_id":"a\\u0000b","page":"/x\\ud800","page_title":"\\u0000","properties":{"k\\u0000":"\\udfff","__proto__":{"x":1}}}`;
    const [first] = rowsOf(send('event', body)).decoded;
    expect(first?.row).toMatchObject({ visitor_id: 'a\ufffdb', page: '/x\ufffd', title: '\ufffd' });
    expect(first?.row.properties).toBe('{"k\ufffd":"\ufffd","__proto__":{"x":1}}');
  });

  it('is cut at the limits', () => {
    const long = 'ü'.repeat(100_000);
    const { row } = one({
      visitor_id: long,
      session_id: long,
      page_view_id: long,
      event_type: long,
      page: `/${long}`,
      page_title: long,
      referrer: `https://other.example/${long}`,
      utm_source: long,
      language: long,
      user_agent: long,
    });
    const lengths = [
      row.visitor_id,
      row.session_id,
      row.page_view_id,
      row.event_type,
      row.page,
      row.title,
      row.referrer,
      row.utm_source,
    ];
    expect(lengths.map((text) => text.length)).toEqual([255, 255, 255, 255, 2048, 512, 2048, 255]);
  });

  it('of any kind never throws, and every event is a row or a rejection', () => {
    const text = fc.string({ unit: 'binary', maxLength: 300 });
    const value = fc.oneof(
      text,
      fc.jsonValue({ stringUnit: 'binary' }),
      fc.webUrl(),
      fc.constantFrom('2025-11-23T12:00:00Z', CHROME, '\u0000'),
    );
    const names = Object.keys(PAGEVIEW).concat(
      'id',
      'properties',
      'utm_source',
      'time_on_page',
      'scroll_depth',
      '__proto__',
      'x',
    );
    const event = fc.oneof(
      { weight: 5, arbitrary: fc.dictionary(fc.constantFrom(...names), value, { noNullPrototype: false }) },
      { weight: 1, arbitrary: fc.jsonValue() },
    );
    fc.assert(
      fc.property(
        fc.array(event, { minLength: 1, maxLength: 8 }),
        text,
        text,
        text,
        (events, userAgent, origin, address) => {
          const outcome = send('batch', batch(events), {
            userAgent,
            address,
            origin: origin.includes('.') ? '' : origin,
          });
          if (outcome.outcome !== 'rows') {
            expect(outcome).toMatchObject({ outcome: 'refused', code: 'origin_not_allowed' });
            return;
          }
          const rows = rowsOf(outcome);
          expect(rows.received).toBe(events.length);
          expect(rows.rowCount + rows.rejected).toBe(events.length);
          expect(rows.errors).toHaveLength(Math.min(10, rows.rejected));
          for (const { row } of rows.decoded) {
            expect(Object.values(row).join('')).not.toContain('\0');
            expect(typeof JSON.parse(row.properties)).toBe('object');
          }
        },
      ),
      { seed: 17, numRuns: 500 },
    );
  });

  it('of bytes never throws', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        expect(['refused', 'rows']).toContain(send('batch', bytes).outcome);
      }),
      { seed: 19, numRuns: 500 },
    );
  });
});
