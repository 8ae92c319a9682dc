/** Counts in the event store itself, past the program. */
import Type from 'typebox';
import { Value } from 'typebox/value';

const Rows = Type.Object({
  data: Type.Array(Type.Object({ page: Type.String(), count: Type.Union([Type.Number(), Type.String()]) })),
});

/** Stored events of a site per page, straight from ClickHouse. */
export async function storedByPage(
  clickhouse: string,
  database: string,
  siteId: string,
): Promise<Map<string, number>> {
  const sql = `SELECT page, count() AS count FROM ${database}.events WHERE site_id = {site:String} GROUP BY page FORMAT JSON`;
  const answer = await fetch(`${clickhouse}/?param_site=${siteId}`, { method: 'POST', body: sql });
  const text = await answer.text();
  if (!answer.ok) throw new Error(text);
  const parsed: unknown = JSON.parse(text);
  if (!Value.Check(Rows, parsed)) throw new Error(`unexpected answer: ${text.slice(0, 500)}`);
  return new Map(parsed.data.map(({ page, count }) => [page, Number(count)]));
}
