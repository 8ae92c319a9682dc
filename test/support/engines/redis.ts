import { connect } from 'node:net';
import { type Guard, type Guarded, untilServing } from '../guard.js';
import { freePort } from '../ports.js';

/** Sends one line to a TCP server and says whether its first bytes match. */
export const lineAnswers = (url: string, line: string, expected: RegExp): Promise<boolean> =>
  new Promise((resolve) => {
    const { hostname, port } = new URL(url);
    const socket = connect({ host: hostname, port: Number(port), timeout: 2_000 });
    const finish = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('data', (bytes) => finish(expected.test(bytes.toString('latin1'))));
    socket.once('timeout', () => finish(false));
    socket.once('error', () => finish(false));
    socket.once('close', () => finish(false));
    socket.once('connect', () => line !== '' && socket.write(line));
  });

/** Whether a Redis answers under the URL. */
export const redisAnswers = (url: string) => lineAnswers(url, 'PING\r\n', /^\+PONG/);

/** A Redis of its own, in memory only. */
export async function startRedis(guard: Guard, program: string): Promise<{ url: string; process: Guarded }> {
  const port = await freePort();
  const args = ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
  const server = guard.start('redis', program, [...args, '--dir', guard.directory], { cwd: guard.directory });
  const url = `redis://127.0.0.1:${port}`;
  await untilServing(server, 'Redis to answer', () => redisAnswers(url));
  return { url, process: server };
}
