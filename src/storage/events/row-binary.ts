/** Writes small rows in ClickHouse's RowBinary layout. (Events are written by the enrichment workers, in one go and faster.) */
export class RowBinaryWriter {
  private readonly parts: Buffer[] = [];

  text(value: string): this {
    return this.bytes(Buffer.from(value, 'utf8'));
  }

  /** A String column holds any bytes. */
  bytes(value: Uint8Array): this {
    const length: number[] = [];
    let rest = value.length;
    for (; rest > 0x7f; rest = Math.floor(rest / 0x80)) length.push((rest & 0x7f) | 0x80);
    this.parts.push(Buffer.from([...length, rest]), Buffer.from(value));
    return this;
  }

  /** DateTime: whole seconds. */
  seconds(ms: number): this {
    const out = Buffer.allocUnsafe(4);
    out.writeUInt32LE(Math.floor(ms / 1_000));
    this.parts.push(out);
    return this;
  }

  /** DateTime64(3). */
  ms(value: number): this {
    const out = Buffer.allocUnsafe(8);
    out.writeBigInt64LE(BigInt(Math.floor(value)));
    this.parts.push(out);
    return this;
  }

  u32(value: number): this {
    const out = Buffer.allocUnsafe(4);
    out.writeUInt32LE(value);
    this.parts.push(out);
    return this;
  }

  u64(value: number): this {
    const out = Buffer.allocUnsafe(8);
    out.writeBigUInt64LE(BigInt(value));
    this.parts.push(out);
    return this;
  }

  finish(): Buffer {
    return Buffer.concat(this.parts);
  }
}
