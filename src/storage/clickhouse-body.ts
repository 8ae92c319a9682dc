import type { Readable } from 'node:stream';
import type { ResultSet } from '@clickhouse/client';

/** An answer that has begun may be silent for so long, ms. */
const SILENCE_MS = 60_000;

/**
 * All rows of an answer. The client lets go of a signal once the head of the answer is there; here it holds until the end.
 * @throws the signal's reason; Error when nothing comes any more
 */
export async function rowsOf<Row>(
  answer: ResultSet<'JSONCompactEachRow'>,
  signal: AbortSignal,
): Promise<Row[]> {
  const rows: Row[] = [];
  for await (const some of inTime(answer.stream<Row>(), signal))
    for (const row of some) rows.push(row.json());
  return rows;
}

/** Reads what an insert answers, which is nothing, so that its socket is free again. @throws as `rowsOf` */
export async function drained(stream: Readable, signal: AbortSignal): Promise<void> {
  for await (const _ of inTime(stream, signal)) {
    // Nothing.
  }
}

/**
 * A body in pieces, for as long as the signal lets it and while something comes. The time that the reader takes does not count: whoever
 * exports a lot over a slow line gets it all.
 * @throws as `rowsOf`
 */
export async function* inTime<Piece>(
  stream: Readable & AsyncIterable<Piece>,
  signal: AbortSignal,
  silenceMs = SILENCE_MS,
): AsyncGenerator<Piece, void, void> {
  let isAwaited = true;
  const silence = setTimeout(() => {
    if (isAwaited)
      stream.destroy(new Error(`an answer of ClickHouse stopped: nothing came for ${silenceMs} ms`));
  }, silenceMs);
  const end = () =>
    stream.destroy(signal.reason instanceof Error ? signal.reason : new Error('the caller has left'));
  signal.addEventListener('abort', end, { once: true });
  if (signal.aborted) end();
  try {
    for await (const piece of stream) {
      isAwaited = false;
      yield piece;
      isAwaited = true;
      silence.refresh();
    }
    // A stream that was destroyed between two pieces may just end.
    signal.throwIfAborted();
  } finally {
    clearTimeout(silence);
    signal.removeEventListener('abort', end);
  }
}
