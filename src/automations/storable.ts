import { createHash } from 'node:crypto';
import { withoutLoneSurrogates, withoutNulEscapes } from '../enrich/text.js';
import { isRecord } from '../storage/row.js';
import type { Config } from './config-fields.js';

/** A JSON object as Postgres takes it: without NUL and halves of surrogate pairs. What is no object counts as an empty one. */
export function storable(value: unknown): Config {
  if (!isRecord(value)) return {};
  const json = JSON.stringify(value);
  const clean = withoutNulEscapes(withoutLoneSurrogates(json));
  const parsed: unknown = clean === json ? value : JSON.parse(clean);
  return isRecord(parsed) ? parsed : {};
}

/** A text as Postgres takes it. */
export const storableText = (text: string): string => text.replace(/\0|\p{Surrogate}/gu, '');

/** A UUID that is always the same for the same parts (version 8: our own hash). */
export function uuidFrom(...parts: readonly string[]): string {
  const hex = createHash('sha256').update(JSON.stringify(parts)).digest('hex');
  const variant = ((Number.parseInt(hex.slice(16, 18), 16) & 0x3f) | 0x80).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(18, 20)}-${hex.slice(20, 32)}`;
}

export const isUuid = (text: string): boolean => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text);
