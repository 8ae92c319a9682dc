import { describe, expect, it } from 'vitest';
import { addressPart, fill, fillDeep, MAX_TEXTS, valuesOf } from './template.js';

const hook = 'https://hooks.example/people/{{visitor_id}}/tag?of={{properties.note}}';
const filled = (visitorId: string, note: string) =>
  fill(hook, valuesOf({ visitor_id: visitorId, properties: { note } }, {}), addressPart);

describe('a value in the address of a webhook', () => {
  it('stays where it stands', () => {
    for (const value of ['.', '..', '...', 'a/../..', '%2e%2e', '..\\', '?x', '#x']) {
      const url = new URL(filled(value, value));
      expect(url.pathname.split('/'), value).toEqual(['', 'people', expect.stringMatching(/./), 'tag']);
      expect([...url.searchParams.keys()], value).toEqual(['of']);
    }
  });

  it('is written as ever where it holds more than dots', () => {
    expect(filled('a.b', 'ü &')).toBe('https://hooks.example/people/a.b/tag?of=%C3%BC%20%26');
  });

  it('that is too long is not cut within a character, which no address could hold', () => {
    const note = `${'a'.repeat(4_095)}😀`;
    expect(new URL(filled('v', note)).searchParams.get('of')).toBe('a'.repeat(4_095));
    expect(addressPart('a\ud83d')).toBe('a%EF%BF%BD');
  });
});

describe('the texts of a body', () => {
  const values = valuesOf({ long: 'x'.repeat(4_096), short: 'y' }, {});

  it('are filled wherever they stand', () => {
    const body = { a: ['{{short}}', { b: '{{long}}' }], '{{short}}': 1, none: null };
    expect(fillDeep(body, values)).toEqual({
      ...{ a: ['y', { b: 'x'.repeat(4_096) }] },
      ...{ '{{short}}': 1, none: null },
    });
  });

  it('may become only so long together: a short template asks for as much again and again', () => {
    const texts = (count: number) => Array.from({ length: count }, () => '{{long}}');
    expect(fillDeep(texts(MAX_TEXTS / 4_096), values)).toHaveLength(256);
    expect(fillDeep(texts(MAX_TEXTS / 4_096 + 1), values)).toBeUndefined();
    let asked = 0;
    const counted = (name: string) => {
      asked++;
      return values(name);
    };
    expect(fillDeep({ all: texts(8_000) }, counted)).toBeUndefined();
    expect(asked).toBe(257);
  });
});
