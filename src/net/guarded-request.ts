/** HTTP requests to addresses that somebody else has chosen: every hop is resolved, judged, and connected to at the judged address. */
import { lookup } from 'node:dns/promises';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { isIP } from 'node:net';
import { flawOfTarget, isPublicAddress } from './address-guard.js';

export interface GuardedClientOptions {
  /** Private, loopback and other special addresses may be called, on any port. */
  readonly allowPrivate: boolean;
  /** For a request with all its redirects, ms. */
  readonly timeoutMs: number;
  /** Addresses of a host name; for tests. Default: the system's resolver. */
  readonly resolve?: (host: string) => Promise<readonly string[]>;
  /** Which addresses may be called while private ones may not; for tests. Default: public ones. */
  readonly isAllowed?: (address: string) => boolean;
}

export interface OutboundRequest {
  readonly url: string;
  readonly method: string;
  /** Sent to every hop. */
  readonly headers: Readonly<Record<string, string>>;
  /** The owner's own headers, which may hold credentials: only to the host that was asked for. */
  readonly ownHeaders: Readonly<Record<string, string>>;
  readonly body: string | undefined;
}

/** `blocked`: it will never be called. `failed`: there was no answer, it may be tried again. */
export type OutboundResult =
  | {
      readonly outcome: 'answered';
      readonly status: number;
      readonly body: string;
      readonly retryAfterMs: number | null;
    }
  | { readonly outcome: 'blocked' | 'failed'; readonly reason: string };

export interface GuardedClient {
  /** Never rejects. */
  send(request: OutboundRequest): Promise<OutboundResult>;
}

const MAX_REDIRECTS = 3;
const MAX_ANSWER_BYTES = 16_384;
const MAX_RETRY_AFTER_MS = 600_000;

class Blocked extends Error {}

export function createGuardedClient(options: GuardedClientOptions): GuardedClient {
  const resolve = options.resolve ?? resolveHost;
  return {
    async send(request) {
      const signal = AbortSignal.timeout(options.timeoutMs);
      try {
        return await follow(request, { ...options, resolve }, signal);
      } catch (error) {
        if (error instanceof Blocked) return { outcome: 'blocked', reason: error.message };
        const reason = signal.aborted ? `no answer within ${options.timeoutMs} ms` : reasonOf(error);
        return { outcome: 'failed', reason };
      }
    },
  };
}

type Resolved = GuardedClientOptions & { readonly resolve: (host: string) => Promise<readonly string[]> };

async function follow(
  request: OutboundRequest,
  options: Resolved,
  signal: AbortSignal,
): Promise<OutboundResult> {
  let url = new URL(request.url);
  let { method, body } = request;
  const { origin } = url;
  for (let hop = 0; ; hop++) {
    const address = await until(signal, addressFor(url, options));
    const headers = { ...(url.origin === origin ? request.ownHeaders : {}), ...request.headers };
    const answer = await call(url, address, { method, headers, body }, signal);
    const status = answer.statusCode ?? 0;
    const { location } = answer.headers;
    if (status < 300 || status > 399 || status === 304 || location === undefined)
      return readAnswer(answer, signal);
    answer.destroy();
    if (hop === MAX_REDIRECTS) throw new Blocked(`more than ${MAX_REDIRECTS} redirects`);
    if (!URL.canParse(location, url.href)) throw new Blocked('it redirects to what is no address');
    url = new URL(location, url);
    if (status === 303 || (status < 303 && method === 'POST')) {
      method = 'GET';
      body = undefined;
    }
  }
}

/** The address to connect to. All of a host's addresses must be allowed: who mixes them is up to something. */
async function addressFor(
  url: URL,
  { allowPrivate, resolve, isAllowed = isPublicAddress }: Resolved,
): Promise<string> {
  const flaw = flawOfTarget(url, allowPrivate);
  if (flaw !== '') throw new Blocked(flaw);
  // `URL` has brought every spelling of an IPv4 address (octal, hex, one number) to the usual one.
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const addresses = isIP(host) === 0 ? await resolve(host) : [host];
  const [address] = addresses;
  if (address === undefined) throw new Error('the host name has no address');
  if (!allowPrivate && !addresses.every(isAllowed)) throw new Blocked('the address is not public');
  return address;
}

async function resolveHost(host: string): Promise<string[]> {
  return (await lookup(host, { all: true, order: 'verbatim' })).map(({ address }) => address);
}

function call(
  url: URL,
  address: string,
  {
    method,
    headers,
    body,
  }: { method: string; headers: Readonly<Record<string, string>>; body: string | undefined },
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const isTls = url.protocol === 'https:';
  const name = url.hostname.replace(/^\[|\]$/g, '');
  const sent: Record<string, string> = { ...headers, Host: url.host, Connection: 'close' };
  if (body === undefined) delete sent['Content-Type'];
  else sent['Content-Length'] = String(Buffer.byteLength(body));
  return new Promise((resolve, reject) => {
    const request = (isTls ? httpsRequest : httpRequest)({
      // Pinned: what was judged is what is connected to. The certificate is still checked against the name.
      host: address,
      port: url.port === '' ? (isTls ? 443 : 80) : Number(url.port),
      path: `${url.pathname}${url.search}`,
      method,
      headers: sent,
      ...(isTls && isIP(name) === 0 ? { servername: name } : {}),
      agent: false,
      signal,
    });
    request.on('response', resolve);
    request.on('error', reject);
    request.end(body);
  });
}

async function readAnswer(answer: IncomingMessage, signal: AbortSignal): Promise<OutboundResult> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of answer) {
      if (!Buffer.isBuffer(chunk)) continue;
      chunks.push(chunk);
      size += chunk.byteLength;
      if (size >= MAX_ANSWER_BYTES) break;
    }
  } catch (error) {
    // The status has been answered, which is what counts.
    if (signal.aborted) throw error;
  }
  answer.destroy();
  return {
    outcome: 'answered',
    status: answer.statusCode ?? 0,
    body: Buffer.concat(chunks).toString('utf8').slice(0, MAX_ANSWER_BYTES),
    retryAfterMs: retryAfter(answer.headers['retry-after']),
  };
}

function retryAfter(text: string | undefined): number | null {
  if (text === undefined) return null;
  const ms = /^\d{1,9}$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - Date.now();
  return Number.isNaN(ms) ? null : Math.min(MAX_RETRY_AFTER_MS, Math.max(0, ms));
}

function until<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

/** The kind of the failure, without addresses that the name stands for. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'the request failed';
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  return code === '' ? error.message.slice(0, 200) : `the request failed: ${code}`;
}
