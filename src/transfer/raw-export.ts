import { CSV_HEADER, csvLine, type FileFormat, ndjsonLine } from './file-format.js';
import type { RawEventQuery, RawEventStore } from './raw-event.js';
import type { TransferMetrics } from './transfer-metrics.js';

/** Large enough to compress well, small enough for many at once. */
const PIECE_CHARACTERS = 128 * 1024;

/**
 * A site's events as the bytes of a file, made while they are read: what is in memory is one portion of the store and one piece.
 * A file that goes on after a place has no header, so that it can be put behind what is there.
 */
export async function* exportFile(
  store: RawEventStore,
  query: RawEventQuery,
  format: FileFormat,
  metrics: Pick<TransferMetrics, 'exportedEvents'>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, void> {
  const encoder = new TextEncoder();
  const line = format === 'csv' ? csvLine : ndjsonLine;
  let text = format === 'csv' && query.after === null ? CSV_HEADER : '';
  for await (const events of store.read(query, signal)) {
    for (const event of events) {
      text += line(event);
      if (text.length < PIECE_CHARACTERS) continue;
      yield encoder.encode(text);
      text = '';
    }
    metrics.exportedEvents.inc(events.length);
  }
  if (text !== '') yield encoder.encode(text);
}
