import { describe, expect, it } from 'vitest';
import { silentTelemetry } from '../telemetry.js';
import type { SiteIds } from '../websites/site-notices.js';
import { createGate } from './gate.js';
import { ANONYMOUS, type Principal, type SiteAction } from './principal.js';

const site = { id: 'site', siteId: 'public', ownerId: 'owner' };
const account = (userId: string, role: 'admin' | 'user' = 'user'): Principal => ({
  kind: 'account',
  userId,
  email: '',
  role,
});

function setUp() {
  const team = new Map([
    ['owner', 'owner'],
    ['editor', 'admin'],
    ['viewer', 'viewer'],
    ['odd', 'constructor'],
  ]);
  const world = { queries: 0, change: (_site: SiteIds): void => {} };
  const gate = createGate({
    telemetry: silentTelemetry(),
    notices: {
      onChange(listener) {
        world.change = listener;
      },
    },
    websites: {
      async members() {
        world.queries++;
        return [...team].map(([userId, role]) => ({ userId, role }));
      },
    },
  });
  return { gate, team, world };
}

describe('the gate', () => {
  const matrix: [string, Principal, SiteAction[]][] = [
    ['the owner', account('owner'), ['read', 'write', 'manage']],
    ['the instance admin', account('root', 'admin'), ['read', 'write', 'manage']],
    ['an admin member', account('editor'), ['read', 'write']],
    ['a viewer', account('viewer'), ['read']],
    ['a member with an unknown role', account('odd'), []],
    ['another account', account('stranger'), []],
    ['nobody', ANONYMOUS, []],
  ];
  it.each(matrix)('lets %s do what the role says', async (_who, principal, allowed) => {
    const { gate } = setUp();
    const actions: SiteAction[] = ['read', 'write', 'manage'];
    const answers = await Promise.all(actions.map((action) => gate.authorize(principal, site, action)));
    expect(actions.filter((_action, index) => answers[index])).toEqual(allowed);
  });

  it('asks for a team once, and again after a notice', async () => {
    const { gate, team, world } = setUp();
    await Promise.all([1, 2, 3].map(() => gate.authorize(account('viewer'), site, 'read')));
    expect(world.queries).toBe(1);
    team.delete('viewer');
    world.change(site);
    expect(await gate.authorize(account('viewer'), site, 'read')).toBe(false);
    expect(world.queries).toBe(2);
  });
});
