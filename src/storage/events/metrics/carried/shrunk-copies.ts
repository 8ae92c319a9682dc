import type { ClickhouseReader } from '../../clickhouse-reader.js';
import type { Sql } from '../clickhouse-conditions.js';
import { batchOf, COPIED, type CopiedSet, type Copies, noCopies } from './copied-set.js';
import { hashes } from './sql-values.js';
import type { Pairs } from './stretch.js';

/**
 * What is needed of a set that has only grown, as a set of its own: copied out of the copies, which lie side by side, while looking
 * everything up again would take a second.
 * @param pairs what has arrived lately
 * @param cut what lies about the ends of earlier periods
 * @throws what the reader throws, the signal's reason
 */
export async function shrunk(
  reader: Pick<ClickhouseReader, 'rows' | 'copy'>,
  old: CopiedSet,
  pairs: Pairs,
  cut: Pairs,
  signal: AbortSignal,
): Promise<CopiedSet> {
  const set: CopiedSet = { ...noCopies(), settled: old.settled, recent: '', beside: noCopies() };
  await move(reader, old, pairs, set, noCopies(), signal);
  await move(reader, old, cut, set.beside, set, signal);
  return set;
}

/** Copies all sessions of all visitors of these pairs, as far as the old set has them. @param without what has its sessions already */
async function move(
  reader: Pick<ClickhouseReader, 'rows' | 'copy'>,
  old: CopiedSet,
  pairs: Pairs,
  into: Copies,
  without: Copies,
  signal: AbortSignal,
): Promise<void> {
  const known = (kind: 'touched' | 'visitors', values: readonly string[]) =>
    [...new Set(values)].filter((value) => old[kind].has(value) || old.beside[kind].has(value));
  const touched = known(
    'touched',
    pairs.map(([session]) => session),
  );
  const visitors = known(
    'visitors',
    pairs.map(([, visitor]) => visitor),
  );
  if (touched.length + visitors.length === 0) return;
  const rows = rowsOfOld(old);
  const ofTouched = hashes(touched, 'touched');
  // Sessions may have had further visitors before, whose sessions are all there, too.
  const others = await reader.rows(
    {
      text: `SELECT DISTINCT toString(visitor) FROM ${rows.text} AND session IN (${ofTouched.text})`,
      params: { ...rows.params, ...ofTouched.params },
    },
    signal,
  );
  const all = [...new Set([...visitors, ...others.map(([visitor]) => String(visitor))])];
  const ofAll = hashes(all, 'visitors');
  const left = hashes([...without.sessions], 'without');
  await reader.copy(
    {
      text: `INSERT INTO changed_rows (set_id, batch, until, ${COPIED})
        SELECT {set:String}, {batch:UInt32}, toDateTime({until:UInt32}, 'UTC'), ${COPIED} FROM ${rows.text}
        AND session IN (SELECT session FROM ${rows.text} AND visitor IN (${ofAll.text})) AND session NOT IN (${left.text})`,
      params: { ...rows.params, ...ofAll.params, ...left.params, ...batchOf(into) },
    },
    signal,
  );
  into.batch++;
  const sessions = await reader.rows(
    {
      text: 'SELECT DISTINCT toString(session) FROM changed_rows WHERE set_id = {set:String}',
      params: { set: into.id },
    },
    signal,
  );
  for (const one of touched) into.touched.add(one);
  for (const one of all) into.visitors.add(one);
  for (const [one] of sessions) into.sessions.add(String(one));
  for (const one of touched) if (!without.sessions.has(one)) into.sessions.add(one);
}

/** Rows of both halves; sessions that are in both are read in the first. */
function rowsOfOld({ id, batch, sessions, beside }: CopiedSet): Sql {
  const twice = hashes(
    [...beside.sessions].filter((session) => sessions.has(session)),
    'twice',
  );
  return {
    text: `changed_rows WHERE (set_id = {old:String} AND batch <= {oldBatch:UInt32}
      OR set_id = {oldBeside:String} AND batch <= {oldBesideBatch:UInt32} AND session NOT IN (${twice.text}))`,
    params: { old: id, oldBatch: batch, oldBeside: beside.id, oldBesideBatch: beside.batch, ...twice.params },
  };
}
