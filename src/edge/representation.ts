/**
 * What an answer becomes on the wire: an entity tag and 304 where the client may keep it (RFC 9110, 8.8.3 and 13.1.2), brotli or gzip
 * where the client takes it and it is worth it (12.5.3).
 */
import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';
import type { Reply, RequestInfo } from './route.js';

/** A reply, its body as the bytes that go out. */
export interface Representation {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array | undefined;
  /** '' when there is no body. */
  readonly type: string;
}

export interface EncodedText {
  readonly text: string | undefined;
  readonly type: string;
}

/** Below this, in characters, the headers and the wait cost more than the bytes saved. */
const MIN_CHARACTERS = 1024;
const COMPRESSIBLE = /^(?:application\/(?:json|javascript|x-ndjson)|text\/)/;

const compress = { br: promisify(brotliCompress), gzip: promisify(gzip) };
/** A quarter of the default's time at nearly its size. */
const BROTLI = { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } };
const GZIP = { level: 5 };

/** Whether the client may keep the answer and ask again whether it has changed. */
const isKept = (headers: Readonly<Record<string, string>> | undefined): boolean => {
  const control = headers?.['Cache-Control'];
  return control !== undefined && !control.includes('no-store');
};

/**
 * @returns a promise only when the body is compressed, so that short answers wait for nothing
 */
export function represent(
  reply: Reply<unknown>,
  { text, type }: EncodedText,
  request: RequestInfo,
): Representation | Promise<Representation> {
  const plain: Representation = { status: reply.status, headers: reply.headers ?? {}, body: text, type };
  if (text === undefined) return plain;
  const tagged =
    request.method === 'GET' || request.method === 'HEAD' ? withTag(plain, text, request) : plain;
  if (text.length < MIN_CHARACTERS || !COMPRESSIBLE.test(type)) return tagged;
  const headers = { ...tagged.headers, Vary: 'Accept-Encoding' };
  const encoding = chooseEncoding(request.header('accept-encoding'));
  if (tagged.body === undefined || encoding === null || request.method === 'HEAD')
    return { ...tagged, headers };
  return compressed(text, encoding).then((body) => ({
    ...tagged,
    body,
    headers: { ...headers, 'Content-Encoding': encoding },
  }));
}

function compressed(text: string, encoding: 'br' | 'gzip'): Promise<Uint8Array> {
  return encoding === 'br' ? compress.br(text, BROTLI) : compress.gzip(text, GZIP);
}

function withTag(plain: Representation, text: string, request: RequestInfo): Representation {
  if (plain.status !== 200 || !isKept(plain.headers)) return plain;
  // Weak: the same tag stands for the answer however it is compressed.
  const tag = `W/"${createHash('sha1').update(text).digest('base64url')}"`;
  const headers = { ...plain.headers, ETag: tag };
  return matches(request.header('if-none-match'), tag)
    ? { status: 304, headers, body: undefined, type: '' }
    : { ...plain, headers };
}

/** Weak comparison. */
function matches(header: string, tag: string): boolean {
  if (header === '') return false;
  const bare = tag.slice(2);
  return header.split(',').some((candidate) => {
    const known = candidate.trim();
    return known === '*' || known.replace(/^W\//, '') === bare;
  });
}

/** The best of the two that the header accepts; null: neither. */
export function chooseEncoding(header: string): 'br' | 'gzip' | null {
  if (header === '') return null;
  const quality = new Map<string, number>();
  for (const item of header.toLowerCase().split(',')) {
    const [name = '', ...parameters] = item.split(';').map((part) => part.trim());
    const weight = parameters.find((parameter) => parameter.startsWith('q='));
    quality.set(name, weight === undefined ? 1 : Number(weight.slice(2)) || 0);
  }
  const of = (name: string): number => quality.get(name) ?? quality.get('*') ?? 0;
  if (of('br') > 0 && of('br') >= of('gzip')) return 'br';
  return of('gzip') > 0 ? 'gzip' : null;
}
