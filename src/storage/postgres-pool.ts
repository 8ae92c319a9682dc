import pg from 'pg';

type ConnectCallback = (
  error: Error | undefined,
  client: pg.PoolClient | undefined,
  done: pg.PoolClient['release'],
) => void;

/**
 * A pool that learns from a query without an answer. When a host dies without a word (it lost power, its network was cut) its connections
 * look alive for up to hours, so each of them would cost its next user the whole time-out: none that is older than such a query is handed
 * out again.
 */
export class WaryPool extends pg.Pool {
  readonly #madeAt = new WeakMap<pg.PoolClient, number>();
  #silentAt = Number.NEGATIVE_INFINITY;

  constructor(config: pg.PoolConfig) {
    super(config);
    this.on('connect', (client) => this.#madeAt.set(client, performance.now()));
    this.on('release', (error: unknown) => {
      if (isSilence(error)) this.#silentAt = performance.now();
    });
  }

  override connect(): Promise<pg.PoolClient>;
  override connect(callback: ConnectCallback): void;
  override connect(callback?: ConnectCallback): Promise<pg.PoolClient> | undefined {
    const connected = this.#connect();
    if (callback === undefined) return connected;
    connected.then(
      (client) => callback(undefined, client, (error) => client.release(error)),
      (error: Error) => callback(error, undefined, () => {}),
    );
    return undefined;
  }

  async #connect(): Promise<pg.PoolClient> {
    for (;;) {
      const client = await super.connect();
      if ((this.#madeAt.get(client) ?? 0) > this.#silentAt) return client;
      client.release(true);
      // Nobody is there to hear its goodbye.
      client.connection.stream.destroy();
    }
  }
}

/** Whether this is what the driver says of a query that the server has not answered in time. */
export function isSilence(error: unknown): boolean {
  return error instanceof Error && error.message === 'Query read timeout';
}
