import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Guard } from '../test/support/guard.js';
import { Program } from '../test/support/program.js';
import { createSeenticsClient } from './index.js';

let guard: Guard;
let program: Program;
let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'seentics-client-'));
  guard = await Guard.start();
  program = await Program.start(guard, { dataDir: join(directory, 'data') });
});
afterAll(async () => {
  await guard.stop();
  await rm(directory, { recursive: true, force: true });
});

it('signs up, makes a website, sends an event and reads the figures', async () => {
  const baseUrl = program.url;
  const guest = createSeenticsClient({ baseUrl });
  const account = { name: 'Ada', email: 'ada@shop.example', password: 'correct horse battery' };
  const registered = await guest.POST('/api/v1/user/auth/register', { body: account });
  const token = registered.data?.data.tokens.access_token ?? '';
  const api = createSeenticsClient({ baseUrl, token: () => token });

  const created = await api.POST('/api/v1/user/websites', {
    body: { name: 'Shop', url: 'https://shop.example' },
  });
  const website_id = created.data?.data.id ?? '';
  const sent = await guest.POST('/api/v1/analytics/event', {
    body: { website_id, visitor_id: 'ada', session_id: 's1', event_type: 'pageview', page: '/' },
  });
  expect(sent.data).toMatchObject({ status: 'accepted', visitor_id: 'ada' });

  await expect
    .poll(
      async () => {
        const path = '/api/v1/analytics/dashboard/{website_id}';
        const { data } = await api.GET(path, { params: { path: { website_id }, query: { days: '1' } } });
        return data?.unique_visitors;
      },
      { timeout: 20_000 },
    )
    .toBe(1);
});

it('answers errors with their code', async () => {
  const api = createSeenticsClient({ baseUrl: program.url, token: 'not a token' });
  const { error, response } = await api.GET('/api/v1/user/websites');
  expect(response.status).toBe(401);
  expect(error).toMatchObject({ code: 'invalid_token' });
});
