import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** A TCP proxy that can lose the server's answer to a request (the work is done, the client never hears of it) or a part of a request. */
export interface LosingProxy {
  /** The URL given, by way of the proxy. */
  readonly url: string;
  /** Cuts the connection on which `text` is sent next, as soon as the server answers to it. Resolves when that has happened. */
  loseAnswerTo(text: string): Promise<void>;
  /** Cuts the connection that sends `text` next when it has sent `bytes` more. Resolves when that has happened. */
  cutRequest(text: string, bytes: number): Promise<void>;
  close(): Promise<void>;
}

/** Stands before the server of an http: or postgres: URL. */
export async function losingProxy(url: string): Promise<LosingProxy> {
  const target = new URL(url);
  const sockets = new Set<Socket>();
  let armed: { text: string; cutAfter?: number; done(): void } | undefined;

  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname.replace(/^\[|\]$/g, ''));
    let losing: (() => void) | undefined;
    let cut: { left: number; done(): void } | undefined;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        if (!cut) upstream.destroy();
        client.destroy();
      });
    }
    client.on('data', (data) => {
      if (armed && data.includes(armed.text)) {
        if (armed.cutAfter === undefined) losing = armed.done;
        else cut = { left: armed.cutAfter, done: armed.done };
        armed = undefined;
      }
      if (cut) cut.left -= data.length;
      if (cut && cut.left <= 0) {
        cut.done();
        // What came before the cut still arrives.
        upstream.end(data.subarray(0, data.length + cut.left));
        client.destroy();
      } else upstream.write(data);
    });
    upstream.on('data', (data) => {
      if (losing) {
        losing();
        client.destroy();
      } else client.write(data);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no TCP address');
  const proxied = new URL(url);
  proxied.hostname = '127.0.0.1';
  proxied.port = String(address.port);
  return {
    url: proxied.href,
    loseAnswerTo: (text) =>
      new Promise((done) => {
        armed = { text, done };
      }),
    cutRequest: (text, bytes) =>
      new Promise((done) => {
        armed = { text, cutAfter: bytes, done };
      }),
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
