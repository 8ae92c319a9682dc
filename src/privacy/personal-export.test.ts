import { expect, it } from 'vitest';
import type { SessionQuery, SessionSummary } from '../replays/replay-store.js';
import { sessionsOf } from './personal-export.js';

const RECORDED = 450;

const summary = (n: number): SessionSummary => ({
  ...{ sessionId: `s${n}`, sessionKey: String(n).padStart(6, '0'), startMs: n, endMs: n, chunkCount: 1 },
  ...{ browser: '', device: '', os: '', countryCode: '', entryPage: '/', pages: ['/'] },
  ...{ clicks: 0, rageClicks: 0, errors: 0, hasFullSnapshot: true, isIncomplete: false },
});

it('names each recording once, though others come and go while it is made', async () => {
  let recorded = Array.from({ length: RECORDED }, (_, n) => n);
  const sessions = async ({ limit, offset, after }: SessionQuery): Promise<SessionSummary[]> => {
    const newest = recorded.toSorted((a, b) => b - a).filter((n) => after === undefined || n < after.startMs);
    return newest.slice(offset, offset + limit).map(summary);
  };
  const named: string[] = [];
  for await (const page of sessionsOf({ sessions }, 'site')) {
    named.push(...page.map(({ sessionId }) => sessionId));
    // Of those that were named already three go, and one begins.
    const [newest = 0] = recorded.toSorted((a, b) => b - a);
    recorded = [...recorded.filter((n) => n < newest - 2), newest + 1];
  }
  expect(named.toSorted()).toEqual(Array.from({ length: RECORDED }, (_, n) => `s${n}`).toSorted());
});
