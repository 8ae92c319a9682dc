/**
 * Finds the native build of uWebSockets.js that fits this process. The author publishes it outside of npm, so three packages are
 * tried: the official one (when the operator installed it), the newer repackaging (Node 20 to 25, glibc 2.38 and later) and the older
 * one (Node 16 to 20, any current glibc). Only the API that all of them share is typed here.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/** Valid until ended or aborted; writing afterwards throws. */
export interface UwsResponse {
  writeStatus(status: string): UwsResponse;
  writeHeader(name: string, value: string): UwsResponse;
  end(body?: string | Uint8Array, closeConnection?: boolean): UwsResponse;
  endWithoutBody(contentLength?: number, closeConnection?: boolean): UwsResponse;
  /** Part of a body of unknown length. False: the client is slower; `onWritable` tells when to go on. Nothing at all would end the answer. */
  write(chunk: Uint8Array): boolean;
  /** @param handler answers whether what it wrote was taken; true when it wrote nothing */
  onWritable(handler: (offset: number) => boolean): UwsResponse;
  /** The chunk's memory is only valid inside the callback. */
  onData(handler: (chunk: ArrayBuffer, isLast: boolean) => void): UwsResponse;
  /** No more `onData` until `resume`: the sender is held back by its connection. No time-out runs meanwhile. */
  pause(): void;
  resume(): void;
  onAborted(handler: () => void): UwsResponse;
  cork(write: () => void): UwsResponse;
  close(): UwsResponse;
  /** 4 or 16 bytes. */
  getRemoteAddress(): ArrayBuffer;
}

/** Only valid synchronously inside the route handler. */
export interface UwsRequest {
  getHeader(lowerCaseName: string): string;
  getParameter(index: number): string;
  /** The path, still percent-encoded. */
  getUrl(): string;
  getMethod(): string;
  /** The raw query string; undefined when the address has no question mark. */
  getQuery(): string | undefined;
  forEach(visit: (name: string, value: string) => void): void;
}

/**
 * Ends an answer without a body and without a length: those of status 204 and 304 must tell none (RFC 9110, 8.6), others know none. Any
 * argument of `endWithoutBody`, `undefined` too, would go out as a length, so that the client is asked to close the connection.
 */
export function endWithoutLength(res: UwsResponse, closeConnection: boolean): void {
  if (closeConnection) res.writeHeader('Connection', 'close');
  res.endWithoutBody();
}

export type UwsHandler = (res: UwsResponse, req: UwsRequest) => void;
type Register = (pattern: string, handler: UwsHandler) => unknown;

export interface UwsApp {
  readonly get: Register;
  readonly post: Register;
  readonly put: Register;
  readonly patch: Register;
  readonly del: Register;
  readonly head: Register;
  readonly options: Register;
  readonly any: Register;
  listen(host: string, port: number, listening: (socket: unknown) => void): unknown;
  listen(port: number, listening: (socket: unknown) => void): unknown;
  /** Closes the listening sockets and every connection. */
  close(): unknown;
}

export interface Uws {
  App(): UwsApp;
  us_listen_socket_close(socket: unknown): void;
  us_socket_local_port(socket: unknown): number;
}

/** One way to come by the native build. `load` throws when it does not fit. */
export interface UwsCandidate {
  readonly name: string;
  load(): unknown;
}

/** Bytes of a request's head. */
const MAX_HEAD_BYTES = 16 * 1024;

const require = createRequire(import.meta.url);

/** The packages that are tried, best first. */
export const UWS_CANDIDATES: readonly UwsCandidate[] = [
  { name: 'uWebSockets.js (official)', load: loadOfficial },
  { name: '@btc-vision/uwebsockets.js', load: () => require('@btc-vision/uwebsockets.js') },
  { name: '@trufflesuite/uws-js-unofficial', load: loadOlder },
];

/**
 * Loads the first candidate that fits.
 * @throws Error that names every failure and says what to do
 */
export function loadUws(candidates: readonly UwsCandidate[] = UWS_CANDIDATES): { uws: Uws; from: string } {
  // The newer builds read this once, when loaded. The older one takes heads of at most 4 KiB when they come in several packets.
  process.env.UWS_HTTP_MAX_HEADERS_SIZE = String(MAX_HEAD_BYTES);
  const failures: string[] = [];
  for (const { name, load } of candidates) {
    try {
      const loaded = load();
      if (isUws(loaded)) return { uws: loaded, from: name };
      failures.push(`${name}: lacks functions that this program needs`);
    } catch (error) {
      failures.push(`${name}: ${reason(error)}`);
    }
  }
  throw new Error(noBuildMessage(failures));
}

function noBuildMessage(failures: readonly string[]): string {
  const abi = process.versions.modules;
  return [
    `No build of the web server (uWebSockets.js) fits Node ${process.version} (ABI ${abi}) on ${process.platform}-${process.arch}.`,
    ...failures.map((failure) => `  tried ${failure}`),
    'What helps, easiest first:',
    '  - Node 20 on Linux with glibc, macOS or Windows: fits with a plain "npm ci".',
    '  - Node 22 or 24: needs glibc 2.38 or later (Debian 13, Ubuntu 24.04) and "npm ci" without --omit=optional.',
    '  - The official build for other versions: npm install uNetworking/uWebSockets.js#v20.57.0.',
    '  - Alpine and other musl systems have no build: use an image with glibc (the Dockerfile of this project does).',
  ].join('\n');
}

/** Another package may stand under the official one's name, so its manifest decides. */
function loadOfficial(): unknown {
  const entry = require.resolve('uWebSockets.js');
  const manifest: unknown = JSON.parse(readFileSync(join(dirname(entry), 'package.json'), 'utf8'));
  if (!isRecord(manifest) || manifest.name !== 'uWebSockets.js')
    throw new Error('another package has its name');
  return require(entry);
}

/** The binary itself: the package's own entry would fall back to an emulation in JavaScript without telling the caller. */
function loadOlder(): unknown {
  const root = dirname(require.resolve('@trufflesuite/uws-js-unofficial/package.json'));
  const file = `uws_${process.platform}_${process.arch}_${process.versions.modules}.node`;
  return require(join(root, 'binaries', file));
}

function isUws(value: unknown): value is Uws {
  return hasFunctions(value, 'App', 'us_listen_socket_close', 'us_socket_local_port');
}

function hasFunctions(value: unknown, ...names: string[]): boolean {
  return isRecord(value) && names.every((name) => typeof value[name] === 'function');
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return (typeof value === 'object' || typeof value === 'function') && value !== null;
}

/** The line that tells the reason: the newer package puts it below its own text. */
function reason(error: unknown): string {
  const lines = (error instanceof Error ? error.message : String(error)).split('\n');
  return lines.find((line) => line.includes('GLIBC')) ?? lines[0] ?? '';
}
