/** JSON text that is made while it is read, in pieces large enough to compress and send well. */
const PIECE_CHARACTERS = 32 * 1024;

/** A value whose text comes piece by piece. */
export class JsonStream {
  constructor(readonly pieces: AsyncIterable<Uint8Array | string>) {}
}

/** A list of rows that come in portions. */
export function jsonList(portions: AsyncIterable<readonly unknown[]>): JsonStream {
  return new JsonStream(
    (async function* () {
      let before = '[';
      for await (const rows of portions) {
        let text = '';
        for (const row of rows) {
          text += before + JSON.stringify(row);
          before = ',';
        }
        if (text !== '') yield text;
      }
      yield before === '[' ? '[]' : ']';
    })(),
  );
}

/** A list of values each of which may come piece by piece. */
export function jsonListOf(items: AsyncIterable<unknown>): JsonStream {
  return new JsonStream(
    (async function* () {
      let before = '[';
      for await (const item of items) {
        yield before;
        before = ',';
        yield* textOf(item);
      }
      yield before === '[' ? '[]' : ']';
    })(),
  );
}

/** An object some of whose values come piece by piece. */
export function jsonObjectOf(fields: Readonly<Record<string, unknown>>): JsonStream {
  return new JsonStream(
    (async function* () {
      let before = '{';
      for (const [name, value] of Object.entries(fields)) {
        if (value === undefined) continue;
        yield `${before}${JSON.stringify(name)}:`;
        before = ',';
        yield* textOf(value);
      }
      yield before === '{' ? '{}' : '}';
    })(),
  );
}

async function* textOf(value: unknown): AsyncIterable<Uint8Array | string> {
  if (value instanceof JsonStream) yield* value.pieces;
  else yield JSON.stringify(value ?? null);
}

/** The text as bytes, small pieces put together. */
export async function* jsonBytes(value: JsonStream): AsyncIterable<Uint8Array> {
  let text = '';
  for await (const piece of value.pieces) {
    if (typeof piece === 'string') text += piece;
    if (typeof piece === 'string' && text.length < PIECE_CHARACTERS) continue;
    if (text !== '') yield Buffer.from(text);
    text = '';
    if (typeof piece !== 'string') yield piece;
  }
  if (text !== '') yield Buffer.from(text);
}
