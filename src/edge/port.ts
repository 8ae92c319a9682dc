import { createServer } from 'node:net';

/**
 * The port, when nobody listens on it; a free one for 0. The web server would share a taken port silently, so an ordinary socket asks first.
 * @throws Error it is taken
 */
export function claimPort(port: number, host?: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen({ port, ...(host === undefined ? {} : { host }), exclusive: true }, () => {
      const address = probe.address();
      const found = typeof address === 'object' && address !== null ? address.port : port;
      probe.close(() => resolve(found));
    });
  });
}
