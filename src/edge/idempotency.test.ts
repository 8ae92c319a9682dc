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

it('keeps only so much of an account: what was done beyond is not done again, but its answer is gone', async () => {
  const answers: (string | null)[] = [];
  const idempotency = createIdempotency({
    store: { ...store, finish: async (_user, _key, _claim, _status, answer) => void answers.push(answer) },
    ...{ secret: 'secret', telemetry: silentTelemetry(), keptOfAccount: 20 },
  });
  const call = (userId: string, body: object | undefined) =>
    idempotency.run({
      ...{ userId, key: 'key', method: 'POST', target: '/', body: new Uint8Array() },
      ...{ secret: false, run: async () => ({ status: 201, body }) },
    });
  for (const user of ['one', 'one', 'one', 'other']) await call(user, { id: 123 });
  await call('one', undefined);
  expect(answers).toEqual(['{"id":123}', '{"id":123}', null, '{"id":123}', '']);
  await idempotency.close();
});
