import type { ClickhouseReader } from '../../clickhouse-reader.js';
import type { FinishedRows } from '../clickhouse-rows.js';
import { second } from './sql-values.js';

/** All finished days of a site as they were at a settled moment. */
export interface Finished extends FinishedRows {
  /** ms since epoch. */
  readonly asOf: number;
  /** Of the rollup when they were made. */
  readonly history: string;
  /** Version by day (since 1970). */
  readonly byDay: ReadonlyMap<number, number>;
}

/** A version tells when it was made, so that what nobody refers to can be found: minutes, 13 random bits, 15 bits of the day. */
const EPOCH = Date.UTC(2024, 0, 1);
const RANDOM = 8_192;
const DAYS = 32_768;
/** Versions that are referred to no more stay for those who still read them. */
const KEPT_MS = 2 * 3_600_000;

const minuteOf = (at: number): number => Math.floor((at - EPOCH) / 60_000);

/** @returns a number below 2^53 to which days since 1970 are added */
export const versionBase = (at: number): number =>
  (minuteOf(at) * RANDOM + Math.floor(Math.random() * RANDOM)) * DAYS;

/** Which versions of a site's days belong together: the table `finished_days`. */
export class FinishedVersions {
  constructor(private readonly reader: ClickhouseReader) {}

  /** The latest that is stored. @throws what the reader throws */
  async load(siteId: string, signal: AbortSignal): Promise<Finished | undefined> {
    const [row] = await this.reader.rows(
      {
        text: `SELECT toUnixTimestamp(as_of), toUnixTimestamp(live_from), history, days, versions FROM finished_days
          WHERE site_id = {site:String} ORDER BY made DESC LIMIT 1`,
        params: { site: siteId },
      },
      signal,
    );
    if (row === undefined) return undefined;
    const [asOf, liveFrom, history, days, versions] = row;
    if (!Array.isArray(days) || !Array.isArray(versions)) throw new TypeError('no lists of finished days');
    return {
      asOf: Number(asOf) * 1000,
      liveFrom: Number(liveFrom) * 1000,
      history: String(history),
      byDay: new Map(days.map((day, i) => [Number(day), Number(versions[i])])),
      versions: versions.map(Number),
    };
  }

  /** Stores it, and removes what has been replaced for long. @throws what the reader throws */
  async save(siteId: string, finished: Finished, signal: AbortSignal): Promise<void> {
    await this.reader.copy(
      {
        text: `INSERT INTO finished_days (site_id, as_of, history, live_from, days, versions) SELECT {site:String},
          toDateTime({asOf:UInt32}, 'UTC'), {history:String}, toDateTime({liveFrom:UInt32}, 'UTC'), {days:Array(UInt32)}, {versions:Array(UInt64)}`,
        params: {
          site: siteId,
          asOf: second(finished.asOf),
          history: finished.history,
          liveFrom: second(finished.liveFrom),
          days: [...finished.byDay.keys()],
          versions: [...finished.byDay.values()],
        },
      },
      signal,
    );
    const old = Date.now() - KEPT_MS;
    await this.remove(
      'finished_days',
      "site_id = {site:String} AND made < toDateTime({old:UInt32}, 'UTC')",
      { site: siteId, old: second(old) },
      signal,
    );
    const used = await this.reader.rows(
      {
        text: 'SELECT DISTINCT arrayJoin(versions) FROM finished_days WHERE site_id = {site:String}',
        params: { site: siteId },
      },
      signal,
    );
    await this.remove(
      'finished_sessions',
      'site_id = {site:String} AND version < {old:UInt64} AND version NOT IN ({used:Array(UInt64)})',
      { site: siteId, old: minuteOf(old) * RANDOM * DAYS, used: used.map(([version]) => Number(version)) },
      signal,
    );
  }

  /** A delete touches every part, also for nothing. */
  private async remove(
    table: string,
    condition: string,
    params: Readonly<Record<string, unknown>>,
    signal: AbortSignal,
  ): Promise<void> {
    const found = await this.reader.rows(
      { text: `SELECT 1 FROM ${table} WHERE ${condition} LIMIT 1`, params },
      signal,
    );
    if (found.length > 0)
      await this.reader.copy({ text: `DELETE FROM ${table} WHERE ${condition}`, params }, signal);
  }
}
