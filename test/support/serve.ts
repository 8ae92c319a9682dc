/** `npm run test:servers`: starts the test servers once and keeps them for every test run of this checkout. */
import { once } from 'node:events';
import { Guard } from './guard.js';
import { keptAliveServers, publishServers, startServers, withdrawServers } from './servers.js';

if (await keptAliveServers()) {
  console.log('test servers: they run already');
  process.exit(0);
}
const guard = await Guard.start();
const ended = Promise.race((['SIGINT', 'SIGTERM', 'SIGHUP'] as const).map((signal) => once(process, signal)));
const kept = setInterval(() => {}, 60_000);
try {
  const servers = await startServers(guard, (line) => console.log(line));
  await publishServers(servers);
  console.log(`test servers: running, Ctrl-C ends them\n${JSON.stringify(servers, null, 2)}`);
  await ended;
} finally {
  clearInterval(kept);
  await withdrawServers();
  await guard.stop();
}
