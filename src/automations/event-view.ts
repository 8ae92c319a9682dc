import { EVENT_COLUMNS, type EventColumn } from '../events/columns.js';
import { isRecord } from '../storage/row.js';
import type { Config } from './config-fields.js';

type TextColumn = {
  [C in (typeof EVENT_COLUMNS)[number] as C['name']]: C['type'] extends 'string' | 'label'
    ? C['name']
    : never;
}[EventColumn];

const WIDTHS: Readonly<Record<string, number>> = { id: 16, ms: 8, u8: 1, u16: 2, u32: 4, i16: 2 };
/** Bytes of each column; 0: a text, which brings its length. */
const WIDTH_OF = Uint8Array.from(EVENT_COLUMNS, ({ type }) => WIDTHS[type] ?? 0);
const PLACE = new Map<string, number>(EVENT_COLUMNS.map(({ name }, place) => [name, place]));
const EMPTY: Config = {};

/**
 * One event's row bytes, of which only the columns that are asked for are read. One view serves row after row, so that looking at an
 * event allocates nothing but the texts it asks for.
 */
export class EventView {
  #buffer: Buffer = Buffer.alloc(0);
  readonly #offsets = new Uint32Array(EVENT_COLUMNS.length + 1);
  /** Columns whose offset is known. */
  #known = 0;
  #properties: Config | undefined;

  /** Turns to another row. What was read from the one before stays valid. */
  open(bytes: Uint8Array): this {
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#known = 0;
    this.#properties = undefined;
    return this;
  }

  /** Of a damaged row: '' where nothing can be read. */
  text(column: TextColumn): string {
    const start = this.#offset(PLACE.get(column) ?? 0);
    const [length, at] = this.#textAt(start);
    return this.#buffer.toString('utf8', at, at + length);
  }

  /** 1 page view, 2 custom event, 3 bookkeeping. */
  get kind(): number {
    return this.#buffer[this.#offset(PLACE.get('kind') ?? 0)] ?? 0;
  }

  /** When it happened, ms since epoch. */
  get timestamp(): number {
    return this.#buffer.length < 24
      ? 0
      : this.#buffer.readUInt32LE(16) + this.#buffer.readInt32LE(20) * 0x1_0000_0000;
  }

  /** The event's own properties; parsed once. */
  get properties(): Config {
    if (this.#properties === undefined) {
      const text = this.text('properties');
      this.#properties = text === '{}' ? EMPTY : parsed(text);
    }
    return this.#properties;
  }

  #offset(place: number): number {
    const offsets = this.#offsets;
    let known = this.#known;
    let at = offsets[known] ?? 0;
    for (; known < place; known++) {
      const width = WIDTH_OF[known] ?? 0;
      if (width > 0) at += width;
      else {
        const [length, start] = this.#textAt(at);
        at = start + length;
      }
      offsets[known + 1] = at;
    }
    if (known > this.#known) this.#known = known;
    return offsets[place] ?? 0;
  }

  /** Length and start of the text at an offset (LEB128 length, then UTF-8). */
  #textAt(offset: number): readonly [number, number] {
    let length = 0;
    let at = offset;
    for (let factor = 1; ; factor *= 128) {
      const byte = this.#buffer[at++] ?? 0;
      length += (byte & 0x7f) * factor;
      if (byte < 0x80 || factor > 2 ** 21) return [length, at];
    }
  }
}

function parsed(text: string): Config {
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? value : EMPTY;
  } catch {
    return EMPTY;
  }
}
