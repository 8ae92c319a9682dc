/** One request and its answer: written once, never after the client has left, and the books closed however it ends. */
import { STATUS_CODES } from 'node:http';
import { AppError } from '../errors.js';
import type { Logger } from '../telemetry.js';
import type { AtOnce } from './at-once.js';
import { type AuditHook, auditFact } from './audit-hook.js';
import type { BodyBudget } from './body.js';
import type { Cors } from './cors.js';
import type { EdgeMetrics, RouteMetrics } from './edge-metrics.js';
import { errorReply } from './error-table.js';
import { isReplayed } from './idempotency.js';
import type { RateRefusal } from './rate-limit.js';
import { chooseEncoding, type EncodedText, type Representation, represent } from './representation.js';
import type { EdgeRequest } from './request.js';
import { type Reply, TextBody } from './route.js';
import { encodedPieces, StreamBody, StreamWriter } from './stream-body.js';
import { endWithoutLength, type UwsResponse } from './uws.js';

/** What all exchanges of an app share. */
export interface EdgeContext {
  readonly cors: Cors;
  readonly budget: BodyBudget;
  readonly metrics: EdgeMetrics;
  readonly log: Logger;
  /** Told of every change that somebody known has made. */
  readonly audit: AuditHook | null;
  /** Answers to accounts that are made while they are sent. */
  readonly streams: AtOnce;
  /** While draining every answer asks the client to close its connection. */
  draining: boolean;
  /** Called when nothing is in flight any more. */
  idle: (() => void) | null;
}

/** What is known of a route before a request comes. */
export interface RouteTraits {
  readonly cors: 'tracker' | 'api';
  readonly metrics: RouteMetrics;
  /** Answers are tagged and compressed; ingestion answers are too short and too many for it. */
  readonly negotiated: boolean;
  /** Reading it goes into the audit log, too. */
  readonly noted: boolean;
  /** `METHOD pattern`, for log lines. */
  readonly name: string;
  /** Turns a refusal into the route's own answer. */
  readonly refuse: ((error: unknown) => Reply<unknown> | undefined) | null;
}

const STATUS_LINES = new Map(
  Object.entries(STATUS_CODES).map(([status, text]) => [Number(status), `${status} ${text ?? ''}`]),
);
const JSON_TYPE = 'application/json; charset=utf-8';
/** What the metrics count a request as whose client left (nginx's 499). */
const CLIENT_LEFT = 499;
const ABORTED = new AppError('request_timeout', 'The client left');

interface HeldBody {
  /** The client has left. */
  cancel(error: AppError): void;
  /** The request is over, however it ended. */
  release(): void;
}

export class Exchange {
  aborted = false;
  request: EdgeRequest | null = null;
  /** What is held of the request's body. */
  body: HeldBody | null = null;
  /** The rest of the request's body is not worth waiting for. */
  closeConnection = false;
  readonly startedAt = performance.now();
  #over = false;
  #stream: StreamWriter | null = null;

  constructor(
    private readonly edge: EdgeContext,
    private readonly traits: RouteTraits,
    private readonly res: UwsResponse,
    private readonly origin: string,
    private readonly head: boolean,
  ) {
    edge.metrics.inFlight++;
    res.onAborted(() => this.#abort());
  }

  /** Answers a request that no handler has seen. */
  refuse(error: unknown): void {
    const own = this.#ownAnswer(error);
    if (own === undefined) this.fail(error);
    else this.reply(own);
  }

  refuseRate(refusal: RateRefusal): void {
    this.refuse(rateError(refusal));
  }

  /** @param headers what the answer carries beside the error's own */
  fail(error: unknown, headers: Readonly<Record<string, string>> = {}): void {
    if (this.aborted) {
      this.#finish(CLIENT_LEFT);
      return;
    }
    const reply = errorReply(error, this.edge.log, this.traits.name);
    if (error instanceof AppError && error.code === 'request_timeout') this.closeConnection = true;
    const rate = error instanceof RateError ? error.headers : {};
    this.reply({ ...reply, headers: { ...reply.headers, ...rate, ...headers } });
  }

  reply(reply: Reply<unknown>): void {
    if (this.#over) return;
    const { body } = reply;
    if (body instanceof StreamBody && !this.aborted) {
      this.#replyInTurn(reply, body);
      return;
    }
    this.#audit(reply);
    if (this.aborted) {
      this.#finish(CLIENT_LEFT);
      return;
    }
    const payload = this.#encode(reply.body);
    if (payload === null) return;
    const { request } = this;
    if (!this.traits.negotiated || request === null) {
      this.#send({
        status: reply.status,
        headers: reply.headers ?? {},
        body: payload.text,
        type: payload.type,
      });
      return;
    }
    const answer = represent(reply, payload, request);
    if (answer instanceof Promise)
      answer.then(
        (ready) => this.#send(ready),
        (error: unknown) => this.fail(error),
      );
    else this.#send(answer);
  }

