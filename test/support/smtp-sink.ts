import type { AddressInfo } from 'node:net';
import { SMTPServer } from 'smtp-server';

export interface TakenMail {
  readonly from: string;
  readonly to: readonly string[];
  /** Headers and body as they came. */
  readonly raw: string;
}

export interface SmtpSinkOptions {
  /** Answers a recipient with this code instead of taking it. */
  readonly refuse?: (address: string) => number | undefined;
  /** Closes the connection after the message came, without an answer. */
  readonly cutAfterMessage?: boolean;
  readonly login?: { readonly user: string; readonly password: string };
  /** Default: a free one. */
  readonly port?: number;
}

/** A real SMTP server on loopback that keeps what it takes. */
export async function smtpSink(options: SmtpSinkOptions = {}) {
  const mails: TakenMail[] = [];
  const { login, refuse } = options;
  const server = new SMTPServer({
    authOptional: login === undefined,
    disabledCommands: login === undefined ? ['STARTTLS', 'AUTH'] : ['STARTTLS'],
    allowInsecureAuth: true,
    onAuth: ({ username, password }, _session, done) => {
      if (username === login?.user && password === login?.password) done(null, { user: username });
      else done(new Error('Invalid login'));
    },
    onRcptTo: ({ address }, _session, done) => {
      const code = refuse?.(address);
      if (code === undefined) done();
      else done(Object.assign(new Error('not taken here'), { responseCode: code }));
    },
    onData: (stream, session, done) => {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => {
        const { mailFrom, rcptTo } = session.envelope;
        mails.push({
          from: mailFrom === false ? '' : mailFrom.address,
          to: rcptTo.map(({ address }) => address),
          raw: Buffer.concat(chunks).toString('utf8'),
        });
        if (options.cutAfterMessage) for (const connection of server.connections) connection.close();
        else done();
      });
    },
  });
  server.on('error', () => {});
  await new Promise<void>((resolve) => {
    server.listen(options.port ?? 0, '127.0.0.1', resolve);
  });
  const address = server.server.address();
  if (!isAddress(address)) throw new Error('the SMTP sink has no port');
  return {
    port: address.port,
    mails,
    close: () => new Promise<void>((resolve) => server.close(() => resolve())),
  };
}

function isAddress(address: string | AddressInfo | null): address is AddressInfo {
  return typeof address === 'object' && address !== null;
}
