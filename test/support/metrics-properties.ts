/** Properties as senders make them up, for generated events. */

type Random = () => number;

const pick = <T>(random: Random, values: readonly T[]): T | undefined =>
  values[Math.floor(random() * values.length)];

/** Texts, numbers of all sizes, booleans; nothing, lists and objects, which are no values; strange and too many names. */
export function customProperties(random: Random): string {
  const maybe = (name: string, values: readonly unknown[]) =>
    random() < 0.5 ? { [name]: pick(random, values) } : {};
  return JSON.stringify({
    ...maybe('n', [0, 1, 2, 10, '1', true, null]),
    ...maybe('text', ['a"b', 'a\\b', "it's", 'line\nbreak', '', 'Größe', 'größe', '😀', '{"a":1}']),
    ...maybe('price', [9.99, 0.1 + 0.2, 1e21, 1e-7, -5, 5e-324, 9_007_199_254_740_991, 1e18]),
    ...maybe('list', [[1, 2], { a: 1 }, 'plain']),
    ...maybe('ключ "☃"', ['x', false]),
    ...maybe('long', [`${'ä'.repeat(300)}1`, `${'ä'.repeat(300)}2`, '😀'.repeat(256)]),
    ...(random() < 0.02 ? { ['x'.repeat(257)]: 1 } : {}),
    ...(random() < 0.02 ? Object.fromEntries(Array.from({ length: 110 }, (_, i) => [`many${i}`, i])) : {}),
    // No store reads numbers beyond 64 bits alike.
    ...(random() < 0.02 ? { id: pick(random, [1e20, -1e19, 2 ** 64]) } : {}),
  });
}

/** One measure an event, or several; names in any case; values that are none. */
export function vitalProperties(random: Random): string {
  const value = Math.floor(random() ** 3 * 9_000_000) / 1000;
  const shift =
    random() < 0.1 ? { value: pick(random, [0.1, 200, 2500, 4000, -1, 3_600_000.1, 1e300, '12', null]) } : {};
  if (random() < 0.3)
    return JSON.stringify({
      LCP: value,
      cls: random() / 2,
      Fid: Math.floor(random() * 400),
      other: 3,
      INP: null,
    });
  const name = pick(random, ['LCP', 'FCP', 'CLS', 'inp', 'TTFB', 'FID', 'ſid', 'unknown', 7]);
  return JSON.stringify({ name, value: name === 'CLS' ? random() / 3 : value, delta: 1, ...shift });
}
