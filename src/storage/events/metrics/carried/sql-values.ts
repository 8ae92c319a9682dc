import type { Sql } from '../clickhouse-rows.js';

/** Numbers of 20 digits in one parameter, whose commas may be encoded: the server takes 128 KiB. */
const CHUNK = 5_000;

/** @param at ms since epoch; what DateTime cannot hold becomes its first or last value */
export const second = (at: number): number => Math.min(Math.max(0, Math.floor(at / 1000)), 4_294_967_295);

/** Parameters for a stretch of slots. */
export const slots = (from: number, to: number): Sql['params'] => ({
  slotFrom: second(from),
  slotTo: second(to),
});

/** An array of hashes as bound parameters. @param name of these among the query's */
export function hashes(values: readonly string[], name: string): Sql {
  const params: Record<string, string> = {};
  for (let i = 0; i < values.length; i += CHUNK)
    params[`${name}${i}`] = `[${values.slice(i, i + CHUNK).join(',')}]`;
  const bound = Object.keys(params).map((chunk) => `{${chunk}:Array(UInt64)}`);
  return { text: `arrayConcat(${['[toUInt64(0)]', ...bound].join(', ')})`, params };
}
