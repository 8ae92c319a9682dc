import { describe, expect, it } from 'vitest';
import { silentTelemetry } from '../telemetry.js';
import type { SiteIds } from './site-notices.js';
import { createTrackedPages } from './tracked-pages.js';

function setUp(options: { refreshMs?: number; waitMs?: number } = {}) {
  const asked: { siteId: string; answer: (pages: string[]) => void; fail: () => void }[] = [];
  let tell: (site: SiteIds) => void = () => {};
  const pagesOf = createTrackedPages({
    load: (siteId) =>
      new Promise((answer, reject) => asked.push({ siteId, answer, fail: () => reject(new Error('away')) })),
    notices: {
      onChange: (listener) => {
        tell = listener;
      },
    },
    telemetry: silentTelemetry(),
    ...options,
  });
  const last = () => {
    const call = asked.at(-1);
    if (call === undefined) throw new Error('nobody asked');
    return call;
  };
  /** The first answer, already there. */
  const known = async (pages: string[]) => {
    const first = pagesOf('a');
    last().answer(pages);
    expect(await first).toEqual(pages);
  };
  return { asked, last, pagesOf, known, changed: () => tell({ id: 'x', siteId: 'a' }) };
}

const settled = () => new Promise(setImmediate);

describe('tracked pages', () => {
  it('are read once for all who ask', async () => {
    const { asked, last, pagesOf } = setUp();
    const both = [pagesOf('a'), pagesOf('a')];
    last().answer(['/x']);
    expect(await Promise.all(both)).toEqual([['/x'], ['/x']]);
    expect(await pagesOf('a')).toEqual(['/x']);
    expect(asked).toHaveLength(1);
  });

  it('are empty while the store takes its time, and there when it has answered', async () => {
    const { asked, last, pagesOf } = setUp({ waitMs: 1 });
    expect(await pagesOf('a')).toEqual([]);
    last().answer(['/x']);
    expect(await pagesOf('a')).toEqual(['/x']);
    expect(asked).toHaveLength(1);
  });

  it('are read again behind when they are old, and serve on when that fails', async () => {
    const { asked, last, pagesOf, known } = setUp({ refreshMs: 0 });
    await known(['/x']);
    expect(await pagesOf('a')).toEqual(['/x']);
    expect(asked).toHaveLength(2);
    last().fail();
    await settled();
    expect(await pagesOf('a')).toEqual(['/x']);
    last().answer(['/y']);
    await settled();
    expect(await pagesOf('a')).toEqual(['/y']);
  });

  it('are forgotten at a notice, also while they are read', async () => {
    const { asked, last, pagesOf, known, changed } = setUp();
    await known(['/x']);
    changed();
    const stale = pagesOf('a');
    const { answer } = last();
    changed();
    const fresh = pagesOf('a');
    answer(['/x']);
    last().answer([]);
    expect(await stale).toEqual(['/x']);
    expect(await fresh).toEqual([]);
    expect(await pagesOf('a')).toEqual([]);
    expect(asked).toHaveLength(3);
  });

  it('are no more than a page load should carry, whatever points were sent', async () => {
    const { last, pagesOf } = setUp();
    const forged = Array.from({ length: 900 }, (_, n) => `/${n}${'x'.repeat(2_000)}`);
    const answer = pagesOf('a');
    last().answer(['/', ...forged, '/shop']);
    const pages = await answer;
    expect(pages.join('').length).toBeLessThanOrEqual(32_000);
    expect([pages[0], pages[1], pages.at(-1)]).toEqual(['/', forged[0], '/shop']);
  });

  it('of few sites are read at once', async () => {
    const { asked, pagesOf } = setUp({ waitMs: 1 });
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => pagesOf(`site ${i}`)));
    expect(answers).toEqual(Array.from({ length: 20 }, () => []));
    expect(asked).toHaveLength(8);
  });
});
