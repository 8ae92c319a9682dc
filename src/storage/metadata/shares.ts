import type { Database, Row } from '../postgres.js';
import { date, text, textOrNull } from '../row.js';

/** The public link to a site's figures. */
export interface ShareRecord {
  /** UUID of the website. */
  readonly websiteId: string;
  /** What the link names; unguessable. */
  readonly publicId: string;
  /** argon2id; null: the link alone is enough. */
  readonly passwordHash: string | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export interface ShareChange {
  /** Becomes the public id where the site is not shared yet, or `rotate` is set. */
  readonly freshPublicId: string;
  readonly rotate: boolean;
  /** undefined: unchanged, null: none. */
  readonly passwordHash: string | null | undefined;
}

/** A site's link after a change, and the one that it had before. */
export interface ChangedShare {
  readonly share: ShareRecord;
  readonly previousPublicId: string | null;
}

export interface ShareStore {
  /** Null when the site is not shared. */
  ofSite(websiteId: string): Promise<ShareRecord | null>;
  find(publicId: string): Promise<ShareRecord | null>;
  /** Shares the site, or changes how. Null when there is no such site. */
  save(websiteId: string, change: ShareChange): Promise<ChangedShare | null>;
  /** @returns the public id that the site had; null when it was not shared */
  remove(websiteId: string): Promise<string | null>;
}

const COLUMNS = 'website_id, public_id, password_hash, created_at, updated_at';

function readShare(row: Row): ShareRecord {
  return {
    websiteId: text(row, 'website_id'),
    publicId: text(row, 'public_id'),
    passwordHash: textOrNull(row, 'password_hash'),
    createdAt: date(row, 'created_at'),
    updatedAt: date(row, 'updated_at'),
  };
}

export function createShareStore(db: Database): ShareStore {
  return {
    async ofSite(websiteId) {
      const [row] = await db.query(`SELECT ${COLUMNS} FROM site_shares WHERE website_id = $1`, [websiteId]);
      return row ? readShare(row) : null;
    },

    async find(publicId) {
      const [row] = await db.query(`SELECT ${COLUMNS} FROM site_shares WHERE public_id = $1`, [publicId]);
      return row ? readShare(row) : null;
    },

    save(websiteId, { freshPublicId, rotate, passwordHash }) {
      return db.transaction(async (tx) => {
        // The website's row is locked, so that changes made at the same time follow one another.
        const [site] = await tx.query('SELECT id FROM websites WHERE id = $1 FOR UPDATE', [websiteId]);
        if (site === undefined) return null;
        const [before] = await tx.query('SELECT public_id FROM site_shares WHERE website_id = $1', [
          websiteId,
        ]);
        const [row] = await tx.query(
          `INSERT INTO site_shares AS s (website_id, public_id, password_hash) VALUES ($1, $2::text, $5::text)
           ON CONFLICT (website_id) DO UPDATE SET
             public_id = CASE WHEN $3::boolean THEN $2::text ELSE s.public_id END,
             password_hash = CASE WHEN $4::boolean THEN $5::text ELSE s.password_hash END,
             updated_at = now()
           RETURNING ${COLUMNS}`,
          [websiteId, freshPublicId, rotate, passwordHash !== undefined, passwordHash ?? null],
        );
        if (row === undefined) throw new Error('the saved share did not come back');
        return { share: readShare(row), previousPublicId: before ? text(before, 'public_id') : null };
      });
    },

    async remove(websiteId) {
      const [row] = await db.query('DELETE FROM site_shares WHERE website_id = $1 RETURNING public_id', [
        websiteId,
      ]);
      return row ? text(row, 'public_id') : null;
    },
  };
}
