import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { derivedKey } from './derived-key.js';

/** Encrypts what must not be readable in the database (AES-256-GCM). */
export interface Sealing {
  /** @param owner what the text belongs to: it opens for nobody else */
  seal(text: Uint8Array, owner: string): Uint8Array;
  /** Null when it was sealed with another secret or for another owner, or was changed. */
  open(sealed: Uint8Array, owner: string): Uint8Array | null;
}

const VERSION = 1;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** @param secret of the instance; @param purpose parts this key from all others */
export function createSealing(secret: string, purpose: string): Sealing {
  const key = derivedKey(secret, purpose);
  return {
    seal(text, owner) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(owner));
      const body = Buffer.concat([cipher.update(text), cipher.final()]);
      return Buffer.concat([Uint8Array.of(VERSION), nonce, cipher.getAuthTag(), body]);
    },
    open(sealed, owner) {
      const head = 1 + NONCE_BYTES + TAG_BYTES;
      if (sealed[0] !== VERSION || sealed.length < head) return null;
      const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(1, 1 + NONCE_BYTES), {
        authTagLength: TAG_BYTES,
      });
      decipher.setAAD(Buffer.from(owner)).setAuthTag(sealed.subarray(1 + NONCE_BYTES, head));
      try {
        return Buffer.concat([decipher.update(sealed.subarray(head)), decipher.final()]);
      } catch {
        return null;
      }
    },
  };
}
