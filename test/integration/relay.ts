import { connect, createServer, type Socket } from 'node:net';

/** A TCP relay before a real server, that can refuse, cut and swallow. */
export class Relay {
  /** Refuses new connections. */
  closed = false;
  /** Swallows what the server says. */
  mute = false;
  readonly #sockets = new Set<Socket>();
  readonly #lost = new Set<Socket>();

  private constructor(
    readonly port: number,
    readonly stop: () => void,
  ) {}

  /** @param target URL whose host and port are relayed */
  static async before(target: string): Promise<Relay> {
    const { hostname, port } = new URL(target);
    const server = createServer((socket) => {
      if (relay.closed) {
        socket.destroy();
        return;
      }
      const upstream = connect(Number(port), hostname);
      for (const side of [socket, upstream]) {
        relay.#sockets.add(side.on('error', () => {}));
        side.on('close', () => {
          relay.#sockets.delete(side);
          socket.destroy();
          upstream.destroy();
        });
      }
      socket.on('data', (bytes) => {
        if (!relay.#lost.has(socket)) upstream.write(bytes);
      });
      upstream.on('data', (bytes) => {
        if (!relay.mute && !relay.#lost.has(socket)) socket.write(bytes);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('the relay does not listen');
    const relay: Relay = new Relay(address.port, () => {
      relay.cut();
      server.close();
    });
    return relay;
  }

  /** Nothing is heard any more over the connections of now, which stay open, as when the host behind them lost its power. New ones work. */
  lose(): void {
    for (const socket of this.#sockets) this.#lost.add(socket);
  }

  /** Ends all connections. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** The address of the target as seen through the relay. */
  through(target: string): string {
    const url = new URL(target);
    url.hostname = '127.0.0.1';
    url.port = String(this.port);
    return url.href;
  }
}
