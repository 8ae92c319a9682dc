import { type Database, type Queryable, type Row, sqlState } from '../postgres.js';
import { date, number, text, textOrNull } from '../row.js';
import type { User, UserStore } from './metadata.js';
import { closeResets, writePassword } from './password-change.js';

/** Columns of a user, for queries that alias the table `u`. */
export const USER_COLUMNS =
  'u.id, u.name, u.email, u.password_hash, u.password_version, u.role, u.avatar_url, u.created_at, u.updated_at';

export function readUser(row: Row): User {
  return {
    id: text(row, 'id'),
    name: text(row, 'name'),
    email: text(row, 'email'),
    passwordHash: textOrNull(row, 'password_hash'),
    passwordVersion: number(row, 'password_version'),
    role: text(row, 'role') === 'admin' ? 'admin' : 'user',
    avatar: textOrNull(row, 'avatar_url') ?? '',
    createdAt: date(row, 'created_at'),
    updatedAt: date(row, 'updated_at'),
  };
}

const FIND_BY_EMAIL = `SELECT ${USER_COLUMNS} FROM users u WHERE lower(u.email) = lower($1)
  ORDER BY (u.email = $1) DESC, u.created_at LIMIT 1`;

const SET_AVATAR = `WITH before AS (SELECT id, avatar_url FROM users WHERE id = $1 FOR NO KEY UPDATE)
  UPDATE users u SET avatar_url = $2, updated_at = now() FROM before WHERE u.id = before.id
  RETURNING ${USER_COLUMNS}, before.avatar_url AS previous`;

// Registrations and changes of addresses happen one after another, so that two at once see each other.
const LOCK_ADDRESSES = "SELECT pg_advisory_xact_lock(hashtextextended('seentics_registration', 0))";

export function createUserStore(db: Database): UserStore {
  return {
    async exists() {
      const [row] = await db.query('SELECT EXISTS (SELECT 1 FROM users) AS found');
      return row?.found === true;
    },

    findById: (id) => byId(db, id),

    async findByEmail(email) {
      const [row] = await db.query(FIND_BY_EMAIL, [email]);
      return row ? readUser(row) : null;
    },

    register: (user, open) =>
      orTaken(() =>
        db.transaction(async (tx) => {
          await tx.query(LOCK_ADDRESSES);
          const [state] = await tx.query(
            `SELECT EXISTS (SELECT 1 FROM users) AS taken_instance,
                    EXISTS (SELECT 1 FROM users WHERE lower(email) = lower($1)) AS taken_email`,
            [user.email],
          );
          const first = state?.taken_instance === false;
          if (!first && !open) return 'closed';
          if (state?.taken_email !== false) return 'taken';
          return insert(tx, { ...user, role: first ? 'admin' : 'user' });
        }),
      ),

    async replacePasswordHash(id, previous, next) {
      await db.query(
        'UPDATE users SET password_hash = $3, updated_at = now() WHERE id = $1 AND password_hash = $2',
        [id, previous, next],
      );
    },

    updateProfile: (id, name, email) =>
      orTaken(() => db.transaction((tx) => writeProfile(tx, { id, name, email }))),

    async sync(account) {
      const known = await byId(db, account.id);
      if (known !== null && isUpToDate(known, account)) return known;
      if (known === null && account.email === '') return null;
      return orTaken(() =>
        db.transaction(async (tx) => {
          const written = await writeProfile(tx, account);
          if (written !== null || account.email === '') return written;
          const name =
            account.name === '' ? account.email.slice(0, account.email.indexOf('@')) : account.name;
          return insert(tx, { ...account, name, passwordHash: null, role: 'user' });
        }),
      );
    },

    async setAvatar(id, url) {
      const [row] = await db.query(SET_AVATAR, [id, url]);
      return row ? { user: readUser(row), previous: textOrNull(row, 'previous') ?? '' } : null;
    },

    changePassword: (id, { previous, next, keepSession, revokeKeys }) =>
      db.transaction(async (tx) => {
        const [account] = await tx.query(
          'SELECT id FROM users WHERE id = $1 AND password_hash = $2 FOR NO KEY UPDATE',
          [id, previous],
        );
        if (!account) return null;
        return writePassword(tx, id, { hash: next, reason: 'password changed', keepSession, revokeKeys });
      }),
  };
}

async function byId(db: Queryable, id: string): Promise<User | null> {
  const [row] = await db.query(`SELECT ${USER_COLUMNS} FROM users u WHERE u.id = $1`, [id]);
  return row ? readUser(row) : null;
}

/** Where addresses are unique regardless of case, the database has the last word. */
async function orTaken<T>(work: () => Promise<T>): Promise<T | 'taken'> {
  try {
    return await work();
  } catch (error) {
    if (sqlState(error) === '23505') return 'taken';
    throw error;
  }
}

interface Profile {
  readonly id: string;
  readonly name: string;
  readonly email: string;
}

type NewRow = Profile & Pick<User, 'passwordHash' | 'role'>;

async function insert(tx: Queryable, { id, name, email, passwordHash, role }: NewRow): Promise<User> {
  const [row] = await tx.query(
    `INSERT INTO users AS u (id, name, email, password_hash, role, avatar_url)
     VALUES ($1, $2, $3, $4, $5, '') RETURNING ${USER_COLUMNS}`,
    [id, name, email, passwordHash, role],
  );
  if (!row) throw new Error('the inserted account did not come back');
  return readUser(row);
}

/** What is empty stays as it is. Null when there is no such account; other accounts may be added only after the transaction. */
async function writeProfile(tx: Queryable, { id, name, email }: Profile): Promise<User | 'taken' | null> {
  await tx.query(LOCK_ADDRESSES);
  const [other] = await tx.query('SELECT id FROM users WHERE lower(email) = lower($2) AND id <> $1 LIMIT 1', [
    id,
    email,
  ]);
  if (other) return 'taken';
  const [before] = await tx.query('SELECT email FROM users WHERE id = $1 FOR NO KEY UPDATE', [id]);
  if (!before) return null;
  // A link that was mailed to the old address must not open the account.
  if (email !== '' && text(before, 'email') !== email) await closeResets(tx, id);
  const [row] = await tx.query(
    `UPDATE users AS u SET name = coalesce(nullif($2, ''), u.name), email = coalesce(nullif($3, ''), u.email), updated_at = now()
     WHERE id = $1 RETURNING ${USER_COLUMNS}`,
    [id, name, email],
  );
  return row ? readUser(row) : null;
}

const isUpToDate = (user: User, { name, email }: Profile): boolean =>
  (name === '' || name === user.name) && (email === '' || email === user.email);
