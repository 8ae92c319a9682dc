import { encodeMessage, type SiteFrame, type Source } from '../../src/events/frame.js';
import { flagsOf, RowFlag, type RowTable } from '../../src/events/tables.js';

/** An event as the writer's tests need it: only the columns that the writer itself reads, not a row of the real tables. */
export interface TestEvent {
  readonly site: string;
  /** The event id is made of it. */
  readonly number: number;
  readonly timestamp: number;
  readonly receivedAt: number;
  readonly bot?: boolean;
  /** Default: the table of events or of bots. */
  readonly table?: RowTable;
  readonly lookup?: boolean;
  /** The fake store refuses it. */
  readonly bad?: boolean;
}

export function idOf(number: number): string {
  return number.toString(16).padStart(32, '0');
}

/** Site ids whose partition (of `partitions`) is the one asked for. */
export function siteOf(partition: number, n = 0): string {
  return `${'ab'.repeat(6)}${n.toString(16).padStart(4, '0')}${partition.toString(16).padStart(8, '0')}`;
}

export function rowBytes(event: TestEvent): Buffer {
  const bytes = Buffer.alloc(32 + 1 + event.site.length + 1);
  Buffer.from(idOf(event.number), 'hex').copy(bytes);
  bytes.writeBigInt64LE(BigInt(event.timestamp), 16);
  bytes.writeBigInt64LE(BigInt(event.receivedAt), 24);
  bytes[32] = event.site.length;
  bytes.write(event.site, 33, 'latin1');
  bytes[33 + event.site.length] = event.bad ? 1 : 0;
  return bytes;
}

export function siteFrame(events: readonly TestEvent[], source: Source = 'event', rejected = 0): SiteFrame {
  const [first] = events;
  if (first === undefined) throw new RangeError('a frame needs an event');
  return rawFrame(
    first.site,
    events.map((event) => ({ flags: flags(event), bytes: rowBytes(event) })),
    source,
    rejected,
  );
}

/** Where an event is stored. */
export function tableOfEvent({ table, bot }: TestEvent): RowTable {
  return table ?? (bot ? 'bot_events' : 'events');
}

function flags(event: TestEvent): number {
  return flagsOf(tableOfEvent(event)) | (event.lookup ? RowFlag.lookup : 0);
}

export function rawFrame(
  siteId: string,
  rows: readonly { readonly flags: number; readonly bytes: Uint8Array }[],
  source: Source = 'event',
  rejected = 0,
): SiteFrame {
  const records = rows.map(({ flags, bytes }) => {
    const head = Buffer.alloc(5);
    head.writeUInt32LE(bytes.length + 1);
    head[4] = flags;
    return Buffer.concat([head, bytes]);
  });
  return { siteId, source, received: rows.length + rejected, rejected, rowCount: rows.length, rows: records };
}

/** One stream message of the events, a frame a site. */
export function messageOf(events: readonly TestEvent[]): Buffer {
  const sites = [...new Set(events.map((event) => event.site))];
  return encodeMessage(sites.map((site) => siteFrame(events.filter((event) => event.site === site))));
}
