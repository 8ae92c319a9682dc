/** Entry of the recording pool's worker: checks and sanitises an upload, compresses it and writes its rows. */
import { LRUCache } from 'lru-cache';
import { move, transferableSymbol, valueSymbol, workerData } from 'piscina';
import { ByteWriter } from '../enrich/byte-writer.js';
import { GeoLookup } from '../enrich/geo.js';
import { parseUserAgent, type UserAgent } from '../enrich/user-agent.js';
import { RowFlag } from '../events/tables.js';
import { type PageRules, pageRules } from '../websites/page-patterns.js';
import { CHUNK_LIMITS, type SanitisedChunk } from './chunk.js';
import { compressEvents } from './compression.js';
import type { RecordingOutcome, RecordingTask, RecordingWorkerOptions } from './recording-protocol.js';
import {
  chunkIdOf,
  RECORDING_FLAGS,
  type RecordedChunk,
  SKEW_LIMIT_MS,
  writeParts,
} from './recording-row.js';
import { isSampled } from './sampling.js';
import { sanitiseChunk } from './sanitise/sanitise.js';

const AGENTS = 1_000;
const RULES = 1_000;
const ADDRESSES = 5_000;
const ROW_HEAD_BYTES = 8_192;

const options: RecordingWorkerOptions = workerData;
const geo = new GeoLookup(options.geo, ADDRESSES);
const agents = new LRUCache<string, UserAgent>({ max: AGENTS });
const rules = new LRUCache<string, PageRules>({ max: RULES });

export default function run(task: RecordingTask): unknown {
  try {
    return transferred(record(task));
  } catch (error) {
    const reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { kind: 'failed', reason } satisfies RecordingOutcome;
  }
}

/** The one buffer of an outcome moves with it. */
function transferred(outcome: RecordingOutcome): unknown {
  if (outcome.kind === 'rows') return moved(outcome, outcome.rows);
  return outcome.kind === 'other_site' ? moved(outcome, outcome.body) : outcome;
}

function moved(outcome: RecordingOutcome, buffer: ArrayBuffer): unknown {
  return move({ [transferableSymbol]: buffer, [valueSymbol]: outcome });
}

function record(task: RecordingTask): RecordingOutcome {
  const chunk = sanitiseChunk(new Uint8Array(task.body), CHUNK_LIMITS);
  if (chunk.kind === 'refused') return chunk;
  const site = chunk.websiteId.toLowerCase();
  if (site !== task.siteId && site !== task.siteUuid) {
    return { kind: 'other_site', site: chunk.websiteId, body: task.body };
  }
  if (!isSampled(task.siteId, chunk.sessionId, task.samplingRate))
    return { kind: 'ignored', reason: 'not_sampled' };
  if (!rulesOf(task).allows(chunk.page)) return { kind: 'ignored', reason: 'page_excluded' };
  return rowsOf(task, chunk);
}

function rowsOf(task: RecordingTask, chunk: SanitisedChunk): RecordingOutcome {
  const { siteId, receivedAt } = task;
  const data = compressEvents(chunk.events);
  const agent = agentOf(task.userAgent);
  const recorded: RecordedChunk = {
    ...{ siteId, receivedAt },
    ...chunk,
    rawBytes: chunk.events.length,
    browser: agent.browser,
    os: agent.os,
    device: agent.device,
    countryCode: geo.place(task.address).countryCode,
  };
  // A copy of a chunk whose clock is wrong bears another corrected time.
  const isSkewed = Math.abs(receivedAt - chunk.lastMs) > SKEW_LIMIT_MS;
  const flags = RECORDING_FLAGS | (isSkewed ? RowFlag.lookup : 0);
  const out = new ByteWriter(data.length + ROW_HEAD_BYTES);
  const id = chunkIdOf(siteId, chunk.sessionId, chunk.sequence, chunk.events);
  const rowCount = writeParts(out, recorded, id, data, flags);
  return {
    kind: 'rows',
    rows: out.take(),
    rowCount,
    rawBytes: chunk.events.length,
    storedBytes: data.length,
    events: chunk.count,
    removed: chunk.removed,
  };
}

function agentOf(text: string): UserAgent {
  const known = agents.get(text);
  if (known !== undefined) return known;
  const agent = parseUserAgent(text);
  agents.set(text, agent);
  return agent;
}

function rulesOf({ includePatterns, excludePatterns }: RecordingTask): PageRules {
  const key = `${includePatterns ?? ''}\u0000${excludePatterns ?? ''}`;
  const known = rules.get(key);
  if (known !== undefined) return known;
  const made = pageRules(includePatterns, excludePatterns);
  rules.set(key, made);
  return made;
}
