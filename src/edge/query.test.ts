import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AppError } from '../errors.js';
import { parseJson } from './json.js';
import { decodeParams, paramNames, parseQuery } from './query.js';

describe('parseQuery', () => {
  it('reads what was written, the first of a repeated name (property)', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'grapheme' })), {
          maxLength: 50,
        }),
        (pairs) => {
          const parsed = parseQuery(new URLSearchParams(pairs).toString());
          for (const [name] of pairs) {
            expect(parsed[name]).toBe(pairs.find(([other]) => other === name)?.[1]);
          }
          expect(Object.keys(parsed)).toHaveLength(new Set(pairs.map(([name]) => name)).size);
        },
      ),
      { seed: 30 },
    );
  });

  it('never throws and inherits nothing (property)', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const parsed = parseQuery(text);
        expect(Object.getPrototypeOf(parsed)).toBeNull();
        for (const value of Object.values(parsed)) expect(typeof value).toBe('string');
      }),
      { seed: 31, numRuns: 500 },
    );
    expect(parseQuery('__proto__=1&__proto__=2')).toEqual(
      Object.assign(Object.create(null), { ['__proto__']: '1' }),
    );
  });

  it('looks at a bounded number of pairs', () => {
    const query = Array.from({ length: 5000 }, (_, index) => `a${index}=1`).join('&');
    expect(Object.keys(parseQuery(query))).toHaveLength(200);
  });
});

describe('path parameters', () => {
  it('round trip (property)', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        expect(decodeParams(['id'], [encodeURIComponent(text)])).toMatchObject({ id: text });
      }),
      { seed: 32 },
    );
  });

  it('are named by the pattern', () => {
    expect(paramNames('/a/:one/b/:two_id')).toEqual(['one', 'two_id']);
  });
});

describe('parseJson', () => {
  it('gives what JSON.parse gives, without __proto__ (property)', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        if (text.includes('__proto__') || text.includes('\\u0000')) return;
        expect(parseJson(new TextEncoder().encode(text))).toEqual(JSON.parse(text));
      }),
      { seed: 33 },
    );
  });

  it('fails only with an AppError, whatever the bytes (property)', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        try {
          parseJson(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(AppError);
        }
      }),
      { seed: 34, numRuns: 500 },
    );
  });

  it('survives nesting that is too deep', () => {
    const deep = new TextEncoder().encode('['.repeat(5_000_000));
    expect(() => parseJson(deep)).toThrow(AppError);
  });
});
