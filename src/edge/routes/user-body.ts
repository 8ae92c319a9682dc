import Type, { type Static } from 'typebox';
import type { User } from '../../storage/metadata/metadata.js';

/** An account as its holder sees it: the original's object and what the dashboard's type knows beyond it. */
export const UserBody = Type.Object({
  id: Type.String({ format: 'uuid' }),
  _id: Type.String({ description: 'The same as id' }),
  name: Type.String(),
  email: Type.String(),
  avatar: Type.String(),
  role: Type.Union([Type.Literal('admin'), Type.Literal('user')]),
  isActive: Type.Boolean(),
  isEmailVerified: Type.Boolean(),
  createdAt: Type.String({ format: 'date-time' }),
  updatedAt: Type.String({ format: 'date-time' }),
});

/** In requests that set a password. */
export const RevokeApiKeys = Type.Optional(
  Type.Boolean({
    default: false,
    description: "Delete the account's API keys, too: a new password does not end them by itself",
  }),
);

export function userBody(user: User): Static<typeof UserBody> {
  return {
    id: user.id,
    _id: user.id,
    name: user.name,
    email: user.email,
    avatar: user.avatar,
    role: user.role,
    isActive: true,
    isEmailVerified: false,
    createdAt: user.createdAt.toISOString(),
    updatedAt: user.updatedAt.toISOString(),
  };
}
