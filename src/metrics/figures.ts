/** The arithmetic of answers. All of it starts from integers that every store counts alike, so answers are equal to the last digit. */

/** Rounds half up to two decimal places. */
export const round2 = (value: number): number => Math.round(value * 100) / 100;

/** `part` in percent of `whole`, two decimal places; 0 when there is no whole. */
export const percent = (part: number, whole: number): number =>
  whole === 0 ? 0 : round2((part * 100) / whole);

/** `sum / count`, two decimal places; 0 when there is nothing. */
export const mean = (sum: number, count: number): number => (count === 0 ? 0 : round2(sum / count));

/** Seconds of a mean given in milliseconds, two decimal places. */
export const meanSeconds = (sumMs: number, count: number): number =>
  count === 0 ? 0 : round2(sumMs / count / 1000);

/** Change in percent, within -100 to 1000; null when there is nothing to compare with (contract 7.2). */
export function change(current: number, previous: number): number | null {
  if (previous <= 0) return null;
  return Math.min(1000, Math.max(-100, round2(((current - previous) * 100) / previous)));
}

/** Order of bytes of the UTF-8 texts: what `COLLATE "C"` and ClickHouse do. */
export function compareBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a, 'utf8'), Buffer.from(b, 'utf8'));
}
