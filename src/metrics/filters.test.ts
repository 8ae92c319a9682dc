import { describe, expect, it } from 'vitest';
import { AppError } from '../errors.js';
import { countryCodes, countryCodesContaining, countryName } from './countries.js';
import { parseFilters } from './filters.js';

describe('parseFilters', () => {
  it('takes nothing from absent and empty filters and from device=all', () => {
    expect(parseFilters({ country: '', browser: ' , ', device: 'all', os: undefined, city: '!' })).toEqual(
      [],
    );
  });

  it('reads lists, negation and contains, for the whole list', () => {
    expect(parseFilters({ browser: 'Chrome, Safari', os: '!a,!b', city: '!~Ber,~lin' })).toMatchObject([
      { on: 'session', negate: true, any: [{ attribute: 'city', how: 'contains', values: ['ber', '~lin'] }] },
      {
        on: 'session',
        negate: false,
        any: [{ attribute: 'browser', how: 'equals', values: ['chrome', 'safari'] }],
      },
      { on: 'session', negate: true, any: [{ attribute: 'os', how: 'equals', values: ['a', 'b'] }] },
    ]);
  });

  it('finds the missing value by its label', () => {
    expect(parseFilters({ os: 'Unknown' })).toEqual([
      { on: 'session', negate: false, any: [{ attribute: 'os', how: 'equals', values: ['unknown', ''] }] },
    ]);
  });

  it.each([
    ['/Docs/?a=1#b', '/docs'],
    ['https://Example.com/A/', '/a'],
    ['/', '/'],
    ['https://example.com', '/'],
    ['pricing', '/pricing'],
    ['/A//', '/a'],
    ['/a,b', '/a,b'],
  ])('normalises the page %s to %s', (given, page) => {
    expect(parseFilters({ page_path: given })).toEqual([
      { on: 'page', negate: false, how: 'equals', values: [page] },
    ]);
  });

  it.each([
    ['city', 'Washington, D.C.', ['washington', 'd.c.'], ['washington, d.c.']],
    ['city', 'Washington\\, D.C.', ['washington, d.c.'], ['washington\\, d.c.']],
    ['utm_campaign', '\\!sale', ['!sale'], ['\\!sale']],
    ['utm_campaign', '\\~sale,b', ['~sale', 'b'], ['\\~sale,b']],
    ['utm_term', 'a!\\~b', ['a!\\~b'], undefined],
    ['utm_medium', 'a,', ['a'], ['a,']],
  ] as const)('takes %s=%s for values, and for a label as lists show it', (field, text, values, label) => {
    const [filter] = parseFilters({ [field]: text });
    const equals = (some: readonly string[], negate: boolean) => ({
      negate,
      any: [{ attribute: field, how: 'equals', values: some }],
    });
    expect(filter).toMatchObject(equals(values, false));
    expect(filter?.asLabels ?? []).toMatchObject(label ? [equals(label, false)] : []);
    const [opposite] = parseFilters({ [field]: `!${text}` });
    expect(opposite).toMatchObject(equals(values, true));
    const literal = equals([`!${text.toLowerCase()}`], false);
    expect(opposite?.asLabels).toMatchObject(label ? [literal, equals(label, true)] : [literal]);
  });

  it('takes what follows signs for a label, too, but no name of a known set and no page', () => {
    const labels = (text: string) =>
      parseFilters({ utm_term: text })[0]?.asLabels?.map((one) => [
        one.negate,
        one.on === 'session' ? one.any[0]?.values : one.values,
      ]);
    expect(labels('a')).toBeUndefined();
    expect(labels('~a')).toEqual([[false, ['~a']]]);
    expect(labels('!~a')).toEqual([
      [false, ['!~a']],
      [true, ['~a']],
    ]);
    for (const query of [{ browser: '!a,b' }, { page_path: '!/a' }, { page_path: '~a' }])
      expect(parseFilters(query)[0]?.asLabels).toBeUndefined();
  });

  it('reads a list of pages by their slashes', () => {
    expect(parseFilters({ page_path: '/a,b, /c,https://example.com/d,e' })).toMatchObject([
      {
        values: ['/a,b', '/c', '/d,e'],
        asLabels: [{ negate: false, values: ['/a,b, /c,https://example.com/d,e'] }],
      },
    ]);
    expect(parseFilters({ page_path: 'a,b' })).toMatchObject([
      { values: ['/a', '/b'], asLabels: [{ values: ['/a,b'] }] },
    ]);
    expect(parseFilters({ page_path: '/a\\,/b' })).toMatchObject([
      { values: ['/a,/b'], asLabels: [{ values: ['/a\\,/b'] }] },
    ]);
    expect(parseFilters({ page_path: '!/a,/b' })).toMatchObject([
      { negate: true, values: ['/a', '/b'], asLabels: [{ negate: true, values: ['/a,/b'] }] },
    ]);
    expect(parseFilters({ page_path: '~/a,b' })).toMatchObject([{ how: 'contains', values: ['/a', 'b'] }]);
  });

  it.each([
    ['Direct', ['']],
    ['www.Google.com', ['google.com']],
    ['https://www.google.com/search?q=x', ['google.com']],
    ['m.youtube.com', ['youtube.com']],
    ['direct.example.com', ['direct.example.com']],
    ['https://', ['https://']],
  ])('knows the referrer %s as it is stored', (text, values) => {
    expect(parseFilters({ referrer: text })).toEqual([
      { on: 'session', negate: false, any: [{ attribute: 'referrer_host', how: 'equals', values }] },
    ]);
  });

  it('knows channel groups and brands in utm_source', () => {
    const [filter] = parseFilters({ utm_source: 'Search,Twitter' });
    expect(filter).toMatchObject({
      any: [
        { attribute: 'utm_source', values: ['search', 'twitter'] },
        { attribute: 'channel', values: ['organic search', 'paid search', 'twitter'] },
        { attribute: 'referrer_host', how: 'equals', values: ['search', 'twitter'] },
        { attribute: 'referrer_host', how: 'brand', values: ['search', 'twitter', 'x'] },
      ],
    });
  });

  it.each([{ city: 'x'.repeat(3000) }, { city: 'a,'.repeat(200) }])('refuses too much', (query) => {
    expect(() => parseFilters(query)).toThrow(AppError);
  });

  it('has no surprise for names of object properties', () => {
    expect(() =>
      parseFilters({ source: 'constructor', country: '__proto__', channel: 'toString' }),
    ).not.toThrow();
  });
});

describe('countries', () => {
  it.each([
    ['DE', 'Germany'],
    ['', 'Unknown'],
    ['T1', 'T1'],
    ['QQ', 'QQ'],
  ])('names %s %s', (code, name) => {
    expect(countryName(code)).toBe(name);
  });

  it.each([
    ['germany', ['DE']],
    ['gb', ['GB']],
    ['UK', ['GB']],
    ['United States', ['US']],
    ['Czech Republic', ['CZ']],
    ['unknown', ['']],
    ['Atlantis', ['ATLANTIS']],
  ])('finds %s', (text, codes) => {
    expect(countryCodes(text)).toEqual(codes);
  });

  it('finds parts of names', () => {
    expect(countryCodesContaining('germ')).toEqual(['DE']);
  });
});
