import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AvatarService, createAvatarService } from '../../src/avatars/avatar-service.js';
import { avatarRoutes } from '../../src/edge/routes/avatars.js';
import { createFolderStore } from '../../src/storage/objects/folder.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshPostgres } from '../support/fresh.js';
import { PICTURES } from '../support/pictures.js';
import { type Node, signUp, startNode } from './accounts-node.js';

const FILE = /^\/api\/v1\/uploads\/([0-9a-f]{32}-[0-9a-f]{32}\.(jpg|png|webp))$/;

let database: Awaited<ReturnType<typeof freshPostgres>>;
let folder: string;
let node: Node;
let avatars: AvatarService;
beforeAll(async () => {
  [database, folder] = await Promise.all([freshPostgres(), mkdtemp(join(tmpdir(), 'avatars-'))]);
  node = await startNode({
    databaseUrl: database.url,
    routes: ({ metadata }) => {
      const { log } = silentTelemetry();
      avatars = createAvatarService({ users: metadata.users, objects: createFolderStore(folder), log });
      return avatarRoutes(avatars);
    },
  });
});
afterAll(async () => {
  await node.stop();
  await rm(folder, { recursive: true });
  await database.drop();
});

async function upload(token: string | undefined, bytes: Uint8Array, field = 'avatar', name = 'me.html') {
  const form = new FormData();
  // What the sender calls it and says it is does not matter.
  form.set(field, new Blob([bytes], { type: 'text/html' }), name);
  const answer = await fetch(`${node.url}/api/v1/user/users/avatar`, {
    method: 'PUT',
    headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    body: form,
  });
  // biome-ignore lint/suspicious/noExplicitAny: a JSON answer, looked into by the assertions
  const body: any = await answer.json();
  return { status: answer.status, body };
}

const stored = async () => readdir(join(folder, 'avatars')).catch(() => []);
const get = (path: string, headers = {}) => fetch(node.url + path, { headers });

describe('an avatar', () => {
  it('is stored as a picture, named in the account and served under both addresses', async () => {
    for (const [email, picture, extension, type] of [
      ['jpeg@example.com', PICTURES.jpeg, 'jpg', 'image/jpeg'],
      ['png@example.com', PICTURES.png, 'png', 'image/png'],
      ['webp@example.com', PICTURES.transparentWebp, 'webp', 'image/webp'],
    ] as const) {
      const { token, id } = await signUp(node, email);
      const answer = await upload(token, picture);
      expect(answer).toMatchObject({
        status: 200,
        body: { success: true, message: 'Avatar uploaded successfully', data: { user: { id, email } } },
      });
      const { avatar } = answer.body.data.user;
      const [, file, ending] = FILE.exec(avatar) ?? [];
      expect(ending).toBe(extension);
      expect((await node.call('GET', '/api/v1/user/auth/me', { token })).body.data.user.avatar).toBe(avatar);
      for (const path of [avatar, `/uploads/${file}`]) {
        const served = await get(path, { 'accept-encoding': 'br, gzip' });
        expect([served.status, Object.fromEntries(served.headers)]).toEqual([
          200,
          expect.objectContaining({
            'content-type': type,
            'x-content-type-options': 'nosniff',
            'content-security-policy': "sandbox; default-src 'none'",
            'cache-control': 'public, max-age=31536000, immutable',
          }),
        ]);
        expect(served.headers.get('content-encoding')).toBeNull();
        const bytes = Buffer.from(await served.arrayBuffer());
        expect(bytes.equals(await readFile(join(folder, 'avatars', file ?? '')))).toBe(true);
        const again = await get(path, { 'if-none-match': served.headers.get('etag') ?? '' });
        expect([again.status, await again.text()]).toEqual([304, '']);
      }
    }
  });

  it('that was replaced is gone, and no other', async () => {
    const { token } = await signUp(node, 'replaced@example.com');
    const other = await signUp(node, 'other@example.com');
    const others = (await upload(other.token, PICTURES.png)).body.data.user.avatar;
    const before = (await upload(token, PICTURES.png)).body.data.user.avatar;
    const count = (await stored()).length;
    const after = (await upload(token, PICTURES.jpeg)).body.data.user.avatar;
    expect((await get(before)).status).toBe(404);
    for (const path of [after, others]) expect((await get(path)).status).toBe(200);
    expect(await stored()).toHaveLength(count);
  });

  it('goes with its account, together with what a crash may have left', async () => {
    const { token, id } = await signUp(node, 'erased@example.com');
    const other = await signUp(node, 'kept@example.com');
    const kept = (await upload(other.token, PICTURES.png)).body.data.user.avatar;
    const first = (await upload(token, PICTURES.png)).body.data.user.avatar;
    // The account forgets the first one without deleting it.
    await node.metadata.users.setAvatar(id, '');
    const second = (await upload(token, PICTURES.jpeg)).body.data.user.avatar;
    expect((await get(first)).status).toBe(200);
    await avatars.erase(id);
    for (const path of [first, second]) expect((await get(path)).status).toBe(404);
    expect((await get(kept)).status).toBe(200);
  });

  it('is never anything but a picture of at most 2 MiB, from a signed-in account', async () => {
    const { token } = await signUp(node, 'refused@example.com');
    const count = (await stored()).length;
    const html = Buffer.from('<!doctype html><script>alert(document.domain)</script>');
    const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>');
    for (const bytes of [html, svg])
      expect(await upload(token, bytes, 'avatar', 'me.png')).toMatchObject({
        status: 400,
        body: { code: 'invalid_image' },
      });
    for (const [bytes, field] of [
      [Buffer.alloc(0), 'avatar'],
      [PICTURES.png, 'picture'],
    ] as const)
      expect(await upload(token, bytes, field)).toMatchObject({
        status: 400,
        body: { error: 'no avatar file provided' },
      });
    const huge = Buffer.concat([PICTURES.png, Buffer.alloc(2 * 1024 * 1024)]);
    expect((await upload(token, huge)).status).toBe(413);
    expect((await upload(undefined, PICTURES.png)).status).toBe(401);
    expect((await upload('gar.ba.ge', PICTURES.png)).status).toBe(401);
    expect(await node.call('PUT', '/api/v1/user/users/avatar', { token, body: {} })).toMatchObject({
      status: 400,
    });
    expect(await stored()).toHaveLength(count);
  });

  it('is the only thing that can be asked for under its address', async () => {
    const { token } = await signUp(node, 'paths@example.com');
    const { avatar } = (await upload(token, PICTURES.png)).body.data.user;
    const file = avatar.slice(avatar.lastIndexOf('/') + 1);
    for (const name of [
      '',
      'x.png',
      '..%2fsecret',
      '%2e%2e%2f%2e%2e%2fetc%2fpasswd',
      `..%2favatars%2f${file}`,
      `${file}.html`,
      `${file.replace('png', 'svg')}`,
      file.replace('.png', '.jpg'),
      file.toUpperCase(),
      `${file}%0a`,
    ]) {
      for (const base of ['/uploads/', '/api/v1/uploads/'])
        expect((await get(base + name)).status, base + name).toBe(404);
    }
    expect((await get(`${avatar}%00`)).status).toBe(400);
    const head = await fetch(node.url + avatar, { method: 'HEAD' });
    expect([head.status, head.headers.get('content-type')]).toEqual([200, 'image/png']);
  });
});
