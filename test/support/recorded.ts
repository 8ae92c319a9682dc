/** Uploads of recorders, made by hand. */
import { CHUNK_LIMITS, type SanitisedChunk } from '../../src/replays/chunk.js';
import { sanitiseChunk } from '../../src/replays/sanitise/sanitise.js';

export const T = 1_700_000_000_000;
export const bytes = (value: unknown) =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
export const upload = (events: unknown, more: object = {}) =>
  bytes({ website_id: 'w', session_id: 's', events, sequence: 0, page: '/', ...more });

export function chunkOf(body: Uint8Array): SanitisedChunk {
  const chunk = sanitiseChunk(body, CHUNK_LIMITS);
  if (chunk.kind !== 'chunk') throw new Error(chunk.message);
  return chunk;
}

export const eventsOf = (chunk: SanitisedChunk): unknown => JSON.parse(Buffer.from(chunk.events).toString());
export const refusalOf = (body: Uint8Array) => {
  const result = sanitiseChunk(body, CHUNK_LIMITS);
  return result.kind === 'refused' ? result.code : 'taken';
};

export const el = (
  id: number,
  tagName: string,
  attributes: object = {},
  childNodes: unknown[] = [],
  more: object = {},
) => ({
  ...{ type: 2, tagName, attributes, childNodes },
  ...more,
  id,
});
export const text = (id: number, textContent: string) => ({ type: 3, textContent, id });
export const meta = {
  type: 4,
  data: { href: 'https://shop.example/a', width: 800, height: 600 },
  timestamp: T,
};
export const snapshot = (body: unknown[], head: unknown[] = []) => ({
  type: 2,
  data: {
    node: {
      type: 0,
      childNodes: [
        { type: 1, name: 'html', publicId: '', systemId: '', id: 2 },
        el(3, 'html', {}, [el(4, 'head', {}, head), el(5, 'body', {}, body)]),
      ],
      id: 1,
    },
    initialOffset: { left: 0, top: 0 },
  },
  timestamp: T + 1,
});
export const incremental = (data: object, timestamp = T + 2) => ({ type: 3, data, timestamp });
