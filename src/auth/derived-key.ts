import { hkdfSync } from 'node:crypto';

/**
 * A 256-bit key for one purpose, made from the instance's secret (HKDF-SHA-256, RFC 5869): what is done with one key says nothing about
 * another.
 */
export const derivedKey = (secret: string, purpose: string): Uint8Array =>
  new Uint8Array(hkdfSync('sha256', secret, '', `seentics ${purpose}`, 32));
