import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { User } from '../storage/metadata/metadata.js';
import { silentTelemetry } from '../telemetry.js';
import { createAccountDeletion } from './account-deletion.js';
import { createAccountLeftovers } from './account-leftovers.js';

const user: User = {
  ...{ id: randomUUID(), name: 'Ada', email: 'ada@shop.example', role: 'user', avatar: '' },
  ...{ passwordHash: 'hash', passwordVersion: 0, createdAt: new Date(), updatedAt: new Date() },
};

const leftovers = { leftovers: async () => [], cleared: async () => {} };

/** Nobody can be told. */
const away = () => Promise.reject(new Error('the cache is away'));

/** @param erase removes the account's pictures */
function deletionWith(
  erase: () => Promise<void>,
  whileItGoes: () => void,
  purge: (siteIds: readonly string[]) => Promise<void> = async () => {},
) {
  return createAccountDeletion({
    metadata: {
      users: { findById: async () => user },
      accountDeletion: {
        ...leftovers,
        isLastAdmin: async () => false,
        async delete() {
          whileItGoes();
          return { sites: [{ id: randomUUID(), siteId: 'own' }], sessions: ['s'], keys: [Buffer.from('k')] };
        },
      },
    },
    passwords: { verify: async (_, password) => password === 'right' },
    attempts: { count: async () => {}, clear: async () => {} },
    authenticator: { sessionEnded: away, keyEnded: away },
    notices: { changed: away },
    leftovers: createAccountLeftovers({
      store: leftovers,
      erase,
      telemetry: silentTelemetry(),
    }),
    purge,
    waitMs: 20,
    log: silentTelemetry().log,
  });
}

describe('the deletion of an account', () => {
  it('leaves no picture behind that was uploaded meanwhile', async () => {
    const pictures = new Set(['before']);
    const erase = async () => pictures.clear();
    await deletionWith(erase, () => pictures.add('meanwhile')).delete(user.id, 'right');
    expect([...pictures]).toEqual([]);
  });

  it('purges its own websites and does not wait for what takes long', async () => {
    const asked: (readonly string[])[] = [];
    const never = (siteIds: readonly string[]) => {
      asked.push(siteIds);
      return new Promise<void>(() => {});
    };
    const erase = async () => {};
    await deletionWith(erase, () => {}, never).delete(user.id, 'right');
    expect(asked).toEqual([['own']]);
  });

  it('is done when the pictures cannot be removed now', async () => {
    let calls = 0;
    const erase = async () => {
      calls++;
      throw new Error('away');
    };
    await deletionWith(erase, () => {}).delete(user.id, 'right');
    expect(calls).toBe(1);
  });
});
