/** Event ids: 16 bytes, written as UUID text towards clients and as 32 hex characters in store queries. */
import { hash } from 'node:crypto';

const UUID = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i;

/**
 * The id a sender gave, as 16 bytes (one character a byte): a UUID as it is, any other text hashed together with its site. '' when there
 * is none; the nil UUID counts as none, because some clients send it for "not set".
 */
export function givenEventId(siteId: string, id: string): string {
  if (id === '') return '';
  if (!UUID.test(id)) return hash('sha256', `${siteId}\u0000${id}`, 'binary').slice(0, 16);
  const hex = id.replaceAll('-', '');
  if (/^0+$/.test(hex)) return '';
  return Buffer.from(hex, 'hex').toString('latin1');
}

/** UUID text of the 16 bytes at `offset`. */
export function formatEventId(bytes: Uint8Array, offset = 0): string {
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset + offset, 16).toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
