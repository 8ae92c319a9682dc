/** Pictures of accounts (contract 3.9, 15.4). */
import Type from 'typebox';
import type { AvatarService } from '../../avatars/avatar-service.js';
import { AppError } from '../../errors.js';
import { userIdOf } from '../caller.js';
import { type AnyRoute, Nothing, type Reply, type RequestInfo, route, uploadRoute } from '../route.js';
import { StreamBody } from '../stream-body.js';
import { UserBody, userBody } from './user-body.js';

const MAX_BYTES = 2 * 1024 * 1024;
const File = Type.Object({
  file: Type.String({ maxLength: 100, description: 'As the avatar of an account names it' }),
});

/** A picture never changes under its address. It is nothing that could run, and the sandbox holds if it were. */
const HEADERS = {
  'Cache-Control': 'public, max-age=31536000, immutable',
  'Content-Security-Policy': "sandbox; default-src 'none'",
  'Cross-Origin-Resource-Policy': 'cross-origin',
};

export function avatarRoutes(avatars: AvatarService): AnyRoute[] {
  return [
    uploadRoute({
      method: 'PUT',
      path: '/api/v1/user/users/avatar',
      summary:
        'Set the picture of the own account: JPEG, PNG or WebP of at most 2 MiB. Places, names and previews in it are dropped',
      tag: 'Auth',
      // That of the sign-in: few requests an account, since checking a picture takes time.
      bucket: 'auth',
      cors: 'api',
      access: 'account',
      params: Nothing,
      body: Type.Object({
        avatar: Type.String({ format: 'binary', description: 'The picture', contentMediaType: 'image/*' }),
      }),
      form: { fileBytes: MAX_BYTES, fields: 4 },
      responses: {
        200: Type.Object({
          success: Type.Boolean(),
          message: Type.String(),
          data: Type.Object({ user: UserBody }),
        }),
      },
      async handle({ principal, read }) {
        const { file } = await read(async ({ field, bytes }) => ({ field, bytes: await collected(bytes) }));
        if (file?.field !== 'avatar' || file.bytes.length === 0)
          throw new AppError('invalid_request', 'no avatar file provided');
        const user = await avatars.replace(userIdOf(principal), file.bytes);
        return {
          status: 200,
          body: { success: true, message: 'Avatar uploaded successfully', data: { user: userBody(user) } },
        };
      },
    }),
    ...['/uploads/:file', '/api/v1/uploads/:file'].map((path) =>
      route({
        method: 'GET',
        path,
        summary: 'The picture of an account',
        tag: 'Auth',
        bucket: 'api',
        cors: 'api',
        access: 'public',
        params: File,
        query: Nothing,
        responses: { 200: Type.String({ contentMediaType: 'image/*' }) },
        handle: ({ params, request }) => picture(avatars, params.file, request),
      }),
    ),
  ];
}

async function picture(avatars: AvatarService, file: string, request: RequestInfo): Promise<Reply<unknown>> {
  const found = await avatars.read(file);
  if (found === null) throw new AppError('not_found', 'There is no such file');
  const headers = { ...HEADERS, ETag: `"${file}"` };
  // It is in every cache for good; a reload asks all the same.
  if (request.header('if-none-match').includes(`"${file}"`)) return { status: 304, body: undefined, headers };
  return { status: 200, headers, body: new StreamBody(once(found.bytes), found.type, false) };
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}

async function collected(bytes: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of bytes) pieces.push(piece);
  return Buffer.concat(pieces);
}
