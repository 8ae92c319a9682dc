import { TABLE_COLUMNS } from '../../../events/tables.js';
import { SLOT_MS } from '../../../metrics/metrics-store.js';
import {
  type Anonymisation,
  PERSONAL_TABLES,
  type PersonalRow,
  type PersonalStore,
  type PersonalTable,
} from '../../../privacy/personal-store.js';
import { type Clickhouse, type ClickhouseOptions, openClickhouse } from '../../clickhouse.js';
import { inTime } from '../../clickhouse-body.js';
import { STATEMENT_TIMEOUT_MS } from '../../clickhouse-migrations.js';
import { renderMigration } from '../../clickhouse-sql.js';
import { deleteRows, deleteSite, forgetFinished, holding, tablesWith } from '../clickhouse-deletion.js';
import { attempt } from '../clickhouse-insert.js';
import { repairSite, UNDER_WAY_MS, viewQuery } from '../clickhouse-repair.js';
import { ask, change, inParts, MADE_ANEW } from '../clickhouse-statements.js';
import { rewritten } from './clickhouse-rewritten.js';
import { ANONYMOUS_ID, anonymousColumns, exported, lengthPrefixHex } from './columns.js';

/** Single visitors in ClickHouse. */
export function createClickhousePersonal(options: ClickhouseOptions): PersonalStore {
  const clickhouse = openClickhouse({ requestTimeoutMs: STATEMENT_TIMEOUT_MS, ...options });
  return {
    rows: (table, siteId, visitorId, signal) => rows(clickhouse, table, siteId, visitorId, signal),
    sessionsOf: (siteId, visitorId) => attempt(() => sessionsOf(clickhouse, siteId, visitorId)),
    deleteVisitor: (siteId, visitorId) => attempt(() => deleteVisitor(clickhouse, siteId, visitorId)),
    deleteSite: async (siteId) => {
      await deleteSite(clickhouse, siteId);
      await attempt(() => deleteUnreadable(clickhouse, siteId, ''));
    },
    anonymise: (siteId, how) => attempt(() => anonymise(clickhouse, siteId, how)),
    rewritten: (signal) => attempt(() => rewritten(clickhouse, signal)),
    close: () => clickhouse.close(),
  };
}

async function* rows(
  { client }: Clickhouse,
  table: PersonalTable,
  siteId: string,
  visitorId: string | null,
  signal: AbortSignal,
): AsyncIterable<PersonalRow[]> {
  const columns = TABLE_COLUMNS[table].map(({ name, type }) =>
    type === 'id' ? `lower(hex(${name})) AS ${name}` : name,
  );
  const answer = await client.query({
    query: `SELECT ${columns.join(', ')} FROM ${table} WHERE site_id = {site:String}
      ${visitorId === null ? '' : 'AND visitor_id = {visitor:String} ORDER BY timestamp'}`,
    query_params: { site: siteId, visitor: visitorId ?? '' },
    format: 'JSONEachRow',
    use_multipart_params: true,
    clickhouse_settings: { date_time_output_format: 'iso', output_format_json_quote_64bit_integers: 0 },
    abort_signal: signal,
  });
  for await (const some of inTime(answer.stream<PersonalRow>(), signal))
    yield some.map((row) => exported(row.json()));
}

async function sessionsOf(clickhouse: Clickhouse, siteId: string, visitorId: string): Promise<string[]> {
  const ofTable = (table: string) =>
    `SELECT session_id FROM ${table} WHERE site_id = {site:String} AND visitor_id = {visitor:String}`;
  const found = await ask<[string]>(
    clickhouse,
    `SELECT DISTINCT session_id FROM (${PERSONAL_TABLES.map(ofTable).join(' UNION ALL ')}) WHERE session_id != ''`,
    { site: siteId, visitor: visitorId },
  );
  return found.map(([session]) => session);
}

/**
 * By hashes of the visitor's id: ClickHouse keeps the text of its last mutations in files. Tables are found by their columns, so that new
 * ones are not forgotten. What is made of the rows goes before them: as long as there are rows, another attempt after a crash knows that
 * there may be more to do. Of nobody there is nothing to do.
 */
async function deleteVisitor(clickhouse: Clickhouse, siteId: string, visitorId: string): Promise<void> {
  const [[hash, visitor] = []] = await ask<[string, string]>(
    clickhouse,
    'SELECT hex(sipHash128({visitor:String})), toString(cityHash64({visitor:String}))',
    { visitor: visitorId },
  );
  const ofVisitor = { site: siteId, visitor };
  const rollups = await deleteRows(
    clickhouse,
    await tablesWith(clickhouse, ['site_id', 'visitor']),
    'site_id = {site:String} AND visitor = {visitor:UInt64}',
    ofVisitor,
  );
  // Sessions that several visitors share.
  const shared = await deleteRows(
    clickhouse,
    await tablesWith(clickhouse, ['site_id', 'view_visitor', 'custom_visitor']),
    'site_id = {site:String} AND (has(view_visitor, {visitor:UInt64}) OR has(custom_visitor, {visitor:UInt64}))',
    ofVisitor,
  );
  const ofRows = [
    'site_id = {site:String} AND hex(sipHash128(visitor_id)) = {hash:String}',
    { site: siteId, hash },
  ] as const;
  const raw = await holding(clickhouse, await tablesWith(clickhouse, ['site_id', 'visitor_id']), ...ofRows);
  if (rollups.length + shared.length + raw.length > 0) await forgetFinished(clickhouse, siteId);
  await deleteRows(clickhouse, raw, ...ofRows);
  await deleteQuarantined(
    clickhouse,
    'site_id = {site:String} AND position(bytes, concat(unhex({length:String}), {visitor:String})) > 0',
    { site: siteId, visitor: visitorId, length: lengthPrefixHex(visitorId) },
  );
  await deleteUnreadable(clickhouse, siteId, visitorId);
}

