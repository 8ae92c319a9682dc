import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createNotificationService,
  type News,
  type NotificationService,
} from '../../src/notifications/notification-service.js';
import { tellingOfQuarantine } from '../../src/notifications/occasions.js';
import type { EventStore } from '../../src/storage/events/event-store.js';
import { createPostgresEventStore } from '../../src/storage/events/postgres-event-store.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshName, freshPostgres } from '../support/fresh.js';
import { until } from '../support/wait.js';
import { signUp } from './accounts-node.js';
import { type AutomationNode, startAutomationNode } from './automations-node.js';

const PATH = '/api/v1/user/notifications';
const KEEP = 5;
const TIME = /^20\d\d-\d\d-\d\dT.*Z$/;

let database: Awaited<ReturnType<typeof freshPostgres>>;
let sql: pg.Client;
let node: AutomationNode;
let service: NotificationService;
let events: EventStore;

beforeAll(async () => {
  database = await freshPostgres();
  sql = new pg.Client({ connectionString: database.url });
  await sql.connect();
  node = await startAutomationNode({ databaseUrl: database.url });
  const { notifications } = node.metadata;
  service = createNotificationService({ notifications, telemetry: silentTelemetry(), keep: KEEP });
  const telemetry = silentTelemetry();
  events = createPostgresEventStore({ url: database.url, maxConnections: 2, minConnections: 0, telemetry });
  await events.migrate();
});
afterAll(async () => {
  await node.stop();
  await events.close();
  await sql.end();
  await database.drop();
});

const newAccount = () => signUp(node, `${freshName('account')}@example.com`);
const list = async (token: string) => (await node.call('GET', PATH, { token })).body;
const told = (token: string, count = 1) =>
  until(
    async () => {
      const all = await list(token);
      return all.length >= count && all;
    },
    { what: `${count} notifications` },
  );
const newSite = async (token: string): Promise<{ id: string; site_id: string }> =>
  (await node.call('POST', '/api/v1/user/websites', { token, body: { name: 'Shop', url: 'shop.example' } }))
    .body.data;
const news = (subject: string, more: Partial<News> = {}): News => ({
  ...{ type: 'import_finished', subject, title: subject, message: `about ${subject}` },
  ...more,
});

