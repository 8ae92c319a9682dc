import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GeoLookup } from './geo.js';
import { type GeoImage, loadGeoImage } from './geo-database.js';
import { NOWHERE, placeOf } from './geo-record.js';

const lines: string[] = [];
const log = pino({ level: 'info' }, { write: (line) => void lines.push(line) });
const folder = mkdtempSync(join(tmpdir(), 'geo-'));
let image: GeoImage = [];

beforeAll(async () => {
  image = await loadGeoImage('bundled', log);
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('GeoLookup', () => {
  it('finds country, region, city and continent in both families', () => {
    const geo = new GeoLookup(image, 10);
    expect(geo.place('8.8.8.8')).toMatchObject({
      countryCode: 'US',
      region: 'California',
      continent: 'North America',
    });
    expect(geo.place('81.2.69.142')).toEqual({
      countryCode: 'GB',
      region: 'England',
      city: 'London',
      continent: 'Europe',
    });
    expect(geo.place('2a00:1450:4001:81b::200e')).toMatchObject({ countryCode: 'DE', continent: 'Europe' });
    expect(geo.place('::ffff:81.2.69.142').city).toBe('London');
  });

  it.each([
    '',
    'unknown',
    '127.0.0.1',
    '10.1.2.3',
    '192.168.0.1',
    '172.16.5.4',
    '::1',
    'fe80::1%eth0',
    'fd00::1',
    '1.2.3',
    '300.1.1.1',
  ])('knows nothing of %j', (address) => {
    expect(new GeoLookup(image, 10).place(address)).toBe(NOWHERE);
  });

  it('answers the same bytes again from its cache', () => {
    const geo = new GeoLookup(image, 10);
    expect(geo.block('8.8.8.8')).toBe(geo.block('8.8.8.8'));
  });

  it('works without a database', () => {
    expect([...new GeoLookup([], 10).block('8.8.8.8')]).toEqual([0, 0, 0, 0]);
  });

  it('switches itself off, and says so once, when the damage shows at look-up time', () => {
    const [whole] = image;
    if (whole === undefined) throw new Error('the bundled database is missing');
    const damaged = new SharedArrayBuffer(whole.bytes.byteLength);
    const bytes = new Uint8Array(damaged);
    bytes.set(new Uint8Array(whole.bytes));
    bytes.fill(0xff, 45_000_000, bytes.length - 200_000);
    const geo = new GeoLookup([{ bytes: damaged }], 10);
    for (const address of ['8.8.8.8', '81.2.69.142', '1.1.1.1'])
      expect(geo.block(address).length).toBeGreaterThan(3);
    expect(geo.place('8.8.8.8')).toBe(NOWHERE);
    expect(geo.takeFailure()).not.toBeNull();
    expect(geo.takeFailure()).toBeNull();
  });
});

describe('loadGeoImage', () => {
  it('reads the addresses of IPv6 when the first of them comes, once for all look-ups', async () => {
    const fresh = await loadGeoImage('bundled', log);
    const later = fresh[1]?.bytes;
    if (later === undefined) throw new Error('the bundled databases are missing');
    const isEmpty = () => new Uint8Array(later, 0, 4096).every((byte) => byte === 0);
    const [one, other] = [new GeoLookup(fresh, 10), new GeoLookup(fresh, 10)];
    expect(one.place('8.8.8.8').countryCode).toBe('US');
    expect(one.place('fd00::1')).toBe(NOWHERE);
    expect(isEmpty()).toBe(true);
    expect(one.place('2a00:1450:4001:81b::200e').countryCode).toBe('DE');
    expect(isEmpty()).toBe(false);
    expect(other.place('2a00:1450:4001:81b::200e').countryCode).toBe('DE');
  });

  it('switches itself off when the file of IPv6 has gone by then', async () => {
    const path = join(folder, 'gone.mmdb');
    const [whole] = image;
    if (whole === undefined) throw new Error('the bundled database is missing');
    const state = new Int32Array(new SharedArrayBuffer(4));
    const geo = new GeoLookup([whole, { bytes: new SharedArrayBuffer(10), later: { path, state } }], 10);
    expect(geo.place('2a00:1450:4001:81b::200e')).toBe(NOWHERE);
    expect(geo.takeFailure()).toContain('gone.mmdb');
  });

  it.each([
    ['missing', null],
    ['empty', Buffer.alloc(0)],
    ['junk', Buffer.alloc(10_000, 'junk')],
  ])('goes without a file that is %s, with one log line', async (name, content) => {
    const path = join(folder, `${name}.mmdb`);
    if (content !== null) writeFileSync(path, content);
    lines.length = 0;
    expect(await loadGeoImage({ path }, log)).toEqual([]);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain('geo is off');
  });

  it('goes without a file that is cut off', async () => {
    const [whole] = image;
    if (whole === undefined) throw new Error('the bundled database is missing');
    const path = join(folder, 'cut.mmdb');
    writeFileSync(path, Buffer.from(whole.bytes).subarray(0, 20_000_000));
    expect(await loadGeoImage({ path }, log)).toEqual([]);
  });

  it('is silent when it is switched off', async () => {
    lines.length = 0;
    expect(await loadGeoImage('off', log)).toEqual([]);
    expect(lines).toEqual([]);
  });
});

describe('placeOf', () => {
  it("reads MaxMind's layout", () => {
    const record = {
      country: { iso_code: 'FR', names: { en: 'France' } },
      subdivisions: [{ names: { en: 'Île-de-France' } }],
      city: { names: { en: 'Paris', de: 'Paris' } },
    };
    expect(placeOf(record)).toEqual({
      countryCode: 'FR',
      region: 'Île-de-France',
      city: 'Paris',
      continent: 'Europe',
    });
  });

  it.each([null, undefined, 5, 'x', {}, { country: 7 }, { country_code: 'X' }, { country_code: '12' }])(
    'of %j is unknown',
    (record) => {
      expect(placeOf(record)).toBe(NOWHERE);
    },
  );
});
