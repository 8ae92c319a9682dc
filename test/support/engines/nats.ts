import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Guard, type Guarded, untilServing } from '../guard.js';
import { freePort } from '../ports.js';
import { lineAnswers } from './redis.js';

/** Whether a NATS server answers under the URL. */
export const natsAnswers = (url: string) => lineAnswers(url, '', /^INFO /);

/** A NATS server with JetStream that can be killed and started again on the same port and data. */
export interface NatsServer {
  readonly url: string;
  process: Guarded;
  /** Starts it again after it was ended. */
  restart(): Promise<void>;
}

/** A NATS server of its own with JetStream in a temporary directory. @param settings further lines of its configuration */
export async function startNats(
  guard: Guard,
  program: string,
  settings: readonly string[] = [],
): Promise<NatsServer> {
  const port = await freePort();
  const store = join(guard.directory, `nats-${port}`);
  const config = join(guard.directory, `nats-${port}.conf`);
  await writeFile(
    config,
    [
      `listen: "127.0.0.1:${port}"`,
      `jetstream { store_dir: ${JSON.stringify(store)}, max_memory_store: 1073741824, max_file_store: 1099511627776 }`,
      ...settings,
    ].join('\n'),
  );
  const url = `nats://127.0.0.1:${port}`;
  const launch = async () => {
    const server = guard.start('nats', program, ['-c', config]);
    await untilServing(server, 'NATS to answer', () => natsAnswers(url));
    return server;
  };
  const self: NatsServer = {
    url,
    process: await launch(),
    restart: async () => {
      self.process = await launch();
    },
  };
  return self;
}
