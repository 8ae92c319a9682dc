/** The customer's pages and the way from the browser to the program. */
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';

/** What went through the gate, in order. */
export interface Passed {
  readonly method: string;
  readonly path: string;
  readonly body: string;
  /** Status given to the browser; 0 when the connection was cut. */
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

async function listen(handler: (incoming: IncomingMessage, answer: ServerResponse) => void) {
  const server = createServer(handler);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no TCP address');
  const close = async () => {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  };
  return { port: address.port, close };
}

const shopPage = (websiteId: string, apiHost: string) => `<!doctype html><meta charset="utf-8">
<title>Shop</title>
<button id="buy" data-track>Buy</button>
<a id="pricing" href="/pricing">Pricing</a>
<script src="/tracker.js" data-website-id="${websiteId}" data-api-host="${apiHost}"></script>`;

/** Pages of two hosts: `shop.example` has the tracker on every path, any other host only a link to the shop. */
export async function servePages(options: { websiteId: string; apiHost: string; linkTo: string }) {
  const tracker = await readFile(new URL('./tracker.js', import.meta.url));
  return listen((incoming, answer) => {
    if (incoming.url === '/tracker.js') {
      answer.setHeader('content-type', 'text/javascript').end(tracker);
      return;
    }
    answer.setHeader('content-type', 'text/html');
    if (incoming.headers.host === 'shop.example') answer.end(shopPage(options.websiteId, options.apiHost));
    else answer.end(`<!doctype html><title>Search</title><a id="result" href="${options.linkTo}">Shop</a>`);
  });
}

/** A transparent way to the program that keeps a record and can lose answers. */
export interface Gate {
  readonly port: number;
  readonly passed: readonly Passed[];
  /** The next `count` POSTs are cut off: `before` they reach the program, or `after` it has dealt with them. */
  lose(count: number, when: 'before' | 'after'): void;
  /** POSTs still to be cut off. */
  losing(): number;
  close(): Promise<void>;
}

export async function openGate(target: string): Promise<Gate> {
  const passed: Passed[] = [];
  let toLose = 0;
  let when: 'before' | 'after' = 'before';
  const { port, close } = await listen((incoming, answer) => {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => {
      const body = Buffer.concat(chunks);
      const { method = '', url = '', headers } = incoming;
      const record = (status: number) =>
        passed.push({ method, path: url, body: body.toString(), status, headers });
      const lost = method === 'POST' && toLose > 0;
      if (lost) toLose--;
      const cut = () => {
        record(0);
        incoming.socket.destroy();
      };
      if (lost && when === 'before') return cut();
      const onward = request(`${target}${url}`, { method, headers }, (reply) => {
        if (lost) return reply.resume().on('end', cut);
        record(reply.statusCode ?? 0);
        // A kept-alive connection that breaks makes the browser repeat a POST by itself; a fresh one does not.
        answer.writeHead(reply.statusCode ?? 502, { ...reply.headers, connection: 'close' });
        return reply.pipe(answer);
      });
      onward.on('error', cut);
      return onward.end(body);
    });
  });
  return {
    port,
    passed,
    lose: (count, moment) => {
      toLose = count;
      when = moment;
    },
    losing: () => toLose,
    close,
  };
}
