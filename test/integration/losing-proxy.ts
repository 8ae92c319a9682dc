import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** A TCP proxy that can lose the server's answer to a request: the server has done the work, the client never hears of it. */
export interface LosingProxy {
  /** The URL given, by way of the proxy. */
  readonly url: string;
  /** Cuts the connection on which `text` is sent next, as soon as the server answers to it. Resolves when that has happened. */
  loseAnswerTo(text: string): Promise<void>;
  close(): Promise<void>;
}

/** Stands before the server of an http: or postgres: URL. */
export async function losingProxy(url: string): Promise<LosingProxy> {
  const target = new URL(url);
  const sockets = new Set<Socket>();
  let armed: { text: string; done(): void } | undefined;

  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname.replace(/^\[|\]$/g, ''));
    let losing: (() => void) | undefined;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.on('data', (data) => {
      if (armed && data.includes(armed.text)) {
        losing = armed.done;
        armed = undefined;
      }
      upstream.write(data);
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
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
