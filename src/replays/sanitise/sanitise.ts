/**
 * Makes an upload of a recorder safe to play: everything is rebuilt from what is known to be harmless (elements, attributes, addresses,
 * fields), nothing is passed on because nobody forbade it. Pure, linear in its input, never throws; runs in the recording pool.
 */
import { normalisePage } from '../../enrich/page.js';
import { cut, withoutNulEscapes } from '../../enrich/text.js';
import type { ChunkLimits, ChunkRefusal, SanitisedChunk } from '../chunk.js';
import { type SafeEvent, safeEvent } from './events.js';
import { FactGatherer } from './facts.js';
import { isObject, type Json, newScrub } from './scrub.js';

const MAX_SEQUENCE = 2 ** 31 - 1;
const decoder = new TextDecoder();
const encoder = new TextEncoder();

/**
 * @param body the request, JSON `{website_id, session_id, events, sequence, page}`
 * @returns the chunk with the events that may stay (those that are none are dropped singly and counted in `removed`), or why there is none
 */
export function sanitiseChunk(body: Uint8Array, limits: ChunkLimits): SanitisedChunk | ChunkRefusal {
  const request = parse(body);
  if (request === undefined) return refused('invalid_json', 'the body is not a JSON object');
  const envelope = readEnvelope(request, limits);
  if ('kind' in envelope) return envelope;
  const { events: raw } = request;
  if (!Array.isArray(raw)) return refused('invalid_request', 'events must be an array');
  if (raw.length > limits.events)
    return refused('batch_too_large', `at most ${limits.events} events can be sent at once`);

  const scrub = newScrub();
  const gatherer = new FactGatherer();
  const events: SafeEvent[] = [];
  for (const entry of raw) {
    const event = safeEvent(scrub, entry);
    if (event === undefined) {
      scrub.removed++;
      continue;
    }
    events.push(event);
    gatherer.event(event.type, event.timestamp, event.data);
  }
  if (events.length === 0) return refused('invalid_request', 'events holds no event of a recording');
  return {
    kind: 'chunk',
    ...envelope,
    events: encoder.encode(JSON.stringify(events)),
    count: events.length,
    ...gatherer.finish(),
    removed: scrub.removed,
  };
}

function parse(body: Uint8Array): Json | undefined {
  try {
    const value: unknown = JSON.parse(withoutNulEscapes(decoder.decode(body)));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

type Envelope = Pick<SanitisedChunk, 'websiteId' | 'sessionId' | 'sequence' | 'page'>;

function readEnvelope(request: Json, limits: ChunkLimits): Envelope | ChunkRefusal {
  const { website_id: websiteId, session_id: sessionId, sequence = 0, page = '' } = request;
  if (typeof websiteId !== 'string') return refused('invalid_request', 'website_id must be text');
  if (typeof sessionId !== 'string' || !isSessionId(sessionId, limits))
    return refused(
      'invalid_request',
      `session_id must be 1 to ${limits.sessionIdLength} characters without control characters`,
    );
  const number = sequence ?? 0;
  if (typeof number !== 'number' || !Number.isInteger(number) || number > MAX_SEQUENCE)
    return refused('invalid_request', 'sequence must be a whole number');
  return {
    websiteId,
    sessionId,
    sequence: Math.max(0, number),
    page: typeof page === 'string' ? cut(normalisePage(page), limits.pageLength) : '',
  };
}

function isSessionId(text: string, limits: ChunkLimits): boolean {
  return text.length >= 1 && text.length <= limits.sessionIdLength && !/\p{Cc}/u.test(text);
}

const refused = (code: ChunkRefusal['code'], message: string): ChunkRefusal => ({
  kind: 'refused',
  code,
  message,
});
