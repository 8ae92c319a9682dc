import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { partitionOf } from '../../src/events/partition.js';
import type { EventRow } from '../../src/events/row-decoder.js';
import {
  type BookEntry,
  type IdCandidates,
  QUARANTINE_PAGE_BYTES,
  type QuarantinedRow,
  RowsRefusedError,
  StoreUnavailableError,
} from '../../src/storage/events/event-store.js';
import { freshName } from '../support/fresh.js';
import { encodeRow, makeRow } from './event-rows.js';
import { type OpenStore, openers } from './event-stores.js';

const id = (name: string): string => createHash('md5').update(name).digest('hex');
const raw = (name: string): Uint8Array => Buffer.from(id(name), 'hex');
const siteId = (name: string): string => id(name).slice(0, 24);
const soon = (): number => Date.now() + 20_000;
const row = (name: string, changes: Partial<EventRow> = {}): Uint8Array =>
  encodeRow(makeRow({ event_id: id(name), ...changes }));

describe.each(Object.entries(openers))('event store contract: %s', (kind, open) => {
  let opened: OpenStore;
  beforeAll(async () => {
    opened = await open();
  });
  afterAll(() => opened.close());

  const stored = async (table: 'events' | 'bot_events', site: string) =>
    (await opened.rows(table)).filter((values) => values[3] === site);

  it('says what it is, answers a ping and migrates again without harm', async () => {
    expect(opened.store.kind).toBe(kind);
    await opened.store.ping();
    await Promise.all([opened.store.migrate(), opened.store.migrate()]);
  });

  it.each(['events', 'bot_events'] as const)('keeps every column as it came in %s', async (table) => {
    const site = siteId(`columns ${table}`);
    const long = 'ü€😀\u{10FFFF}"\'\\\n\t%_'.repeat(200);
    const rows = [
      makeRow({ event_id: id('plain'), site_id: site }),
      // Everything empty or zero.
      {
        ...makeRow({
          event_id: '00000000000000000000000000000000',
          site_id: site,
          timestamp: 0,
          received_at: 0,
        }),
        ...Object.fromEntries(
          Object.entries(makeRow())
            .slice(4)
            .map(([name, value]) => [name, typeof value === 'string' ? '' : 0]),
        ),
      },
      makeRow({
        event_id: 'ffffffffffffffffffffffffffffffff',
        site_id: site,
        timestamp: 4_102_444_799_999,
        received_at: 1_760_000_000_001,
        kind: 255,
        event_type: 'ein „Ereignis“',
        visitor_id: 'v'.repeat(200),
        page: `/${'p'.repeat(2047)}`,
        title: long,
        referrer: `https://example.org/${'r'.repeat(2000)}`,
        utm_term: long,
        city: 'Łódź',
        screen_width: 65_535,
        viewport_height: 65_535,
        time_on_page: 4_294_967_295,
        scroll_depth: 100,
        properties: JSON.stringify({ text: long, deep: { list: [1, null, true] }, pad: 'x'.repeat(32_000) }),
      }),
    ];
    await opened.store.insertRows(table, rows.map(encodeRow), freshName('token'), soon());
    const expected = rows
      .toSorted((a, b) => (a.event_id < b.event_id ? -1 : 1))
      .map((one) => Object.values(one));
    expect(await stored(table, site)).toEqual(expected);
  });

  it('stores a block once, also when the same token comes many times at once', async () => {
    const site = siteId('once');
    const token = freshName('token');
    const rows = [row('once 1', { site_id: site }), row('once 2', { site_id: site })];
    const insert = () => opened.store.insertRows('events', rows, token, soon());
    await Promise.all([insert(), insert(), insert()]);
    await insert();
    expect(await stored('events', site)).toHaveLength(2);
    // The token is the table's own.
    await opened.store.insertRows('bot_events', rows, token, soon());
    expect(await stored('bot_events', site)).toHaveLength(2);
  });

  it('stores a block once whose answer was lost', async () => {
    const site = siteId('lost answer');
    const token = freshName('token');
    const rows = Array.from({ length: 50 }, (_, n) => row(`lost ${n}`, { site_id: site }));
    const lost = opened.proxy.loseAnswerTo(opened.commitText);
    await expect(opened.store.insertRows('events', rows, token, soon())).rejects.toThrow(
      StoreUnavailableError,
    );
    await lost;
    await opened.store.insertRows('events', rows, token, soon());
    expect(await stored('events', site)).toHaveLength(50);
  });

  it('stores nothing of a block whose transfer broke off, and all of it the next time', async () => {
    const site = siteId('broken off');
    const token = freshName('token');
    const rows = Array.from({ length: 4_000 }, (_, n) => row(`broken ${n}`, { site_id: site }));
    const cut = opened.proxy.cutRequest('INSERT', 500_000);
    await expect(opened.store.insertRows('events', rows, token, soon())).rejects.toThrow(
      StoreUnavailableError,
    );
    await cut;
    expect(await stored('events', site)).toHaveLength(0);
    await opened.store.insertRows('events', rows, token, soon());
    expect(await stored('events', site)).toHaveLength(4_000);
  });

  it('completes a block over two months of which one was stored', async () => {
    const site = siteId('two months');
    const token = freshName('token');
    const april = row('april', { site_id: site, timestamp: Date.UTC(2026, 3, 30) });
    const may = row('may', { site_id: site, timestamp: Date.UTC(2026, 4, 1) });
    await opened.store.insertRows('events', [april, may], token, soon());
    await opened.store.insertRows('events', [april, may], token, soon());
    expect(await stored('events', site)).toHaveLength(2);
  });

  it('refuses a block with a corrupt row as a whole and names the row; halving finds it, too', async () => {
    const site = siteId('corrupt');
    const good = Array.from({ length: 64 }, (_, n) => row(`good ${n}`, { site_id: site }));
    const rows = [...good.slice(0, 41), row('bad').subarray(0, 90), ...good.slice(41)];
    const refused: Uint8Array[] = [];
    const insert = async (part: readonly Uint8Array[]): Promise<void> => {
      try {
        await opened.store.insertRows('events', part, freshName('token'), soon());
      } catch (error) {
        expect(error).toBeInstanceOf(RowsRefusedError);
        const [only] = part;
        if (part.length === 1 && only) refused.push(only);
        else {
          await insert(part.slice(0, part.length >> 1));
          await insert(part.slice(part.length >> 1));
        }
      }
    };
    const whole = opened.store.insertRows('events', rows, freshName('token'), soon());
    await expect(whole).rejects.toMatchObject({ name: 'RowsRefusedError', badRows: [41] });
    expect(await stored('events', site)).toHaveLength(0);
    await insert(rows);
    expect(refused).toEqual([rows[41]]);
    expect(await stored('events', site)).toHaveLength(64);
  });

  it('does not begin an insert past its deadline', async () => {
    const site = siteId('late');
    const late = opened.store.insertRows(
      'events',
      [row('late', { site_id: site })],
      freshName('token'),
      Date.now(),
    );
    await expect(late).rejects.toThrow(StoreUnavailableError);
    expect(await stored('events', site)).toHaveLength(0);
  });

  it('finds stored ids of both tables at once after the insert, each for its own site', async () => {
    const [a, b] = [siteId('ids a'), siteId('ids b')];
    const day = Date.UTC(2026, 4, 20);
    const many = Array.from({ length: 5_000 }, (_, n) =>
      row(`many ${n}`, { site_id: a, timestamp: day + n }),
    );
    await opened.store.insertRows('events', many, freshName('token'), soon());
    await opened.store.insertRows('bot_events', [row('a bot', { site_id: b })], freshName('token'), soon());
    const asked = Array.from({ length: 7_000 }, (_, n) => raw(`many ${n}`));
    const found = await opened.store.existingIds([
      { siteId: a, table: 'events', ids: asked },
      { siteId: b, table: 'events', ids: [raw('a bot'), raw('no bot'), raw('many 1').slice()] },
    ]);
    expect(found.size).toBe(5_001);
    expect(found.has(id('many 4999'))).toBe(true);
    expect(found.has(id('many 5000'))).toBe(false);
    expect(found.has(id('a bot'))).toBe(true);
    expect(await opened.store.existingIds([{ siteId: b, table: 'events', ids: [raw('many 1')] }])).toEqual(
      new Set(),
    );
    expect(await opened.store.existingIds([])).toEqual(new Set());
    // Known times narrow the search.
    const inTime: IdCandidates = {
      siteId: a,
      table: 'bot_events',
      ids: [raw('many 7'), raw('many 8'), raw('none')],
      from: day + 7,
      to: day + 8,
    };
    expect(await opened.store.existingIds([inTime])).toEqual(new Set([id('many 7'), id('many 8')]));
  });

  it('lists the ids received lately of the sites of a partition, or says that they are too many', async () => {
    const since = Date.UTC(2030, 0, 1);
    const sites = ['recent 1', 'recent 2', 'recent 3', 'recent 4'].map(siteId);
    sites[0] = 'fffffffffffffffffffffff0';
    sites.push('odd-site');
    const table = (n: number) => (n % 2 === 0 ? 'events' : 'bot_events');
    for (const [n, site] of sites.entries()) {
      const rows = [
        row(`recent ${n}`, { site_id: site, received_at: since }),
        row(`older ${n}`, { site_id: site, received_at: since - 1 }),
      ];
      await opened.store.insertRows(table(n), rows, freshName('token'), soon());
    }
    for (const partitions of [1, 7]) {
      const found = await Promise.all(
        Array.from({ length: partitions }, (_, p) => opened.store.recentIds(p, partitions, since, 100)),
      );
      for (const [p, ids] of found.entries()) {
        const expected = [...sites.keys()].filter((n) => partitionOf(sites[n] ?? '', partitions) === p);
        expect(ids?.map((one) => Buffer.from(one).toString('hex')).sort()).toEqual(
          expected.map((n) => id(`recent ${n}`)).sort(),
        );
      }
    }
    expect(await opened.store.recentIds(0, 1, since, 5)).toHaveLength(5);
    expect(await opened.store.recentIds(0, 1, since, 4)).toBeNull();
  });

  it('keeps the books: sums by source, per hour, once a token', async () => {
    const site = siteId('books');
    const hour = Date.UTC(2026, 4, 20, 10);
    const entry = (changes: Partial<BookEntry>): BookEntry => ({
      siteId: site,
      hour,
      source: 'event',
      received: 10,
      stored: 4,
      duplicate: 3,
      bot: 1,
      rejected: 1,
      quarantined: 1,
      ...changes,
    });
    const first = [
      entry({}),
      entry({ source: 'batch', stored: 9_000_000_000, received: 9_000_000_006 }),
      entry({}),
    ];
    const token = freshName('token');
    await Promise.all([opened.store.addToBooks(first, token), opened.store.addToBooks(first, token)]);
    await opened.store.addToBooks([entry({ hour: hour + 3_600_000 })], freshName('token'));
    await opened.store.addToBooks([entry({ siteId: siteId('other books') })], freshName('token'));
    const { siteId: _, hour: __, ...one } = entry({});
    const sum = (times: number) => ({
      ...Object.fromEntries(
        Object.entries(one).map(([key, n]) => [key, typeof n === 'number' ? n * times : n]),
      ),
    });
    expect(await opened.store.books(site, hour, hour + 3_600_000)).toEqual([
      sum(2),
      { ...one, source: 'batch', stored: 9_000_000_000, received: 9_000_000_006 },
    ]);
    expect(await opened.store.books(site, hour + 1, hour + 3_600_001)).toEqual([sum(1)]);
    expect(await opened.store.books(site, 0, hour)).toEqual([]);
  });

  it('keeps refused rows until they are taken', async () => {
    const site = siteId('quarantine');
    const entries = Array.from(
      { length: 7 },
      (_, n): QuarantinedRow => ({
        id: id(`quarantined ${n}`),
        siteId: site,
        source: n % 2 === 0 ? 'batch' : 'import',
        table: n % 2 === 0 ? 'events' : 'bot_events',
        quarantinedAt: 1_760_000_000_000 + (n >> 1),
        reason: `because „${n}“`,
        bytes: Uint8Array.from({ length: 300 }, (_, i) => (i * 7 + n) % 256),
      }),
    );
    const token = freshName('token');
    await opened.store.quarantine(entries, token);
    await opened.store.quarantine(entries, token);
    const newestFirst = [...entries].sort(
      (a, b) => b.quarantinedAt - a.quarantinedAt || (a.id < b.id ? 1 : -1),
    );
    const plain = (rows: readonly QuarantinedRow[]) =>
      rows.map((one) => ({ ...one, bytes: Buffer.from(one.bytes).toString('hex') }));
    expect(plain(await opened.store.listQuarantine(site, 100))).toEqual(plain(newestFirst));
    const pages: QuarantinedRow[] = [];
    for (let page = await opened.store.listQuarantine(site, 3); page.length > 0; ) {
      pages.push(...page);
      page = await opened.store.listQuarantine(site, 3, page.at(-1)?.id);
    }
    expect(plain(pages)).toEqual(plain(newestFirst));

    const wanted = [entries[2], entries[3]].flatMap((entry) => (entry ? [entry] : []));
    const ids = [...wanted.map((entry) => entry.id), id('unknown')];
    const found = await opened.store.quarantined(site, ids);
    expect(plain(found).sort((a, b) => (a.reason < b.reason ? -1 : 1))).toEqual(plain(wanted));
    expect(await opened.store.quarantined(siteId('another'), ids)).toEqual([]);
    const taken = await opened.store.takeQuarantined(site, ids);
    expect(plain(taken).sort((a, b) => (a.reason < b.reason ? -1 : 1))).toEqual(plain(wanted));
    expect(await opened.store.takeQuarantined(site, ids)).toEqual([]);
    expect(
      await opened.store.takeQuarantined(
        siteId('another'),
        entries.map((entry) => entry.id),
      ),
    ).toEqual([]);
    expect(await opened.store.listQuarantine(site, 100)).toHaveLength(5);
    // A cursor that was taken meanwhile starts over.
    expect(await opened.store.listQuarantine(site, 100, wanted[0]?.id)).toHaveLength(5);
  });

  it('answers the quarantine in pages of so many bytes, however many rows are asked for', async () => {
    const site = siteId('large quarantine');
    const large = QUARANTINE_PAGE_BYTES / 4;
    const entries = [1, large, large, 2 * large, 5 * large, 1, 1].map(
      (size, n): QuarantinedRow => ({
        ...{ id: id(`large ${n}`), siteId: site, source: 'recording', table: 'events', reason: '' },
        ...{ quarantinedAt: 1_760_000_000_000 - n, bytes: new Uint8Array(size).fill(n) },
      }),
    );
    for (const entry of entries) await opened.store.quarantine([entry], freshName('token'));
    const pages: string[][] = [];
    let before: string | undefined;
    for (;;) {
      const page = await opened.store.listQuarantine(site, 100, before);
      if (page.length === 0) break;
      pages.push(page.map((row) => row.id));
      before = page.at(-1)?.id;
    }
    const ids = entries.map((entry) => entry.id);
    expect(pages).toEqual([ids.slice(0, 4), ids.slice(4, 5), ids.slice(5)]);
  });

  it('forgets a site everywhere and leaves the others alone', async () => {
    const [gone, kept] = [siteId('gone'), siteId('kept')];
    for (const site of [gone, kept]) {
      const rows = Array.from({ length: 20 }, (_, n) => row(`${site} ${n}`, { site_id: site }));
      await opened.store.insertRows('events', rows, freshName('token'), soon());
      await opened.store.insertRows('bot_events', rows, freshName('token'), soon());
      const counts = { received: 1, stored: 1, duplicate: 0, bot: 0, rejected: 0, quarantined: 0 };
      await opened.store.addToBooks(
        [{ siteId: site, hour: 0, source: 'event', ...counts }],
        freshName('token'),
      );
      const refused = { id: id(site), quarantinedAt: 1, reason: '', bytes: new Uint8Array() } as const;
      await opened.store.quarantine(
        [{ siteId: site, source: 'event', table: 'events', ...refused }],
        freshName('token'),
      );
    }
    await opened.store.deleteSite(gone);
    await opened.store.deleteSite(gone);
    const left = async (site: string) => [
      (await stored('events', site)).length,
      (await stored('bot_events', site)).length,
      (await opened.store.books(site, 0, 3_600_000)).length,
      (await opened.store.listQuarantine(site, 10)).length,
      (await opened.store.existingIds([{ siteId: site, table: 'bot_events', ids: [raw(`${site} 1`)] }])).size,
    ];
    expect(await left(gone)).toEqual([0, 0, 0, 0, 0]);
    expect(await left(kept)).toEqual([20, 20, 1, 1, 1]);
    // A deleted site may come back: the same rows with a new token are new.
    await opened.store.insertRows(
      'events',
      [row(`${gone} 1`, { site_id: gone })],
      freshName('token'),
      soon(),
    );
    expect(await stored('events', gone)).toHaveLength(1);
  });
});
