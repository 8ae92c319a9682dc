/** The events of one funnel request, as rows of `funnel_events`. */
import { hash } from 'node:crypto';
import { flagsOf, RowFlag } from '../events/tables.js';
import { isBotAgent, isSenderLibrary } from './bot.js';
import type { ByteWriter } from './byte-writer.js';
import { FUTURE_LIMIT_MS, lengthText, parseTimestamp, parseUnixTime } from './clock.js';
import { sessionOf } from './enrich-event.js';
import { asNumber } from './event-schema.js';
import { beginRecord, endRecord } from './record-frame.js';
import { NO_ROWS, type RecordContext, Rejections, type RowsOutcome } from './record-kind.js';
import { Rejection } from './rejection.js';
import { cut, TEXT_LIMITS } from './text.js';
import { uniqueClock } from './unique-clock.js';

/** Events of a request that are taken. */
export const MAX_FUNNEL_EVENTS = 1_000;

const TYPES: ReadonlySet<string> = new Set(['start', 'progress', 'conversion', 'dropoff']);
const MAX_STEP = 0xffff;
const MAX_STEPS = 100;

interface FunnelEvent {
  readonly funnelId: string;
  readonly visitorId: string;
  readonly sessionId: string;
  readonly eventType: string;
  readonly stepName: string;
  readonly currentStep: number;
  readonly completedSteps: string;
  /** ms since epoch. */
  readonly startedAt: number;
  readonly timestamp: number;
  readonly converted: boolean;
  /** What of the time goes into the id. */
  readonly idClock: string;
  readonly lookup: boolean;
}

/** Writes the good events; the bad ones are rejected one by one, and those of crawlers all. */
export function writeFunnelEvents(
  entries: readonly unknown[],
  context: RecordContext,
  out: ByteWriter,
): RowsOutcome {
  const rejections = new Rejections();
  const start = out.at;
  const bot = isBotAgent(context.userAgent) && !isSenderLibrary(context.userAgent);
  const taken = Math.min(entries.length, MAX_FUNNEL_EVENTS);
  for (let index = 0; index < taken; index++) {
    const event = bot ? FROM_BOT : readFunnelEvent(entries[index], context);
    if (event instanceof Rejection) rejections.add(index, event.code, event.message);
    else writeFunnelEvent(out, event, context);
  }
  for (let index = taken; index < entries.length; index++)
    rejections.add(index, 'batch_too_large', `only ${MAX_FUNNEL_EVENTS} events a request are taken`);
  return {
    ...NO_ROWS,
    rows: out.buffer.subarray(start, out.at),
    rowCount: entries.length - rejections.count,
    received: entries.length,
    rejected: rejections.count,
    errors: rejections.errors,
  };
}

const FROM_BOT = new Rejection('bot_agent', 'crawlers are not counted in funnels');

function readFunnelEvent(value: unknown, context: RecordContext): FunnelEvent | Rejection {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return new Rejection('not_an_object', 'a funnel event must be a JSON object');
  const field = (name: string): unknown => Object.getOwnPropertyDescriptor(value, name)?.value;
  const text = (name: string, limit: number): string => {
    const given = field(name);
    return typeof given === 'string' ? cut(given.trim(), limit) : '';
  };
  const funnelId = text('funnel_id', TEXT_LIMITS.id);
  if (funnelId === '') return new Rejection('missing_field', 'funnel_id is required');
  if (isNoText(field('visitor_id')) || isNoText(field('session_id')))
    return new Rejection('missing_field', 'visitor_id and session_id must be texts');
  const eventType = text('event_type', TEXT_LIMITS.label) || 'progress';
  if (!TYPES.has(eventType))
    return new Rejection('invalid_value', `event_type must be one of ${[...TYPES].join(', ')}`);
  const clock = readClock(field('timestamp'), context);
  if (clock instanceof Rejection) return clock;
  const visitorId = text('visitor_id', TEXT_LIMITS.id) || context.visitor.at(clock.timestamp);
  if (visitorId === '')
    return new Rejection('missing_field', 'visitor_id is missing, and none can be made at the moment');
  const sessionId = text('session_id', TEXT_LIMITS.id) || sessionOf(visitorId, clock.timestamp);
  const startedAt = text('started_at', TEXT_LIMITS.label);
  const entered = parseTimestamp(startedAt);
  const timed = clock.text !== '' || startedAt !== '';
  return {
    funnelId,
    visitorId,
    sessionId,
    eventType,
    stepName: text('step_name', TEXT_LIMITS.label),
    currentStep: step(field('current_step')),
    completedSteps: steps(field('completed_steps')),
    startedAt: entered >= 0 && entered <= clock.timestamp ? entered : clock.timestamp,
    timestamp: clock.timestamp,
    converted: field('converted') === true || eventType === 'conversion',
    // Without both times two reports of the same step cannot be told from one that came twice; then each counts.
    idClock: timed ? `${clock.text} ${startedAt}` : uniqueClock(context.receivedAt),
    // The time of receipt says nothing about when a copy could have come.
    lookup: timed && clock.lookup,
  };
}

/** Given, but as something that names nobody. */
function isNoText(value: unknown): boolean {
  return value !== undefined && value !== null && typeof value !== 'string';
}

/** The time of the event, and the client's text for it, '' when it sent none. */
function readClock(
  value: unknown,
  { receivedAt, eventAgeMs }: RecordContext,
): { timestamp: number; text: string; lookup: boolean } | Rejection {
  const given = typeof value === 'string' ? value.trim() : value;
  if (given === undefined || given === null || given === '')
    return { timestamp: receivedAt, text: '', lookup: true };
  const ms =
    typeof given === 'string'
      ? parseTimestamp(cut(given, TEXT_LIMITS.label))
      : typeof given === 'number'
        ? parseUnixTime(given)
        : Number.NaN;
  if (Number.isNaN(ms)) return new Rejection('invalid_timestamp', 'timestamp must be an RFC 3339 text');
  if (ms < Math.max(0, receivedAt - eventAgeMs))
    return new Rejection('stale', `the event is older than ${lengthText(eventAgeMs)}`);
  const ahead = ms > receivedAt + FUTURE_LIMIT_MS;
  return { timestamp: ahead ? receivedAt : ms, text: String(given), lookup: ahead };
}

function step(value: unknown): number {
  return Math.min(MAX_STEP, Math.max(0, Math.trunc(asNumber(value) ?? 0)));
}

function steps(value: unknown): string {
  return JSON.stringify(Array.isArray(value) ? value.slice(0, MAX_STEPS).map(step) : []);
}

function writeFunnelEvent(out: ByteWriter, event: FunnelEvent, { site, receivedAt }: RecordContext): void {
  const flags = flagsOf('funnel_events') | (event.lookup ? RowFlag.lookup : 0);
  const record = beginRecord(out, flags, event.timestamp, receivedAt, site.encodedId);
  out.string(event.funnelId);
  out.string(event.visitorId);
  out.string(event.sessionId);
  out.string(event.eventType);
  out.string(event.stepName);
  out.u16(event.currentStep);
  out.string(event.completedSteps);
  out.i64(event.startedAt);
  out.u8(event.converted ? 1 : 0);
  const identity = [site.siteId, event.funnelId, event.visitorId, event.sessionId, event.eventType];
  const id = hash(
    'sha256',
    JSON.stringify([...identity, event.stepName, event.currentStep, event.idClock]),
    'binary',
  );
  endRecord(out, record, id);
}
