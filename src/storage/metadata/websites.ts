import type { Database, Row } from '../postgres.js';
import { bool, date, jsonObject, number, text, textOrNull } from '../row.js';
import { thinOut } from './execution-removal.js';
import type { WebsiteRecord, WebsiteStore } from './metadata.js';

// The original lets some flags be null and means their defaults.
const COLUMNS = `w.id, w.site_id, w.user_id, w.name, w.url, w.tracking_id,
  COALESCE(w.is_active, true) AS is_active, COALESCE(w.is_verified, false) AS is_verified,
  w.automation_enabled, w.funnel_enabled, w.heatmap_enabled, w.heatmap_include_patterns, w.heatmap_exclude_patterns,
  COALESCE(w.replay_enabled, true) AS replay_enabled, COALESCE(w.replay_sampling_rate, 1) AS replay_sampling_rate,
  w.replay_include_patterns, w.replay_exclude_patterns, w.settings, w.created_at, w.updated_at`;

const UPDATE = `UPDATE websites AS w SET
    name = COALESCE($2, name), url = COALESCE($3, url), is_active = COALESCE($4, is_active),
    automation_enabled = COALESCE($5, automation_enabled), funnel_enabled = COALESCE($6, funnel_enabled),
    heatmap_enabled = COALESCE($7, heatmap_enabled),
    heatmap_include_patterns = COALESCE($8, heatmap_include_patterns),
    heatmap_exclude_patterns = COALESCE($9, heatmap_exclude_patterns),
    replay_enabled = COALESCE($10, replay_enabled), replay_sampling_rate = COALESCE($11, replay_sampling_rate),
    replay_include_patterns = COALESCE($12, replay_include_patterns),
    replay_exclude_patterns = COALESCE($13, replay_exclude_patterns),
    settings = settings || COALESCE($14::jsonb, '{}'), updated_at = now()
  WHERE id = $1 RETURNING ${COLUMNS}`;

const DELETE = `WITH site AS (DELETE FROM websites WHERE id = $1 RETURNING site_id),
  gone AS (DELETE FROM funnels f USING site WHERE f.website_id = site.site_id),
  gone_automations AS (DELETE FROM automations a USING site WHERE a.website_id = site.site_id),
  gone_news AS (DELETE FROM notifications n USING site WHERE split_part(n.topic, ' ', 2) = site.site_id)
  INSERT INTO site_purges (site_id) SELECT site_id FROM site
  ON CONFLICT (site_id) DO UPDATE SET deleted_at = now(), purged_at = NULL
  RETURNING site_id`;

function readWebsite(row: Row): WebsiteRecord {
  return {
    id: text(row, 'id'),
    siteId: text(row, 'site_id'),
    userId: text(row, 'user_id'),
    name: text(row, 'name'),
    url: text(row, 'url'),
    trackingId: text(row, 'tracking_id'),
    isActive: bool(row, 'is_active'),
    isVerified: bool(row, 'is_verified'),
    automationEnabled: bool(row, 'automation_enabled'),
    funnelEnabled: bool(row, 'funnel_enabled'),
    heatmapEnabled: bool(row, 'heatmap_enabled'),
    heatmapIncludePatterns: textOrNull(row, 'heatmap_include_patterns'),
    heatmapExcludePatterns: textOrNull(row, 'heatmap_exclude_patterns'),
    replayEnabled: bool(row, 'replay_enabled'),
    replaySamplingRate: number(row, 'replay_sampling_rate'),
    replayIncludePatterns: textOrNull(row, 'replay_include_patterns'),
    replayExcludePatterns: textOrNull(row, 'replay_exclude_patterns'),
    settings: jsonObject(row, 'settings'),
    createdAt: date(row, 'created_at'),
    updatedAt: date(row, 'updated_at'),
  };
}

export function createWebsiteStore(db: Database): WebsiteStore {
  return {
    create: ({ id, siteId, userId, name, url, trackingId }, limit) =>
      db.transaction(async (tx) => {
        // One at a time for an account, or two calls could both find room for one more.
        await tx.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [`websites ${userId}`]);
        const [row] = await tx.query(
          `WITH w AS (
           INSERT INTO websites (id, site_id, user_id, name, url, tracking_id)
           SELECT $1::uuid, $2::text, $3::uuid, $4::text, $5::text, $6::text
           WHERE (SELECT count(*) FROM websites WHERE user_id = $3::uuid) < $7::int RETURNING *
         ), owner AS (
           INSERT INTO website_members (website_id, user_id, role) SELECT id, user_id, 'owner' FROM w
         )
         SELECT ${COLUMNS} FROM w`,
          [id, siteId, userId, name, url, trackingId, limit],
        );
        return row ? readWebsite(row) : null;
      }),

    async listFor(userId) {
      const rows = await db.query(
        `SELECT ${COLUMNS} FROM websites w
         WHERE w.user_id = $1 OR w.id IN (SELECT website_id FROM website_members WHERE user_id = $1)
         ORDER BY w.created_at DESC, w.id`,
        [userId],
      );
      return rows.map(readWebsite);
    },

    async findMany(ids) {
      const rows = await db.query(
        `SELECT ${COLUMNS} FROM websites w WHERE w.site_id = ANY ($1::text[]) OR w.id = ANY ($2::uuid[])`,
        [ids.filter((id) => !id.includes('-')), ids.filter((id) => id.includes('-'))],
      );
      return rows.map(readWebsite);
    },

    async pageOfAll(after, limit) {
      const rows = await db.query(
        `SELECT ${COLUMNS} FROM websites w WHERE w.site_id > $1 ORDER BY w.site_id LIMIT $2`,
        [after, limit],
      );
      return rows.map(readWebsite);
    },

    async update(id, patch) {
      const [row] = await db.query(UPDATE, [
        id,
        patch.name,
        patch.url,
        patch.isActive,
        patch.automationEnabled,
        patch.funnelEnabled,
        patch.heatmapEnabled,
        patch.heatmapIncludePatterns,
        patch.heatmapExcludePatterns,
        patch.replayEnabled,
        patch.replaySamplingRate,
        patch.replayIncludePatterns,
        patch.replayExcludePatterns,
        patch.settings === null ? null : JSON.stringify(patch.settings),
      ]);
      return row ? readWebsite(row) : null;
    },

    async delete(id) {
      const [site] = await db.query('SELECT site_id FROM websites WHERE id = $1', [id]);
      if (site === undefined) return false;
      // Most of them go before, or a single statement would have to remove them all.
      await thinOut(db, { siteIds: [text(site, 'site_id')] });
      return (await db.query(DELETE, [id])).length > 0;
    },

    async pendingPurges(limit) {
      const rows = await db.query(
        'SELECT site_id FROM site_purges WHERE purged_at IS NULL ORDER BY deleted_at LIMIT $1',
        [limit],
      );
      return rows.map((row) => text(row, 'site_id'));
    },

    async markPurged(siteId) {
      // A funnel may have been made in the moment in which the site went.
      await db.query(
        `WITH gone AS (DELETE FROM funnels WHERE website_id = $1)
         UPDATE site_purges SET purged_at = now() WHERE site_id = $1`,
        [siteId],
      );
    },

    async members(id) {
      const rows = await db.query('SELECT user_id, role FROM website_members WHERE website_id = $1', [id]);
      return rows.map((row) => ({ userId: text(row, 'user_id'), role: text(row, 'role') }));
    },
  };
}
