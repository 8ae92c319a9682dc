import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NOW, SITE } from '../../test/support/enrich-request.js';
import { writtenRows } from '../../test/support/written-rows.js';
import { MAX_FUNNEL_EVENTS, writeFunnelEvents } from './funnel-events.js';
import type { RecordContext } from './record-kind.js';

/** As the original tracker sends it. */
const PROGRESS = {
  funnel_id: '0b7b9ad0-5f0c-4c55-8f0e-1f2a3b4c5d6e',
  website_id: SITE.siteId,
  visitor_id: 'visitor',
  session_id: 'session',
  started_at: new Date(NOW - 60_000).toISOString(),
  timestamp: new Date(NOW).toISOString(),
  event_type: 'progress',
  step_name: 'Cart',
  current_step: 2,
  completed_steps: [1, 2],
};

const write = (events: readonly unknown[], changes: Partial<RecordContext> = {}) =>
  writtenRows({ write: writeFunnelEvents, table: 'funnel_events', source: 'funnel' }, events, changes);

const only = (changes: object, around: Partial<RecordContext> = {}) => {
  const { decoded, errors } = write([{ ...PROGRESS, ...changes }], around);
  const [row] = decoded;
  if (row === undefined) throw new Error(JSON.stringify(errors));
  return row;
};

describe('a funnel event', () => {
  it('becomes a row', () => {
    expect(only({})).toEqual({
      event_id: expect.stringMatching(/^[0-9a-f]{32}$/),
      timestamp: NOW,
      received_at: NOW + 500,
      site_id: SITE.siteId,
      funnel_id: PROGRESS.funnel_id,
      visitor_id: 'visitor',
      session_id: 'session',
      event_type: 'progress',
      step_name: 'Cart',
      current_step: 2,
      completed_steps: '[1,2]',
      started_at: NOW - 60_000,
      converted: 0,
      lookup: false,
    });
    expect(only({ event_type: 'conversion' }).converted).toBe(1);
  });

  it('has the same id when it comes again, and another one for anything else that happened', () => {
    let receivedAt = NOW;
    const id = (changes: object) => only(changes, { receivedAt: ++receivedAt }).event_id;
    expect(id({})).toBe(id({ converted: false }));
    expect(id({ timestamp: undefined })).toBe(id({ timestamp: '' }));
    const others = [
      { funnel_id: 'other' },
      { visitor_id: 'other' },
      { session_id: 'other' },
      { event_type: 'dropoff' },
      { current_step: 3 },
      { timestamp: new Date(NOW + 1).toISOString() },
      { started_at: new Date(NOW - 1).toISOString() },
    ].map(id);
    expect(new Set([id({}), ...others]).size).toBe(others.length + 1);
    const untimed = { timestamp: undefined, started_at: undefined };
    expect(id(untimed)).not.toBe(id(untimed));
  });

  it('has its clock set right', () => {
    const ahead = only({ timestamp: new Date(NOW + 120_000).toISOString() });
    expect([ahead.timestamp, ahead.lookup]).toEqual([NOW + 500, true]);
    expect(only({ timestamp: NOW / 1000 }).timestamp).toBe(NOW);
    expect(only({ timestamp: null })).toMatchObject({ timestamp: NOW + 500, lookup: true });
    expect(only({ started_at: 'never' }).started_at).toBe(NOW);
    expect(only({ started_at: new Date(NOW + 1).toISOString() }).started_at).toBe(NOW);
  });

  it('is cut to its limits', () => {
    const long = only({ funnel_id: 'f'.repeat(999), step_name: 's'.repeat(999), current_step: 1e9 });
    expect([long.funnel_id.length, long.step_name.length, long.current_step]).toEqual([255, 255, 65_535]);
    expect(JSON.parse(only({ completed_steps: Array(500).fill('x') }).completed_steps)).toEqual(
      Array(100).fill(0),
    );
  });

  it.each([
    ['not_an_object', null],
    ['not_an_object', []],
    ['missing_field', { ...PROGRESS, funnel_id: ' ' }],
    ['missing_field', { ...PROGRESS, visitor_id: 7 }],
    ['missing_field', { ...PROGRESS, session_id: {} }],
    // No key of the day is at hand here.
    ['missing_field', { ...PROGRESS, visitor_id: undefined }],
    ['invalid_value', { ...PROGRESS, event_type: 'finish' }],
    ['invalid_timestamp', { ...PROGRESS, timestamp: 'yesterday' }],
    ['invalid_timestamp', { ...PROGRESS, timestamp: {} }],
    ['stale', { ...PROGRESS, timestamp: new Date(NOW - 31 * 86_400_000).toISOString() }],
  ])('is refused as %s without its neighbours', (code, event) => {
    const { decoded, received, rejected, errors } = write([PROGRESS, event, PROGRESS]);
    expect([decoded.length, received, rejected]).toEqual([2, 3, 1]);
    expect(errors).toMatchObject([{ index: 1, code }]);
  });

  it('of a crawler is refused, of a server that forwards it not', () => {
    const crawler = 'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)';
    expect(write([PROGRESS], { userAgent: crawler }).errors).toMatchObject([{ code: 'bot_agent' }]);
    expect(write([PROGRESS], { userAgent: 'axios/1.7' }).rowCount).toBe(1);
  });
});

describe('a request', () => {
  it('has at most a thousand events taken', () => {
    const events = Array.from({ length: MAX_FUNNEL_EVENTS + 3 }, (_, i) => ({
      ...PROGRESS,
      current_step: i,
    }));
    const { rowCount, rejected, errors } = write(events);
    expect([rowCount, rejected, errors[0]?.code]).toEqual([1_000, 3, 'batch_too_large']);
  });

  it('of junk never throws, and is accounted for', () => {
    const junk = fc.oneof(fc.anything(), fc.string(), fc.constant(PROGRESS.timestamp), fc.constant('start'));
    const names = Object.keys(PROGRESS).map((name) => [name, junk] as const);
    const event = fc.oneof(
      fc.anything(),
      fc.record(Object.fromEntries(names), { requiredKeys: [] }),
      fc.record(Object.fromEntries(names)).map((fields) => ({
        ...PROGRESS,
        current_step: fields.current_step,
        step_name: fields.step_name,
        completed_steps: fields.completed_steps,
        started_at: fields.started_at,
      })),
    );
    let good = 0;
    fc.assert(
      fc.property(fc.array(event, { maxLength: 6 }), (events) => {
        // What comes from a request came as JSON.
        const parsed: unknown = JSON.parse(
          JSON.stringify(events, (_, value) => (typeof value === 'bigint' ? 0 : value)),
        );
        if (!Array.isArray(parsed)) throw new Error('unreachable');
        const { decoded, rowCount, received, rejected } = write(parsed);
        expect(received).toBe(parsed.length);
        expect(rowCount + rejected).toBe(received);
        expect(decoded).toHaveLength(rowCount);
        good += rowCount;
        for (const row of decoded) expect(row.started_at).toBeLessThanOrEqual(row.timestamp);
      }),
      { seed: 42, numRuns: 500 },
    );
    expect(good).toBeGreaterThan(100);
  });
});
