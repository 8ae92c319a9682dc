import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { User } from '../storage/metadata/metadata.js';
import { silentTelemetry } from '../telemetry.js';
import { createAccountDeletion } from './account-deletion.js';

const user: User = {
  ...{ id: randomUUID(), name: 'Ada', email: 'ada@shop.example', role: 'user', avatar: '' },
  ...{ passwordHash: 'hash', passwordVersion: 0, createdAt: new Date(), updatedAt: new Date() },
};

/** @param erase removes the account's pictures, each time it is called */
function deletionWith(
  erase: () => Promise<void>,
  whileItGoes: () => void,
  purge: (siteIds: readonly string[]) => Promise<void> = async () => {},
) {
  return createAccountDeletion({
    metadata: {
      users: { findById: async () => user },
      accountDeletion: {
        isLastAdmin: async () => false,
        async delete() {
          whileItGoes();
          return { sites: [{ id: randomUUID(), siteId: 'own' }], sessions: [] };
        },
      },
    },
    passwords: { verify: async (_, password) => password === 'right' },
    attempts: { count: async () => {}, clear: async () => {} },
    authenticator: { sessionEnded: async () => {} },
    notices: { changed: async () => {} },
    beforehand: erase,
    afterwards: erase,
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

  it('is done when the pictures cannot be looked through again', async () => {
    let calls = 0;
    const erase = async () => {
      if (++calls > 1) throw new Error('away');
    };
    await deletionWith(erase, () => {}).delete(user.id, 'right');
    expect(calls).toBe(2);
  });
});
