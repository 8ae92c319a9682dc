import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseTimestamp, parseUnixTime, utcDay } from './clock.js';

describe('parseTimestamp', () => {
  it.each([
    ['2025-11-23T03:18:00.123Z', Date.UTC(2025, 10, 23, 3, 18, 0, 123)],
    ['2025-11-23t03:18:00z', Date.UTC(2025, 10, 23, 3, 18)],
    ['2025-11-23 03:18:00Z', Date.UTC(2025, 10, 23, 3, 18)],
    ['2025-11-23T03:18:00.123456789Z', Date.UTC(2025, 10, 23, 3, 18, 0, 123)],
    ['2025-11-23T03:18:00.1+05:30', Date.UTC(2025, 10, 22, 21, 48, 0, 100)],
    ['2025-11-22T22:18:00-0500', Date.UTC(2025, 10, 23, 3, 18)],
    ['2024-02-29T00:00:00Z', Date.UTC(2024, 1, 29)],
    ['2016-12-31T23:59:60Z', Date.UTC(2017, 0, 1)],
    ['0001-01-01T00:00:00Z', new Date('0001-01-01T00:00:00Z').getTime()],
    ['9999-12-31T23:59:59Z', Date.UTC(9999, 11, 31, 23, 59, 59)],
  ])('reads %s', (text, ms) => {
    expect(parseTimestamp(text)).toBe(ms);
  });

  it.each([
    '',
    'yesterday',
    '2025-11-23',
    '2025-11-23T03:18',
    '2025-13-01T00:00:00Z',
    '2025-02-29T00:00:00Z',
    '2025-04-31T00:00:00Z',
    '2025-11-23T24:00:00Z',
    '2025-11-23T03:18:00',
    '2025-11-23T03:18:00.Z',
    '10000-01-01T00:00:00Z',
    '1700000000000',
    '2025-02-29T00:00:00.000Z',
    '2025-11-23T24:00:00.000Z',
    '2025-1a-23T03:18:00.123Z',
    '2025-11-23T03:18:00.12xZ',
  ])('refuses %j', (text) => {
    expect(parseTimestamp(text)).toBeNaN();
  });

  it('agrees with the platform on every ISO text', () => {
    fc.assert(
      fc.property(
        fc.date({
          min: new Date('0001-01-01T00:00:00Z'),
          max: new Date('9999-12-31T23:59:59Z'),
          noInvalidDate: true,
        }),
        (date) => {
          expect(parseTimestamp(date.toISOString())).toBe(date.getTime());
        },
      ),
      { seed: 7, numRuns: 500 },
    );
  });
});

describe('other clocks', () => {
  it('tells seconds from milliseconds', () => {
    expect(parseUnixTime(1_700_000_000)).toBe(1_700_000_000_000);
    expect(parseUnixTime(1_700_000_000_000)).toBe(1_700_000_000_000);
    expect(parseUnixTime(Number.POSITIVE_INFINITY)).toBeNaN();
  });

  it('names the UTC day on both sides of midnight', () => {
    expect(utcDay(Date.UTC(2025, 10, 23, 23, 59, 59, 999))).toBe('2025-11-23');
    expect(utcDay(Date.UTC(2025, 10, 24))).toBe('2025-11-24');
    expect(utcDay(Date.UTC(2025, 10, 23))).toBe('2025-11-23');
  });
});
