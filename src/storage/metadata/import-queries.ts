/** Statements of imports.ts. */

export const PLAIN_COLUMNS = `i.id, i.website_id, i.site_id, i.user_id, i.format, i.file_name, i.state, i.bytes::float8, i.done_bytes::float8, i.chunk,
  i.rows_read::float8, i.rows_added::float8, i.rows_duplicate::float8, i.rows_rejected::float8, i.errors, i.error, i.created_at,
  i.finished_at`;
export const COLUMNS = `${PLAIN_COLUMNS}, i.report`;

// The owner's row is locked first, so that imports begun at the same time are counted one after the other.
export const LOCK_OWNER =
  'SELECT u.id FROM users u JOIN websites w ON w.user_id = u.id WHERE w.id = $1 FOR NO KEY UPDATE OF u';

export const CREATE = `INSERT INTO imports AS i (id, website_id, site_id, user_id, format, file_name, state, bytes, report, rows_read, rows_added,
    finished_at)
  SELECT $1::uuid, $2::uuid, $3::text, $4::uuid, $5::text, $6::text, CASE WHEN $8::jsonb IS NULL THEN 'queued' ELSE 'done' END, $7::bigint,
    $8::jsonb, $9::bigint, $9::bigint, CASE WHEN $8::jsonb IS NULL THEN NULL ELSE now() END
  FROM (SELECT count(*) AS kept, count(*) FILTER (WHERE format = 'report') AS reports,
      count(*) FILTER (WHERE state IN ('queued', 'running', 'undoing')) AS waiting
    FROM imports WHERE website_id = $2::uuid AND state <> 'undone') present,
    (SELECT count(*) AS of_owner FROM imports WHERE state IN ('queued', 'running', 'undoing') AND website_id IN
      (SELECT id FROM websites WHERE user_id = (SELECT user_id FROM websites WHERE id = $2::uuid))) others
  WHERE kept < $10::bigint AND (reports < $11::bigint OR $5::text <> 'report') AND waiting < $12::bigint
    AND of_owner < $13::bigint
  RETURNING ${COLUMNS}`;

// One node at a time, so that two cannot take imports of one site.
export const LOCK_TURNS = "SELECT pg_advisory_xact_lock(hashtext('seentics_import_turns'))";

// Undoings first; then accounts that have none under way, and of those the one that had the last turn longest ago; then so its imports.
export const TAKE = `WITH held AS (
    SELECT website_id, user_id FROM imports WHERE lease IS NOT NULL AND lease_until > now()
  ), due AS (
    SELECT id FROM imports i WHERE state IN ('queued', 'running', 'undoing') AND (lease_until IS NULL OR lease_until <= now())
      AND website_id NOT IN (SELECT website_id FROM held) AND (user_id IS NULL OR user_id <> ALL ($3::uuid[]))
      AND NOT (state = 'queued' AND EXISTS (
        SELECT FROM imports o WHERE o.website_id = i.website_id AND o.state IN ('running', 'undoing')))
    ORDER BY state = 'undoing' DESC, EXISTS (SELECT FROM held h WHERE h.user_id = i.user_id),
      (SELECT max(o.worked_at) FROM imports o WHERE o.user_id = i.user_id) NULLS FIRST, worked_at NULLS FIRST, created_at
    LIMIT 1 FOR UPDATE SKIP LOCKED
  )
  UPDATE imports i SET lease = $1, lease_until = now() + $2::float8 * interval '1 millisecond',
    state = CASE WHEN state = 'undoing' THEN state ELSE 'running' END
  FROM due WHERE i.id = due.id RETURNING ${COLUMNS}`;
