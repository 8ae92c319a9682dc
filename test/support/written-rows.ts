/** What the writers of heat points and funnel events make of one request, decoded. */
import { ByteWriter } from '../../src/enrich/byte-writer.js';
import type { RecordContext, RowsOutcome } from '../../src/enrich/record-kind.js';
import { MadeVisitor } from '../../src/enrich/visitor-hash.js';
import { decodeMessage, encodeMessage, type Source } from '../../src/events/frame.js';
import { decodeRowOf } from '../../src/events/row-decoder.js';
import { RowFlag, type RowTable, tableOf } from '../../src/events/tables.js';
import { CHROME, NOW, ready, SITE } from './enrich-request.js';

type Write = (entries: readonly unknown[], context: RecordContext, out: ByteWriter) => RowsOutcome;

const contextWith = (changes: Partial<RecordContext>): RecordContext => ({
  site: ready(),
  receivedAt: NOW + 500,
  address: '81.2.69.142',
  visitor: new MadeVisitor({ siteId: SITE.siteId, address: '', userAgent: '', receivedAt: NOW }, []),
  userAgent: CHROME,
  escapes: false,
  eventAgeMs: 30 * 86_400_000,
  ...changes,
});

/**
 * The writer's answer to entries, with the decoded rows and whether each is to be looked up.
 * @throws Error when a row is of another table
 */
export function writtenRows<T extends RowTable>(
  { write, table, source }: { write: Write; table: T; source: Source },
  entries: readonly unknown[],
  changes: Partial<RecordContext> = {},
) {
  const outcome = write(entries, contextWith(changes), new ByteWriter(16));
  const { received, rejected, rowCount, rows } = outcome;
  const frames = decodeMessage(
    encodeMessage([{ siteId: SITE.siteId, source, received, rejected, rowCount, rows: [rows] }]),
  );
  const decoded = frames.flatMap((frame) =>
    frame.rows.map(({ flags, bytes }) => {
      if (tableOf(flags) !== table) throw new Error(`a row of ${tableOf(flags)}`);
      return { ...decodeRowOf(table, bytes), lookup: (flags & RowFlag.lookup) !== 0 };
    }),
  );
  return { ...outcome, decoded };
}