/** Messages that could not be read are of no site; the site's id stands in them all the same. */
function deleteUnreadable(clickhouse: Clickhouse, siteId: string, visitorId: string): Promise<void> {
  return deleteQuarantined(
    clickhouse,
    "site_id = '' AND position(bytes, {site:String}) > 0 AND position(bytes, {visitor:String}) > 0",
    { site: siteId, visitor: visitorId },
  );
}

async function deleteQuarantined(
  clickhouse: Clickhouse,
  condition: string,
  parameters: Record<string, unknown>,
): Promise<void> {
  const found = await ask<[string, string]>(
    clickhouse,
    `SELECT site_id, id FROM quarantine WHERE ${condition}`,
    parameters,
  );
  const [first] = found;
  if (first === undefined) return;
  const [table = 'quarantine'] = await tablesWith(clickhouse, ['row_table', 'quarantined_at']);
  // Of one site all of them; another site may have the same ids.
  for (const ids of inParts(found.map(([, id]) => id)))
    await deleteRows(clickhouse, [table], 'site_id = {site:String} AND id IN {ids:Array(String)}', {
      site: first[0],
      ids,
    });
}

async function anonymise(
  clickhouse: Clickhouse,
  siteId: string,
  { before, salt }: Anonymisation,
): Promise<void> {
  const receivedSince = Date.now() - UNDER_WAY_MS;
  const finished = finishedSlot(before);
  // Where nothing can be compared, slots that still get events are made anew like the others, up to the last with a changed event.
  const until = clickhouse.cluster === undefined ? finished : finished + 2 * SLOT_MS;
  const parameters = { site: siteId, before: Math.floor(before / 1000), salt, until: until / 1000 };
  const old = `site_id = {site:String} AND timestamp < toDateTime({before:UInt32}, 'UTC') AND NOT match(visitor_id, '${ANONYMOUS_ID}')`;
  const oneWay = (column: string) =>
    `concat('anon_', lower(left(hex(SHA256(concat({salt:String}, ${column}))), 16)))`;
  for (const table of PERSONAL_TABLES) {
    const changed = anonymousColumns(table, {
      oneWay,
      withoutQuery: (column) => `cutQueryStringAndFragment(${column})`,
    });
    const names = TABLE_COLUMNS[table].map(({ name }) => name);
    const values = names.map((name) => changed.get(name) ?? name);
    const isCopied = (ids: string) =>
      `IN (SELECT event_id FROM ${ids} WHERE site_id = {site:String} AND match(visitor_id, '${ANONYMOUS_ID}'))`;
    // What an interrupted attempt has copied is not copied again.
    await change(
      clickhouse,
      `INSERT INTO ${table} (${names.join(', ')}) SELECT ${values.join(', ')} FROM ${table} AS t WHERE ${old.replaceAll(
        /\b(site_id|timestamp|visitor_id)\b/g,
        't.$1',
      )}
       AND t.event_id GLOBAL NOT ${isCopied(table)}`,
      parameters,
      { settings: MADE_ANEW },
    );
    const own = clickhouse.cluster === undefined ? table : `${table}_local`;
    // Not what has arrived since, of which there is no copy.
    await deleteRows(clickhouse, [own], `${old} AND event_id ${isCopied(own)}`, parameters);
  }
  // Rows as they came, which could be stored some day.
  await deleteQuarantined(clickhouse, 'site_id = {site:String}', { site: siteId });
  await deleteUnreadable(clickhouse, siteId, '');
  await rebuildRollup(clickhouse, parameters);
  const [imported = 'import_rows'] = await tablesWith(clickhouse, ['import_id', 'visitor']);
  const onCluster = renderMigration('{{on_cluster}}', clickhouse.cluster);
  await change(
    clickhouse,
    `ALTER TABLE ${imported} ${onCluster} UPDATE visitor = 0 WHERE site_id = {site:String} AND visitor != 0`,
    parameters,
    { settings: { mutations_sync: '2' } },
  );
  await forgetFinished(clickhouse, siteId, ['changed_rows']);
  if (clickhouse.cluster === undefined)
    await repairSite(clickhouse, siteId, { since: finished, receivedSince });
}

/** Slots before this one get no events any more, but for late ones. */
const finishedSlot = (before: number): number => Math.floor(before / SLOT_MS - 1) * SLOT_MS;

/** Makes the slots of a site up to a time anew from its events. What arrives meanwhile may count twice until it is compared. */
async function rebuildRollup(clickhouse: Clickhouse, parameters: Record<string, unknown>): Promise<void> {
  const slots = "site_id = {site:String} AND slot < toDateTime({until:UInt32}, 'UTC')";
  const table = clickhouse.cluster === undefined ? 'session_slots' : 'session_slots_local';
  await deleteRows(clickhouse, [table], slots, parameters);
  // Of all shards, not of the one that answers.
  const view = (await viewQuery(clickhouse)).replaceAll(/\bevents_local\b/g, 'events');
  await change(clickhouse, `INSERT INTO session_slots SELECT * FROM (${view}) WHERE ${slots}`, parameters, {
    settings: MADE_ANEW,
  });
}