  /** What was done was done, also when the client has left meanwhile. */
  #audit(reply: Reply<unknown>): void {
    const { audit } = this.edge;
    if (audit === null || this.request === null || reply.status >= 400 || isReplayed(reply.headers)) return;
    const fact = auditFact(this.request, this.traits, reply);
    if (fact !== null) audit.record(fact);
  }

  #send(answer: Representation): void {
    if (this.#over) return;
    if (!this.aborted) this.res.cork(() => this.#write(answer));
    this.#finish(this.aborted ? CLIENT_LEFT : answer.status);
  }

  /** The route's own answer to a refusal, if it has one. */
  #ownAnswer(error: unknown): Reply<unknown> | undefined {
    if (this.traits.refuse === null || this.aborted) return undefined;
    try {
      return this.traits.refuse(error);
    } catch (failure) {
      this.edge.log.error({ err: failure, route: this.traits.name }, 'the route failed to refuse');
      return undefined;
    }
  }

  /** Null when the body could not be written as JSON; the request has then been answered. */
  #encode(body: unknown): EncodedText | null {
    if (body instanceof TextBody) return { text: body.text, type: body.contentType };
    if (body === undefined) return { text: undefined, type: '' };
    try {
      return { text: JSON.stringify(body), type: JSON_TYPE };
    } catch (error) {
      this.fail(error);
      return null;
    }
  }

  #replyInTurn(reply: Reply<unknown>, body: StreamBody): void {
    try {
      const end = this.#beginStream();
      this.#audit(reply);
      void this.#replyStream(reply, body).finally(end);
    } catch (error) {
      this.fail(error);
    }
  }

  async #replyStream(reply: Reply<unknown>, body: StreamBody): Promise<void> {
    const { pieces, contentType, isCompressible } = body;
    const encoding = isCompressible ? chooseEncoding(this.request?.header('accept-encoding') ?? '') : null;
    const headers = {
      ...reply.headers,
      ...(isCompressible ? { Vary: 'Accept-Encoding' } : {}),
      ...(encoding === null ? {} : { 'Content-Encoding': encoding }),
    };
    const head = { status: reply.status, headers, type: contentType };
    if (this.head) {
      this.res.cork(() => {
        this.#writeHead(head);
        endWithoutLength(this.res, this.edge.draining);
      });
      this.#finish(reply.status);
      return;
    }
    const iterator = encodedPieces(pieces, encoding)[Symbol.asyncIterator]();
    try {
      let piece = await iterator.next();
      if (this.aborted) return;
      this.#stream = new StreamWriter(this.res);
      this.res.cork(() => this.#writeHead(head));
      while (piece.done !== true && (await this.#stream.write(piece.value))) piece = await iterator.next();
      if (!this.aborted) this.res.cork(() => this.res.end('', this.closeConnection || this.edge.draining));
    } catch (error) {
      this.#breakOff(error);
    } finally {
      this.#finish(this.aborted ? CLIENT_LEFT : reply.status);
      await iterator.return?.().catch(() => {});
    }
  }

  /** What everybody may read as a stream is short. @throws AppError when the account has too many */
  #beginStream(): () => void {
    const principal = this.request?.caller?.principal;
    return principal?.kind === 'account' ? this.edge.streams.begin(principal.userId) : () => {};
  }

  /** What failed before the first piece is an answer like any other; after it only the connection can tell. */
  #breakOff(error: unknown): void {
    if (this.#stream === null) {
      this.fail(error);
      return;
    }
    if (this.aborted) return;
    this.edge.log.error({ err: error, route: this.traits.name }, 'an answer broke off');
    this.res.close();
  }

  #writeHead({ status, headers, type }: Omit<Representation, 'body'>): void {
    const { res, edge } = this;
    res.writeStatus(STATUS_LINES.get(status) ?? String(status));
    edge.cors.write(res, this.traits.cors, this.origin);
    if (type !== '') res.writeHeader('Content-Type', type);
    res.writeHeader('X-Content-Type-Options', 'nosniff');
    if (this.traits.cors === 'api' && headers['Cache-Control'] === undefined) {
      res.writeHeader('Cache-Control', 'no-store');
    }
    writeHeaders(res, headers);
  }

  #write({ body, ...head }: Representation): void {
    const { res, edge } = this;
    this.#writeHead(head);
    const close = this.closeConnection || edge.draining;
    if (head.status === 204 || head.status === 304) endWithoutLength(res, close);
    else if (body === undefined) res.end('', close);
    else if (this.head) res.endWithoutBody(Buffer.byteLength(body), close);
    else res.end(body, close);
  }

  #abort(): void {
    if (this.#over) return;
    this.aborted = true;
    this.edge.metrics.aborted.inc();
    this.request?.abort();
    this.#stream?.abort();
    // Ends what still waits for the body; a handler that runs already ends by itself.
    this.body?.cancel(ABORTED);
  }

  #finish(status: number): void {
    if (this.#over) return;
    this.#over = true;
    const { edge } = this;
    this.body?.release();
    edge.metrics.inFlight--;
    this.traits.metrics.observe(status, (performance.now() - this.startedAt) / 1000);
    if (edge.idle !== null && edge.metrics.inFlight === 0) edge.idle();
  }
}

class RateError extends AppError {
  readonly headers: Readonly<Record<string, string>>;
  constructor(refusal: RateRefusal) {
    super('rate_limited', 'Too many requests. Please try again later.', {
      retryAfterSeconds: refusal.retryAfterSeconds,
    });
    this.headers = { 'X-RateLimit-Limit': String(refusal.limit), 'X-RateLimit-Remaining': '0' };
  }
}

export function rateError(refusal: RateRefusal): AppError {
  return new RateError(refusal);
}

function writeHeaders(res: UwsResponse, headers: Readonly<Record<string, string>>): void {
  for (const name in headers) {
    const value = headers[name];
    // A header value never carries a line break into the answer.
    if (value !== undefined)
      res.writeHeader(name, /[\r\n\0]/.test(value) ? value.replace(/[\r\n\0]+/g, ' ') : value);
  }
}
