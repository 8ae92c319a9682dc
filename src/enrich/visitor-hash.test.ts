import { describe, expect, it } from 'vitest';
import { dayOf, MadeVisitor, type Sender } from './visitor-hash.js';

const DAY = 86_400_000;
const TODAY = Date.UTC(2026, 4, 20);
const salt = (day: number, fill: number) => ({ day, key: new Uint8Array(32).fill(fill) });
const SALTS = [salt(TODAY, 1), salt(TODAY - DAY, 2)];
const SENDER: Sender = {
  ...{ siteId: 'a'.repeat(24), address: '203.0.113.7', userAgent: 'Firefox' },
  receivedAt: TODAY + 3_600_000,
};
const made = (changes: Partial<Sender> = {}, salts = SALTS, timestamp = SENDER.receivedAt) =>
  new MadeVisitor({ ...SENDER, ...changes }, salts).at(timestamp);

describe('the id of a visitor who brings none', () => {
  it('is the same all day and in every process, 128 bits of hex', () => {
    expect(made()).toMatch(/^[0-9a-f]{32}$/);
    expect(made({}, SALTS, TODAY + DAY - 1)).toBe(made());
    expect(made({}, [...SALTS].reverse())).toBe(made());
  });

  it('differs by site, address, agent, day and key, however texts are cut', () => {
    const ids = [
      made(),
      made({ siteId: 'b'.repeat(24) }),
      made({ address: '203.0.113.8' }),
      made({ userAgent: 'Chrome' }),
      made({ address: '203.0.113.7Fire', userAgent: 'fox' }),
      made({}, [salt(TODAY, 9)]),
      made({}, SALTS, TODAY - 1),
    ];
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('of an event of yesterday is what it was yesterday', () => {
    const yesterday = made({ receivedAt: TODAY - 5_000 }, [salt(TODAY - DAY, 2)], TODAY - 10_000);
    expect(made({}, SALTS, TODAY - 10_000)).toBe(yesterday);
  });

  it('of older events, and those from the future, is that of the day of receipt', () => {
    expect(made({}, SALTS, TODAY - DAY - 1)).toBe(made());
    expect(made({}, SALTS, TODAY + DAY)).toBe(made());
    expect(made({}, [salt(TODAY, 1)], TODAY - 1)).toBe(made());
  });

  it('is none without the key of the day', () => {
    expect(made({}, [])).toBe('');
    expect(made({}, [salt(TODAY - 2 * DAY, 3)])).toBe('');
  });

  it('knows days before 1970 and their borders', () => {
    expect(dayOf(-1)).toBe(-DAY);
    expect(dayOf(TODAY)).toBe(TODAY);
    expect(dayOf(TODAY + DAY - 1)).toBe(TODAY);
  });
});
