import type { ImportRecord } from '../storage/metadata/imports.js';
import type { ObjectStore } from '../storage/objects/objects.js';
import { csvRows, type FileRow, headerOf, ndjsonRows } from './file-rows.js';
import { readUpload } from './upload.js';

/** Rows of an import's file from where its work goes on, with ends counted from the beginning of the file. */
export async function* rowsOfUpload(
  objects: Pick<ObjectStore, 'get'>,
  item: Pick<ImportRecord, 'id' | 'format' | 'bytes' | 'doneBytes'>,
): AsyncGenerator<FileRow, void, void> {
  const from = item.doneBytes;
  const text = (start: number) => readUpload(objects, item.id, start, item.bytes);
  if (item.format === 'ndjson') {
    yield* at(ndjsonRows(text(from)), from);
    return;
  }
  const head = await text(0).next();
  const columns = headerOf(head.done === true ? new Uint8Array(0) : head.value);
  let isHeader = from === 0;
  for await (const row of at(csvRows(text(from), columns), from)) {
    if (!isHeader) yield row;
    isHeader = false;
  }
}

async function* at(rows: AsyncIterable<FileRow>, from: number): AsyncGenerator<FileRow, void, void> {
  for await (const row of rows) yield { ...row, end: row.end + from };
}
