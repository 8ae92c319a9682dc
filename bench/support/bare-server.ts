/** The control: a uWebSockets.js handler that reads and parses the same bodies and answers. Prints its port. */
import { loadUws } from '../../src/edge/uws.js';

const { uws } = loadUws();
const app = uws.App();
app.post('/*', (res) => {
  res.onAborted(() => undefined);
  let body: Buffer | undefined;
  res.onData((chunk, isLast) => {
    const part = Buffer.from(chunk);
    body = body === undefined ? (isLast ? part : Buffer.from(part)) : Buffer.concat([body, part]);
    if (!isLast) return;
    const parsed: unknown = JSON.parse(body.toString('utf8'));
    res.cork(() => {
      res.writeStatus('201 Created').writeHeader('content-type', 'application/json');
      res.end(parsed === null ? '{}' : '{"status":"accepted"}');
    });
  });
});
app.listen('127.0.0.1', 0, (socket) => {
  console.log(uws.us_socket_local_port(socket));
});
