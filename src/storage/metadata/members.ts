import type { Database, Row } from '../postgres.js';
import { date, text } from '../row.js';

/** What a member of a team may be made; the owner is so by the website itself. */
export type MemberRole = 'admin' | 'viewer';

/** One account of a website's team. */
export interface MemberRecord {
  /** UUID of the membership. */
  readonly id: string;
  /** UUID of the website. */
  readonly websiteId: string;
  readonly userId: string;
  /** `owner`, `admin` or `viewer`. */
  readonly role: string;
  readonly userName: string;
  readonly userEmail: string;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export interface MemberStore {
  /** The owner and all members, oldest first. */
  list(websiteId: string): Promise<MemberRecord[]>;
  /** Null when the account is in the team, the team has `limit` members already, or the website is gone. */
  add(websiteId: string, userId: string, role: MemberRole, limit: number): Promise<MemberRecord | null>;
  /** Null when the account is no member, or the owner. */
  setRole(websiteId: string, userId: string, role: MemberRole): Promise<MemberRecord | null>;
  /** False when the account is no member, or the owner. */
  remove(websiteId: string, userId: string): Promise<boolean>;
}

const COLUMNS = `m.id, m.website_id, m.user_id, m.role, m.created_at, m.updated_at,
  u.name AS user_name, u.email AS user_email`;

// The owner's row may be missing, or say something else, in a database of the original.
const LIST = `WITH m AS (
    SELECT m.id, m.website_id, m.user_id, CASE WHEN m.user_id = w.user_id THEN 'owner' ELSE m.role END AS role,
           m.created_at, m.updated_at
    FROM website_members m JOIN websites w ON w.id = m.website_id WHERE w.id = $1
    UNION ALL
    SELECT w.id, w.id, w.user_id, 'owner', w.created_at, w.created_at FROM websites w
    WHERE w.id = $1 AND NOT EXISTS (SELECT 1 FROM website_members WHERE website_id = w.id AND user_id = w.user_id)
  )
  SELECT ${COLUMNS} FROM m JOIN users u ON u.id = m.user_id ORDER BY m.created_at, m.id`;

// The website's row is locked by a statement before, so that members added at the same time are counted one after the other.
const LOCK = 'SELECT id FROM websites WHERE id = $1 FOR UPDATE';
const ADD = `WITH m AS (
    INSERT INTO website_members (website_id, user_id, role)
    SELECT id, $2::uuid, $3::text FROM websites
    WHERE id = $1 AND user_id <> $2::uuid AND (SELECT count(*) FROM website_members WHERE website_id = $1) < $4::int
    ON CONFLICT (website_id, user_id) DO NOTHING RETURNING *
  )
  SELECT ${COLUMNS} FROM m JOIN users u ON u.id = m.user_id`;

const NOT_OWNER = 'NOT EXISTS (SELECT 1 FROM websites w WHERE w.id = $1 AND w.user_id = $2)';

const SET_ROLE = `UPDATE website_members m SET role = $3, updated_at = now() FROM users u
  WHERE m.website_id = $1 AND m.user_id = $2 AND u.id = m.user_id AND ${NOT_OWNER} RETURNING ${COLUMNS}`;

const REMOVE = `DELETE FROM website_members WHERE website_id = $1 AND user_id = $2 AND ${NOT_OWNER} RETURNING id`;

function readMember(row: Row): MemberRecord {
  return {
    id: text(row, 'id'),
    websiteId: text(row, 'website_id'),
    userId: text(row, 'user_id'),
    role: text(row, 'role'),
    userName: text(row, 'user_name'),
    userEmail: text(row, 'user_email'),
    createdAt: date(row, 'created_at'),
    updatedAt: date(row, 'updated_at'),
  };
}

export function createMemberStore(db: Database): MemberStore {
  return {
    async list(websiteId) {
      return (await db.query(LIST, [websiteId])).map(readMember);
    },

    add: (websiteId, userId, role, limit) =>
      db.transaction(async (tx) => {
        await tx.query(LOCK, [websiteId]);
        const [row] = await tx.query(ADD, [websiteId, userId, role, limit]);
        return row ? readMember(row) : null;
      }),

    async setRole(websiteId, userId, role) {
      const [row] = await db.query(SET_ROLE, [websiteId, userId, role]);
      return row ? readMember(row) : null;
    },

    async remove(websiteId, userId) {
      return (await db.query(REMOVE, [websiteId, userId])).length > 0;
    },
  };
}
