import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PROPERTIES_LIMIT, propertiesText } from './properties.js';
import { cut, withoutLoneSurrogates, withoutNulEscapes } from './text.js';

function nested(depth: number): unknown {
  let value: unknown = {};
  for (let i = 1; i < depth; i++) value = i % 2 ? [value] : { a: value };
  return { a: value };
}

describe('propertiesText', () => {
  it('writes objects and nothing else', () => {
    expect(propertiesText({ a: 1, b: ['x', null] }, 'click', false)).toBe('{"a":1,"b":["x",null]}');
    for (const other of [undefined, null, 5, 'x', true, [1]])
      expect(propertiesText(other, 'click', false)).toBe('{}');
  });

  it('does not keep the values of forms', () => {
    const properties = { form_id: 'f', form_data: { email: 'a@example.com' } };
    expect(propertiesText(properties, 'form_submission', false)).toBe('{"form_id":"f"}');
    expect(propertiesText({ form_data: 1 }, 'other', false)).toBe('{"form_data":1}');
  });

  it('refuses more than 32 KiB or 32 levels', () => {
    expect(propertiesText({ a: 'x'.repeat(PROPERTIES_LIMIT - 8) }, 'e', false)).toHaveLength(
      PROPERTIES_LIMIT,
    );
    expect(propertiesText({ a: 'x'.repeat(PROPERTIES_LIMIT - 7) }, 'e', false)).toBeNull();
    expect(propertiesText({ a: 'ü'.repeat(PROPERTIES_LIMIT / 2) }, 'e', false)).toBeNull();
    expect(propertiesText(nested(31), 'e', false)).not.toBeNull();
    expect(propertiesText(nested(32), 'e', false)).toBeNull();
    expect(
      propertiesText(JSON.parse(`{"a":${'['.repeat(200_000)}${']'.repeat(200_000)}}`), 'e', false),
    ).toBeNull();
  });

  it('keeps __proto__ an ordinary key', () => {
    const properties: unknown = JSON.parse('{"__proto__":{"admin":true},"constructor":1}');
    expect(propertiesText(properties, 'e', false)).toBe('{"__proto__":{"admin":true},"constructor":1}');
    expect(propertiesText(properties, 'form_submission', false)).toBe(
      '{"__proto__":{"admin":true},"constructor":1}',
    );
  });

  it('gives JSON that reads back without lone surrogates, whatever comes', () => {
    const junk = fc.dictionary(
      fc.string({ unit: 'binary' }),
      fc.jsonValue({ stringUnit: 'binary', maxDepth: 5 }),
    );
    fc.assert(
      fc.property(junk, (value) => {
        const text = propertiesText(value, 'e', true);
        if (text === null) return;
        expect(text).not.toMatch(/(?<!\\)(?:\\\\)*\\ud[89a-f]/);
        expect(Object.keys(JSON.parse(text)).length).toBeLessThanOrEqual(Object.keys(value).length);
      }),
      { seed: 5, numRuns: 500 },
    );
  });
});

describe('text', () => {
  it('replaces NUL escapes and leaves look-alikes', () => {
    expect(withoutNulEscapes('{"a\\u0000b":"\\u0000\\u0000","c":"\\\\u0000","d":"\\\\\\u0000x"}')).toBe(
      '{"a\ufffdb":"\ufffd\ufffd","c":"\\\\u0000","d":"\\\\\ufffdx"}',
    );
  });

  it('replaces every NUL of every string', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('\0', '\\', 'u0000', '"', 'a', '\n') }), (text) => {
        expect(JSON.parse(withoutNulEscapes(JSON.stringify(text)))).toBe(text.replaceAll('\0', '\ufffd'));
      }),
      { seed: 9, numRuns: 1000 },
    );
  });

  it('lets no NUL escape come together from halves of others', () => {
    expect(withoutNulEscapes('"\\u00\\u000000"')).not.toContain('\\u0000');
  });

  it('replaces lone surrogates and leaves look-alikes', () => {
    expect(withoutLoneSurrogates(JSON.stringify({ a: '\ud800x', b: '\\ud800', c: '😀' }))).toBe(
      '{"a":"\ufffdx","b":"\\\\ud800","c":"😀"}',
    );
  });

  it('cuts without halving a pair', () => {
    expect(cut('ab😀', 3)).toBe('ab');
    expect(cut('ab😀', 4)).toBe('ab😀');
  });
});
