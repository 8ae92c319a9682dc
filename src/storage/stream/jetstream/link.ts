import { type ConnectionOptions, connect, DebugEvents, Events, type NatsConnection } from 'nats';
import type { Logger } from '../../../telemetry.js';
import { createStop, pause } from '../waiting.js';

const RETRY_MS = 500;
const SAY_EVERY_MS = 10_000;

export interface LinkOptions {
  /** One or more `nats://user:password@host:port`, with commas between; `tls://` for TLS. */
  readonly url: string;
  readonly name: string;
  readonly log: Logger;
  /** Brings stream and bucket up to date; called after each (re)connection, again until it resolves. */
  readonly setUp: (connection: NatsConnection) => Promise<void>;
}

export interface LinkListener {
  /** Connected, and stream and bucket are there. `connection` may be another one than before. */
  up(connection: NatsConnection): void;
  /** What was sent and not answered is in doubt. */
  down(): void;
}

/** A connection that is sought for ever: it is `up` while the server answers and the stream is there. */
export class Link {
  private connection: NatsConnection | undefined;
  private isUp = false;
  /** Grows with each change of the connection, so that a late set-up of an earlier one has no effect. */
  private generation = 0;
  private readonly listeners: LinkListener[] = [];
  private readonly stopped = createStop();
  private readonly options: LinkOptions;
  /** Where the server is, without secrets. */
  readonly address: string;
  readonly ready: Promise<void>;
  private readonly running: Promise<void>;
  private saidAt = Number.NEGATIVE_INFINITY;

  constructor(options: LinkOptions) {
    this.options = options;
    const { address, connection } = parseUrl(options.url);
    this.address = address;
    let setReady = () => {};
    this.ready = new Promise((resolve) => {
      setReady = resolve;
    });
    this.listeners.push({ up: setReady, down: () => {} });
    this.running = this.run({ ...connection, name: options.name });
  }

  /** The connection, while it is up. */
  get current(): NatsConnection | undefined {
    return this.isUp ? this.connection : undefined;
  }

  listen(listener: LinkListener): void {
    this.listeners.push(listener);
    if (this.isUp && this.connection !== undefined) listener.up(this.connection);
  }

  private async run(to: ConnectionOptions): Promise<void> {
    const { signal } = this.stopped;
    while (!signal.aborted) {
      try {
        this.connection = await connect(to);
      } catch (error) {
        this.sayWaiting(error);
        await pause(RETRY_MS, signal);
        continue;
      }
      if (signal.aborted) break;
      await this.follow(this.connection);
      this.goDown();
    }
    await this.connection?.close().catch(() => {});
  }

  /** Until the connection is closed for good (the client library reconnects by itself as long as it can). */
  private async follow(connection: NatsConnection): Promise<void> {
    void this.goUp(connection);
    void this.followStatus(connection);
    await connection.closed();
  }

  private async followStatus(connection: NatsConnection): Promise<void> {
    for await (const status of connection.status()) {
      if (status.type === Events.Disconnect || status.type === DebugEvents.Reconnecting) {
        this.goDown();
        this.sayWaiting();
      } else if (status.type === Events.Reconnect) {
        void this.goUp(connection);
      } else if (status.type === Events.Error) {
        this.options.log.error({ reason: String(status.data) }, 'NATS reports an error');
      }
    }
  }

  private async goUp(connection: NatsConnection): Promise<void> {
    const generation = ++this.generation;
    const { signal } = this.stopped;
    while (!signal.aborted && generation === this.generation) {
      try {
        await this.options.setUp(connection);
        break;
      } catch (error) {
        this.sayWaiting(error);
        await pause(RETRY_MS, signal);
      }
    }
    if (signal.aborted || generation !== this.generation) return;
    this.isUp = true;
    this.saidAt = Number.NEGATIVE_INFINITY;
    this.options.log.info({ address: this.address }, 'NATS JetStream is ready');
    for (const listener of this.listeners) listener.up(connection);
  }

  /** The stream is gone although the connection stands: set it up again. */
  repair(): void {
    const { connection } = this;
    if (connection === undefined || !this.isUp) return;
    this.goDown();
    void this.goUp(connection);
  }

  private goDown(): void {
    this.generation++;
    if (!this.isUp) return;
    this.isUp = false;
    for (const listener of this.listeners) listener.down();
  }

  private sayWaiting(error?: unknown): void {
    const now = performance.now();
    if (now - this.saidAt < SAY_EVERY_MS || this.stopped.signal.aborted) return;
    this.saidAt = now;
    const reason = error instanceof Error ? error.message : undefined;
    this.options.log.warn({ reason }, `waiting for NATS at ${this.address} …`);
  }

  async close(): Promise<void> {
    this.stopped.abort();
    this.goDown();
    await this.connection?.close().catch(() => {});
    // A first connection attempt under way ends by its own time-out.
    if (this.connection !== undefined) await this.running;
  }
}

function parseUrl(text: string): { address: string; connection: ConnectionOptions } {
  const urls = text.split(',').map((part) => new URL(part.includes('://') ? part : `nats://${part}`));
  const hosts = urls.map((url) => `${url.hostname}:${url.port || 4222}`);
  const { username = '', password = '' } = urls.find((url) => url.username !== '') ?? {};
  const user = decodeURIComponent(username);
  return {
    address: hosts.join(', '),
    connection: {
      servers: hosts,
      timeout: 3_000,
      maxReconnectAttempts: -1,
      reconnectTimeWait: 250,
      reconnectJitter: 100,
      ignoreAuthErrorAbort: true,
      pingInterval: 5_000,
      maxPingOut: 2,
      ...(password !== '' ? { user, pass: decodeURIComponent(password) } : {}),
      ...(user !== '' && password === '' ? { token: user } : {}),
      ...(urls.some((url) => url.protocol === 'tls:') ? { tls: {} } : {}),
    },
  };
}
