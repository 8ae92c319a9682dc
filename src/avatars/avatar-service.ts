import { createHash, randomBytes } from 'node:crypto';
import { AppError } from '../errors.js';
import type { User, UserStore } from '../storage/metadata/metadata.js';
import type { ObjectStore } from '../storage/objects/objects.js';
import type { Logger } from '../telemetry.js';
import { checkedImage, IMAGE_TYPES, type ImageExtension } from './image.js';

export interface AvatarServiceOptions {
  readonly users: Pick<UserStore, 'setAvatar'>;
  readonly objects: Pick<ObjectStore, 'put' | 'get' | 'delete' | 'list'>;
  readonly log: Logger;
}

export interface AvatarFile {
  readonly bytes: Uint8Array;
  /** Media type. */
  readonly type: string;
}

/** Pictures of accounts. */
export interface AvatarService {
  /**
   * Stores a picture and makes it the account's; the one before goes.
   * @throws AppError `invalid_image`, `invalid_token` when the account is gone
   */
  replace(userId: string, picture: Uint8Array): Promise<User>;
  /** @param file last part of the address; null when there is no such picture, whatever else it may name */
  read(file: string): Promise<AvatarFile | null>;
  /** Removes all pictures of an account, also those that a crash left without one. */
  erase(userId: string): Promise<void>;
}

/** Where the pictures are under the origin of the dashboard, which passes on nothing but `/api/v1/`. */
export const AVATAR_BASE = '/api/v1/uploads/';

const FOLDER = 'avatars/';
/** Whose (a hash), which one (random), what. */
const FILE = /^([0-9a-f]{32})-([0-9a-f]{32})\.(jpg|png|webp)$/;

export function createAvatarService({ users, objects, log }: AvatarServiceOptions): AvatarService {
  /** What is not deleted now is with the account. */
  const remove = (keys: readonly string[]) =>
    objects.delete(keys).catch((err: unknown) => log.warn({ err }, 'an old avatar could not be deleted'));
  return {
    async replace(userId, picture) {
      const { extension, bytes } = await checkedImage(picture);
      const file = `${ownerPart(userId)}-${randomBytes(16).toString('hex')}.${extension}`;
      const key = FOLDER + file;
      await objects.put(key, bytes, IMAGE_TYPES[extension]);
      const set = await users.setAvatar(userId, AVATAR_BASE + file).catch(async (error: unknown) => {
        await remove([key]);
        throw error;
      });
      if (set === null) {
        await remove([key]);
        throw new AppError('invalid_token', 'Invalid or expired token');
      }
      const before = set.previous.slice(set.previous.lastIndexOf('/') + 1);
      if (FILE.test(before)) await remove([FOLDER + before]);
      return set.user;
    },

    async read(file) {
      const extension = FILE.exec(file)?.[3];
      if (!isExtension(extension)) return null;
      const bytes = await objects.get(FOLDER + file);
      return bytes === null ? null : { bytes, type: IMAGE_TYPES[extension] };
    },

    async erase(userId) {
      const keys: string[] = [];
      for await (const key of objects.list(`${FOLDER}${ownerPart(userId)}-`)) keys.push(key);
      await objects.delete(keys);
    },
  };
}

/** The same for all pictures of an account, so that they can be found without a list; does not tell its id. */
const ownerPart = (userId: string): string =>
  createHash('sha256').update(`avatar of ${userId}`).digest('hex').slice(0, 32);

const isExtension = (text: string | undefined): text is ImageExtension =>
  text !== undefined && Object.hasOwn(IMAGE_TYPES, text);
