import { describe, expect, it } from 'vitest';
import type { IngestAnswer, IngestRequest, Intake } from '../../enrich/intake.js';
import { AppError } from '../../errors.js';
import type { RequestInfo } from '../route.js';
import { ingestRoutes } from './ingest.js';

const ACCEPTED: IngestAnswer = {
  kind: 'accepted',
  received: 1,
  accepted: 1,
  rejected: 0,
  errors: [],
  eventId: 'id',
  visitorId: 'v',
  sessionId: 's',
};

function setUp(answer: IngestAnswer | AppError) {
  const requests: IngestRequest[] = [];
  const intake: Intake = {
    submit: (request) => {
      requests.push(request);
      return answer instanceof AppError ? Promise.reject(answer) : Promise.resolve(answer);
    },
    close: () => Promise.resolve(),
  };
  const [event, batch] = ingestRoutes({ intake });
  if (event?.kind !== 'raw' || batch?.kind !== 'raw') throw new Error('two raw routes');
  return { event, batch, requests };
}

function info(headers: Record<string, string> = {}): RequestInfo {
  return {
    method: 'POST',
    path: '',
    address: '192.0.2.1',
    userAgent: 'UA',
    origin: headers.origin ?? '',
    referer: headers.referer ?? '',
    header: (name) => headers[name] ?? '',
    signal: new AbortController().signal,
  };
}

const call = (headers?: Record<string, string>) => ({ bytes: new Uint8Array(1), request: info(headers) });

describe('the record routes', () => {
  it('are public, of the ingest bucket, with the CORS of trackers and 1 MiB', () => {
    const { event, batch } = setUp(ACCEPTED);
    for (const route of [event, batch])
      expect(route).toMatchObject({
        method: 'POST',
        access: 'public',
        bucket: 'ingest',
        cors: 'tracker',
        bodyLimit: 1 << 20,
      });
    expect([event.path, batch.path]).toEqual(['/api/v1/analytics/event', '/api/v1/analytics/batch']);
  });

  it('answer 201 in the shapes of the contract', async () => {
    const { event, batch } = setUp(ACCEPTED);
    expect(await event.handle(call())).toEqual({
      status: 201,
      body: { status: 'accepted', event_id: 'id', visitor_id: 'v', session_id: 's' },
    });
    expect(await batch.handle(call())).toEqual({
      status: 201,
      body: {
        status: 'accepted',
        events_count: 1,
        processed_at: expect.any(Number),
        rejected: 0,
        errors: [],
      },
    });
  });

  it.each([
    'website_not_found',
    'website_inactive',
    'origin_not_allowed',
    'invalid_json',
    'invalid_request',
  ] as const)(
    'refuse %s with 200 for batches, so that trackers do not repeat, and as an error for single events',
    async (code) => {
      const { event, batch } = setUp({ kind: 'refused', code, message: 'no' });
      expect(await batch.handle(call())).toMatchObject({
        status: 200,
        body: { status: 'rejected', events_count: 0, error: 'no', message: 'no', code },
      });
      await expect(event.handle(call())).rejects.toMatchObject({ code, message: 'no' });
    },
  );

  it('refuse a batch without a single good event with 200, a bad single event with the reason', async () => {
    const errors = [{ index: 0, code: 'stale', message: 'too old' }] as const;
    const { event, batch } = setUp({ ...ACCEPTED, accepted: 0, rejected: 1, errors });
    expect(await batch.handle(call())).toMatchObject({
      status: 200,
      body: { code: 'stale', rejected: 1, errors },
    });
    await expect(event.handle(call())).rejects.toMatchObject({
      code: 'invalid_request',
      options: { details: { reason: 'stale' } },
    });
  });

  it.each(['overloaded', 'quota_exceeded', 'storage_unavailable'] as const)(
    'pass %s on, for that may be repeated',
    async (code) => {
      const { event, batch } = setUp(new AppError(code, 'later'));
      await expect(event.handle(call())).rejects.toMatchObject({ code });
      await expect(batch.handle(call())).rejects.toMatchObject({ code });
    },
  );

  it('turn what the edge refuses before them into an answer that trackers do not repeat', () => {
    const { event, batch } = setUp(ACCEPTED);
    expect(event.refuse).toBeUndefined();
    expect(batch.refuse?.(new AppError('body_too_large', 'too large'))).toMatchObject({
      status: 200,
      body: { code: 'body_too_large' },
    });
    expect(batch.refuse?.(new AppError('rate_limited', 'slow down'))).toBeUndefined();
    expect(batch.refuse?.(new Error('boom'))).toBeUndefined();
  });

  it('pass origin, else referer, and notice prefetches', async () => {
    const { batch, requests } = setUp(ACCEPTED);
    await batch.handle(call({ origin: 'https://a.example', referer: 'https://b.example/' }));
    await batch.handle(call({ origin: 'null', referer: 'https://b.example/' }));
    await batch.handle(call({ 'sec-purpose': 'prefetch;prerender' }));
    await batch.handle(call({ 'x-moz': 'prefetch' }));
    expect(requests.map(({ origin }) => origin)).toEqual(['https://a.example', 'https://b.example/', '', '']);
    expect(requests.map(({ prefetch }) => prefetch)).toEqual([false, false, true, true]);
    expect(requests[0]).toMatchObject({ source: 'batch', address: '192.0.2.1', userAgent: 'UA' });
  });
});
