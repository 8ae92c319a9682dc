/** Periods of the product beside those of the naive reference, where clocks change and whole days later. */
import { IANAZone } from 'luxon';
import { expect, it } from 'vitest';
import { periodOf, previousPeriod, type Range, zoneOf } from '../../src/metrics/period.js';
import { randomOf } from '../support/metrics-events.js';
import * as reference from '../support/reference-period.js';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** Clocks of these change at midnight, by half an hour, by two hours, or in quarters of an hour. */
const ZONES = [
  'Europe/Berlin',
  'America/Havana',
  'Atlantic/Azores',
  'America/Scoresbysund',
  'Africa/Cairo',
  'Asia/Beirut',
  'America/Santiago',
  'Australia/Lord_Howe',
  'Antarctica/Troll',
  'Pacific/Chatham',
  'Asia/Kathmandu',
];

it.each(ZONES)('periods of %s and those before them begin and end as in the reference', (zone) => {
  const random = randomOf(ZONES.indexOf(zone) + 1);
  const clock = IANAZone.create(zone);
  const year = Array.from({ length: 365 }, (_, day) => Date.UTC(2025, 0, 1) + day * DAY);
  const changes = year.filter((at) => clock.offset(at) !== clock.offset(at + DAY));
  for (let i = 0; i < 15; i++) {
    const days = [1, 2, 7][i % 3] ?? 1;
    const at = changes[i % Math.max(1, changes.length)] ?? Date.UTC(2025, 5, 1);
    const now = at + Math.floor(random() * (DAY + 2 * HOUR)) + (i % 2) * days * DAY;
    const date = new Date(at).toISOString().slice(0, 10);
    for (const range of [{ days }, { from: date, to: date }] satisfies Range[]) {
      const asked = { zone, now, range, limit: 10 };
      const period = periodOf(range, zoneOf(zone), now);
      const before = previousPeriod(period, now);
      const bounds = ({ from, to }: { readonly from: number; readonly to: number }) => ({ from, to });
      expect({ zone, now, range, period: bounds(period), before: bounds(before) }).toEqual({
        zone,
        now,
        range,
        period: reference.periodOf(asked),
        before: reference.previousOf(asked),
      });
    }
  }
});
