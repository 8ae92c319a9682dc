import { AppError } from '../../errors.js';
import { frameSize, type SiteFrame } from '../../events/frame.js';

/**
 * Splits a site frame at row boundaries into frames of at most `maxBytes` each (as `frameSize` counts). The books stay right: the first
 * part carries the rejected ones, `received` of each part is its rows and rejected.
 * @throws AppError `body_too_large` when one row alone is larger; `internal` when the rows are damaged
 */
export function splitFrame(frame: SiteFrame, maxBytes: number): SiteFrame[] {
  if (frameSize(frame) <= maxBytes) return [frame];
  const room = maxBytes - frameSize({ ...frame, rows: [] });
  const rows = Buffer.concat(frame.rows);
  const parts: SiteFrame[] = [];
  let start = 0;
  let count = 0;
  let total = 0;
  const cut = (end: number) => {
    const rejected = parts.length === 0 ? frame.rejected : 0;
    const { siteId, source } = frame;
    parts.push({
      ...{ siteId, source, rejected, rowCount: count, received: count + rejected },
      rows: [rows.subarray(start, end)],
    });
    start = end;
    count = 0;
  };
  for (let at = 0; at < rows.length; total++) {
    const end = at + 4 < rows.length ? at + 4 + rows.readUInt32LE(at) : Number.POSITIVE_INFINITY;
    if (end > rows.length) throw new AppError('internal', 'rows of a site frame are damaged');
    if (end - at > room) throw new AppError('body_too_large', 'one event is too large to be stored');
    if (end - start > room) cut(at);
    count++;
    at = end;
  }
  if (count > 0) cut(rows.length);
  if (total !== frame.rowCount) throw new AppError('internal', 'rows of a site frame are damaged');
  return parts;
}
