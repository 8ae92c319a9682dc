import fc from 'fast-check';
import { DateTime } from 'luxon';
import { describe, expect, it } from 'vitest';
import { AppError } from '../errors.js';
import {
  dayStarts,
  formatDate,
  hourStarts,
  localDay,
  parseDate,
  periodOf,
  previousPeriod,
  zoneOf,
} from './period.js';

const HOUR = 3_600_000;
const ZONES = [
  'UTC',
  'Europe/Berlin',
  'America/New_York',
  'America/St_Johns',
  'America/Sao_Paulo',
  'America/Havana',
  'Africa/Cairo',
  'Asia/Beirut',
  'Asia/Kathmandu',
  'Asia/Kolkata',
  'Australia/Lord_Howe',
  'Pacific/Apia',
  'Pacific/Kiritimati',
  'Pacific/Marquesas',
  'Antarctica/Troll',
];
const zone = fc.constantFrom(...ZONES).map(zoneOf);
const instant = fc.integer({ min: Date.parse('2009-01-01'), max: Date.parse('2030-01-01') });
const settings = { seed: 7, numRuns: 300 };

const at = (text: string, name: string) => DateTime.fromISO(text, { zone: name }).toMillis();

describe('periods', () => {
  it('begin and end as the wall clock says', () => {
    const now = at('2026-10-25T14:37:12.345', 'Europe/Berlin');
    const period = periodOf({ days: 7 }, zoneOf('Europe/Berlin'), now);
    expect(period.from).toBe(at('2026-10-19T00:00', 'Europe/Berlin'));
    expect(period.to).toBe(now + 1);
    const previous = previousPeriod(period, now);
    expect(previous.from).toBe(at('2026-10-12T00:00', 'Europe/Berlin'));
    expect(previous.to).toBe(at('2026-10-18T14:37:12.346', 'Europe/Berlin'));
  });

  it('with dates end at the last midnight, and are compared with whole days', () => {
    const now = at('2026-11-10T12:00', 'America/New_York');
    const period = periodOf({ from: '2026-11-01', to: '2026-11-01' }, zoneOf('America/New_York'), now);
    expect(period.to - period.from).toBe(25 * HOUR);
    const previous = previousPeriod(period, now);
    expect([previous.from, previous.to]).toEqual([
      at('2026-10-31T00:00', 'America/New_York'),
      at('2026-11-01T00:00', 'America/New_York'),
    ]);
  });

  it('in the future are empty', () => {
    const now = at('2026-01-01T12:00', 'UTC');
    const period = periodOf({ from: '2026-02-01', to: '2026-02-03' }, zoneOf('UTC'), now);
    expect(period.to).toBe(period.from);
    const previous = previousPeriod(period, now);
    expect(previous.to).toBe(previous.from);
  });

  it.each([
    [{ from: '2026-02-30', to: '2026-03-01' }],
    [{ from: '2026-03-02', to: '2026-03-01' }],
    [{ from: '2010-01-01', to: '2026-03-01' }],
    [{ from: '2026-3-1', to: '2026-03-01' }],
    [{ from: '0001-01-01', to: '0001-01-02' }],
  ])('refuse %o', (range) => {
    expect(() => periodOf(range, zoneOf('UTC'), Date.now())).toThrow(AppError);
  });

  it('is one zone in every spelling', () => {
    for (const name of ['Europe/Berlin', 'US/Pacific', 'UTC', 'Etc/GMT+5'])
      for (const spelling of [name.toLowerCase(), name.toUpperCase()])
        expect(zoneOf(spelling), spelling).toBe(zoneOf(name));
    expect(zoneOf('us/pacific').name).not.toBe('us/pacific');
    // Sent by browsers that cannot tell theirs.
    expect(zoneOf('Etc/Unknown')).toEqual(zoneOf('UTC'));
  });

  it.each(['Mars/Olympus', '+02:00', '', '../etc/passwd', "UTC'--", 'x'.repeat(100)])(
    'refuse the zone %s',
    (name) => {
      expect(() => zoneOf(name)).toThrow(AppError);
    },
  );
});

describe('days', () => {
  it.each([
    ['America/Sao_Paulo', '2018-11-04', '2018-11-04T01:00:00.000-02:00', 23],
    ['America/Havana', '2026-11-01', '2026-11-01T00:00:00.000-04:00', 25],
    ['Europe/Berlin', '2026-03-29', '2026-03-29T00:00:00.000+01:00', 23],
    ['Australia/Lord_Howe', '2026-10-04', '2026-10-04T00:00:00.000+10:30', 23.5],
    ['Pacific/Apia', '2011-12-30', '2011-12-31T00:00:00.000+14:00', 0],
  ])('of %s: %s begins at %s and has %d hours', (name, date, begin, hours) => {
    const [start = 0, end = 0] = dayStarts(periodOf({ from: date, to: date }, zoneOf(name), Date.now()));
    expect(start).toBe(Date.parse(begin));
    expect((end - start) / HOUR).toBe(hours);
  });

  it('begin at the first instant that the calendar shows them, in all zones', () => {
    fc.assert(
      fc.property(zone, instant, fc.integer({ min: 1, max: 60 }), (zone, now, days) => {
        const period = periodOf({ days }, zone, now);
        const starts = dayStarts(period);
        expect(starts).toHaveLength(days + 1);
        starts.forEach((start, i) => {
          expect(localDay(zone, start)).toBeGreaterThanOrEqual(period.firstDay + i);
          expect(localDay(zone, start - 1)).toBeLessThan(period.firstDay + i);
        });
        expect(starts[0]).toBe(period.from);
        expect(starts[days]).toBeGreaterThan(now);
      }),
      settings,
    );
  });
});

describe('hours', () => {
  it.each([
    ['Europe/Berlin', '2026-10-25', 25],
    ['Europe/Berlin', '2026-03-29', 23],
    ['Asia/Kolkata', '2026-03-29', 24],
    ['Australia/Lord_Howe', '2026-04-05', 25],
  ])('of %s on %s are %d', (name, date, hours) => {
    const starts = hourStarts(periodOf({ from: date, to: date }, zoneOf(name), Date.now()));
    expect(starts).toHaveLength(hours + 1);
  });

  it('part the day without gap, none longer than an hour, each within one hour of the wall clock', () => {
    fc.assert(
      fc.property(zone, instant, (zone, now) => {
        const period = periodOf({ days: 1 }, zone, now);
        const starts = hourStarts(period);
        expect([starts[0], starts.at(-1)]).toEqual(dayStarts(period));
        starts.slice(1).forEach((next, i) => {
          const start = starts[i] ?? 0;
          expect(next).toBeGreaterThan(start);
          expect(next - start).toBeLessThanOrEqual(HOUR);
          const hour = (time: number) => DateTime.fromMillis(time, { zone }).toFormat('yyyy-MM-dd HH ZZ');
          expect(hour(next - 1)).toBe(hour(start));
        });
      }),
      settings,
    );
  });
});

it('reads and writes dates', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 100_000 }), (day) => {
      expect(parseDate(formatDate(day))).toBe(day);
    }),
    settings,
  );
});
