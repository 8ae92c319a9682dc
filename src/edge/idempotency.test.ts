import { expect, it } from 'vitest';
import { AppError } from '../errors.js';
import type { IdempotencyStore } from '../storage/metadata/idempotency.js';
import { silentTelemetry } from '../telemetry.js';
import { createIdempotency } from './idempotency.js';
import type { Reply } from './route.js';

const away = () => Promise.reject(new AppError('storage_unavailable', 'away'));
/** Gone after the claim. */
const store: IdempotencyStore = {
  claim: async () => ({ state: 'claimed', claim: 'claim' }),
  ...{ finish: away, release: away, expire: away },
};

it('tells what came of a request also when it cannot be noted', async () => {
  const idempotency = createIdempotency({ store, secret: 'secret', telemetry: silentTelemetry() });
  const call = (run: () => Promise<Reply<unknown>>, secret = false) =>
    idempotency.run({
      ...{ userId: 'user', key: 'key', method: 'POST', target: '/', body: new Uint8Array() },
      ...{ secret, run },
    });
  const made = { status: 201, body: { id: 1 } };
  expect(await call(async () => made)).toBe(made);
  expect(await call(async () => made, true)).toBe(made);
  const refusal = new AppError('limit_reached', 'there are enough');
  await expect(call(() => Promise.reject(refusal))).rejects.toBe(refusal);
  await idempotency.close();
});
