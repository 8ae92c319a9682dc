import type { TestProject } from 'vitest/node';
import { Guard } from './guard.js';
import { keptAliveServers, startServers, type TestServers } from './servers.js';

declare module 'vitest' {
  interface ProvidedContext {
    servers: TestServers;
  }
}

/** Takes the servers of `npm run test:servers` if they run, else starts its own and ends them after the run. */
export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  const kept = await keptAliveServers();
  if (kept) {
    project.provide('servers', kept);
    return undefined;
  }
  const guard = await Guard.start();
  try {
    project.provide('servers', await startServers(guard, (line) => console.log(line)));
  } catch (error) {
    await guard.stop();
    throw error;
  }
  return () => guard.stop();
}