describe('notifications', () => {
  it('are listed to their account alone, newest first, and read one by one or all at once', async () => {
    const [ann, bob] = [await newAccount(), await newAccount()];
    expect(await list(ann.token)).toEqual([]);
    await service.notify(ann.id, news('one', { link: '/websites/1' }));
    await service.notify(ann.id, news('two'));
    await service.notify(ann.id, news('three'));
    const all = await list(ann.token);
    expect(all.map(({ title }: { title: string }) => title)).toEqual(['three', 'two', 'one']);
    expect(all[2]).toEqual({
      id: expect.any(String),
      user_id: ann.id,
      type: 'import_finished',
      title: 'one',
      message: 'about one',
      link: '/websites/1',
      is_read: false,
      created_at: expect.stringMatching(TIME),
    });
    expect(await list(bob.token)).toEqual([]);
    const one = `${PATH}/${all[2].id}/read`;
    expect((await node.call('PUT', one, { token: bob.token })).status).toBe(404);
    expect((await node.call('PUT', one, { token: ann.token })).body).toMatchObject({ success: true });
    const unread = async () =>
      (await list(ann.token))
        .filter((it: { is_read: boolean }) => !it.is_read)
        .map(({ title }: { title: string }) => title);
    expect(await unread()).toEqual(['three', 'two']);
    await node.call('PUT', `${PATH}/read-all`, { token: bob.token });
    expect(await unread()).toEqual(['three', 'two']);
    expect((await node.call('PUT', `${PATH}/read-all`, { token: ann.token })).status).toBe(200);
    expect(await unread()).toEqual([]);
    expect((await node.call('PUT', `${PATH}/x/read`, { token: ann.token })).status).toBe(400);
    expect((await node.call('GET', PATH)).status).toBe(401);
  });

  it('of the same matter are one while unread, and quiet for a time when they were read', async () => {
    const { id, token } = await newAccount();
    for (const message of ['first', 'second']) await service.notify(id, news('x', { message }));
    expect(await list(token)).toMatchObject([{ message: 'second', is_read: false }]);
    await node.call('PUT', `${PATH}/read-all`, { token });
    await service.notify(id, news('x', { quietMs: 60_000 }));
    expect(await list(token)).toHaveLength(1);
    await service.notify(id, news('y', { quietMs: 60_000 }));
    await service.notify(id, news('x'));
    expect((await list(token)).map((it: { is_read: boolean }) => it.is_read)).toEqual([false, false, true]);
  });

  it('are bounded in number and length, and nobody fails for them', async () => {
    const { id, token } = await newAccount();
    for (let i = 0; i < KEEP + 3; i++) await service.notify(id, news(`no ${i}`));
    expect((await list(token)).map(({ title }: { title: string }) => title)).toEqual(
      Array.from({ length: KEEP }, (_, i) => `no ${KEEP + 2 - i}`),
    );
    const long = { title: `${'é'.repeat(198)}😀😀`, message: '\0'.repeat(2_000), link: '/'.repeat(600) };
    await service.notify(id, news('s'.repeat(500), long));
    const [cut] = await list(token);
    expect(cut.title).toBe(`${'é'.repeat(198)}…`);
    expect([cut.message.length, cut.link.length]).toEqual([1_000, 500]);
    await service.notify('00000000-0000-4000-8000-000000000000', news('nobody'));
    await service.notify('no id', news('nobody'));
  });

  it('tell whoever was taken into a team', async () => {
    const [owner, ann] = [await newAccount(), await newAccount()];
    const site = await newSite(owner.token);
    const { email } = (await node.call('GET', '/api/v1/user/auth/me', { token: ann.token })).body.data.user;
    const body = { email, role: 'viewer' };
    await node.call('POST', `/api/v1/user/websites/${site.id}/members`, { token: owner.token, body });
    expect(await told(ann.token)).toMatchObject([
      { type: 'member_added', title: 'You are in the team of Shop', link: `/websites/${site.id}` },
    ]);
    expect(await list(owner.token)).toEqual([]);
  });

  it('tell the owner that events are in quarantine, once for many', async () => {
    const { token } = await newAccount();
    const site = await newSite(token);
    const telling = tellingOfQuarantine(events, 'events', node.sites, service);
    const refused = (n: number) => ({
      ...{ id: n.toString(16).padStart(32, '0'), siteId: site.site_id, quarantinedAt: Date.now() },
      ...({ source: 'batch', table: 'events', reason: 'refused', bytes: new Uint8Array([n]) } as const),
    });
    await telling.quarantine([refused(1), refused(2)], 'one');
    await telling.quarantine([refused(3)], 'two');
    expect(await told(token)).toMatchObject([{ type: 'events_quarantined', link: `/websites/${site.id}` }]);
    expect(await events.listQuarantine(site.site_id, 10)).toHaveLength(3);
  });

  it('tell the owner that recordings are in quarantine, besides events', async () => {
    const { token } = await newAccount();
    const site = await newSite(token);
    const row = {
      id: 'c'.repeat(32),
      siteId: site.site_id,
      quarantinedAt: Date.now(),
      table: 'events',
    } as const;
    const bytes = new Uint8Array([1]);
    for (const [what, source] of [
      ['events', 'batch'],
      ['recordings', 'recording'],
    ] as const)
      await tellingOfQuarantine(events, what, node.sites, service).quarantine(
        [{ ...row, source, reason: 'refused', bytes }],
        what,
      );
    const link = `/websites/${site.id}`;
    expect(await told(token, 2)).toMatchObject([
      { type: 'recordings_quarantined', title: 'Recordings of Shop are in quarantine', link },
      { type: 'events_quarantined', link },
    ]);
  });

  it('tell the owner that an automation fails again and again', async () => {
    const { token } = await newAccount();
    const site = await newSite(token);
    const body = {
      name: 'Mail me',
      triggerType: 'customEvent',
      triggerConfig: { event_name: 'paid' },
      actions: [{ actionType: 'email', actionConfig: { recipient: '' } }],
    };
    const path = `/api/v1/websites/${site.id}/automations`;
    const { id } = (await node.call('POST', path, { token, body })).body;
    const failures = async () => {
      const query = "SELECT 1 FROM automation_executions WHERE automation_id = $1 AND status = 'failed'";
      return (await sql.query(query, [id])).rows.length;
    };
    const fail = async (visitor: string) => {
      const before = await failures();
      await node.show(site.site_id, {
        kind: 2,
        event_type: 'paid',
        visitor_id: visitor,
        session_id: visitor,
      });
      await until(async () => (await failures()) > before, { what: 'the failure', everyMs: 20 });
    };
    await fail('a');
    await fail('b');
    expect(await list(token)).toEqual([]);
    await fail('c');
    expect(await told(token)).toMatchObject([
      {
        type: 'automation_failing',
        title: 'The automation Mail me fails',
        message: 'On Shop, its last 3 executions failed.',
        link: `/websites/${site.id}/automations/${id}`,
      },
    ]);
  });

  it('about a website go with it, also those of others', async () => {
    const [owner, ann] = [await newAccount(), await newAccount()];
    const [gone, kept] = [await newSite(owner.token), await newSite(owner.token)];
    const { email } = (await node.call('GET', '/api/v1/user/auth/me', { token: ann.token })).body.data.user;
    for (const { id } of [gone, kept])
      await node.call('POST', `/api/v1/user/websites/${id}/members`, {
        token: owner.token,
        body: { email, role: 'viewer' },
      });
    await service.notify(owner.id, news('file', { siteId: gone.site_id }));
    await service.notify(owner.id, news('file'));
    await node.call('DELETE', `/api/v1/user/websites/${gone.id}`, { token: owner.token });
    expect(await list(ann.token)).toMatchObject([{ link: `/websites/${kept.id}` }]);
    expect(await list(owner.token)).toHaveLength(1);
    const { passwordHash = null } = (await node.metadata.users.findById(owner.id)) ?? {};
    expect(await node.metadata.accountDeletion.delete(owner.id, passwordHash)).toMatchObject({
      sites: [{ siteId: kept.site_id }],
    });
    expect(await list(ann.token)).toEqual([]);
  });
});
