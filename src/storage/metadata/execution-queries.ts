/** Statements of executions.ts. */

// Rows are claimed in one order, so that two nodes never wait for one another.
const CLAIM = `INSERT INTO automation_claims AS c
    (automation_id, scope, subject, website_id, visitor_id, claimed_at, window_ms, expires_at)
  SELECT automation_id, claim->>'scope', claim->>'subject', website_id, visitor_id, executed_at, (claim->>'windowMs')::bigint,
    now() + (claim->>'keepMs')::float8 * interval '1 millisecond'
  FROM wanted WHERE claim IS NOT NULL ORDER BY automation_id, 2, 3
  ON CONFLICT (automation_id, scope, subject) DO UPDATE
    SET claimed_at = EXCLUDED.claimed_at, window_ms = EXCLUDED.window_ms, expires_at = EXCLUDED.expires_at
    WHERE c.expires_at <= now() OR (EXCLUDED.window_ms > 0
      AND c.claimed_at + EXCLUDED.window_ms * interval '1 millisecond' <= EXCLUDED.claimed_at)
  RETURNING automation_id, scope, subject`;

/** Executions of a website that may be overdue by minutes: further ones are not begun until some of them have ended. */
export const MOST_OVERDUE = 10_000;

const OVERDUE = `SELECT FROM automation_executions e
  WHERE e.website_id = s.website_id AND e.status = 'pending' AND e.due_at < now() - interval '10 minutes' LIMIT ${MOST_OVERDUE}`;

export const BEGIN = `WITH input AS (
    SELECT * FROM jsonb_to_recordset($1::jsonb) AS i (id uuid, automation_id uuid, website_id text, visitor_id text, session_id text,
      trigger_event_id uuid, status text, error text, data jsonb, steps jsonb, checks jsonb, claim jsonb, executed_at float8, delay_ms float8)
  ), behind AS (
    SELECT s.website_id FROM (SELECT DISTINCT website_id FROM input) s
    WHERE (SELECT count(*) FROM (${OVERDUE}) late) >= ${MOST_OVERDUE}
  ), fresh AS (
    SELECT i.id, i.automation_id, i.website_id, i.visitor_id, i.session_id, i.trigger_event_id, i.status, i.error, i.data, i.steps,
      i.checks, i.claim, to_timestamp(i.executed_at / 1000) AS executed_at, i.delay_ms
    FROM input i JOIN automations a ON a.id = i.automation_id AND a.website_id = i.website_id
    WHERE NOT EXISTS (SELECT FROM automation_executions e WHERE e.id = i.id)
      AND (i.status <> 'pending' OR i.website_id NOT IN (SELECT website_id FROM behind))
  ), wanted AS (
    SELECT * FROM fresh WHERE checks IS NULL
  ), claimed AS (${CLAIM})
  INSERT INTO automation_executions (id, automation_id, website_id, visitor_id, session_id, trigger_event_id, status, error_message,
    execution_data, steps, checks, claim, executed_at, completed_at, due_at)
  SELECT id, automation_id, website_id, visitor_id, session_id, trigger_event_id, status, error, data, steps, checks,
    CASE WHEN checks IS NULL THEN NULL ELSE claim END, executed_at,
    CASE WHEN status = 'pending' THEN NULL ELSE now() END,
    CASE WHEN status = 'pending' THEN now() + delay_ms * interval '1 millisecond' END
  FROM fresh f
  WHERE claim IS NULL OR checks IS NOT NULL OR EXISTS (SELECT FROM claimed c
    WHERE c.automation_id = f.automation_id AND c.scope = f.claim->>'scope' AND c.subject = f.claim->>'subject')
  ON CONFLICT (id) DO NOTHING RETURNING id`;

export const TAKE = `WITH due AS (
    SELECT id, website_id, due_at FROM automation_executions
    WHERE status = 'pending' AND due_at <= now() AND website_id <> ALL ($3::text[]) ORDER BY due_at LIMIT 1000
  ), ranked AS (
    SELECT id, due_at, row_number() OVER (PARTITION BY website_id ORDER BY due_at) AS place FROM due
  ), chosen AS (
    SELECT e.id FROM automation_executions e
    WHERE e.id IN (SELECT id FROM ranked WHERE place <= $2 ORDER BY place, due_at LIMIT $1)
      AND e.status = 'pending' AND e.due_at <= now()
    FOR UPDATE SKIP LOCKED
  )
  UPDATE automation_executions e SET lease = $4, due_at = now() + $5::float8 * interval '1 millisecond'
  FROM chosen, automations a LEFT JOIN websites w ON w.site_id = a.website_id
  WHERE e.id = chosen.id AND a.id = e.automation_id
  RETURNING e.id, e.lease, e.automation_id, a.name, e.website_id, COALESCE(e.visitor_id, '') AS visitor_id,
    COALESCE(e.session_id, '') AS session_id, e.execution_data, COALESCE(e.steps, '[]') AS steps, e.next_step, e.attempts, e.in_flight,
    COALESCE(e.checks, '[]') AS checks, e.executed_at, a.webhook_secret,
    (COALESCE(a.is_active, true) AND COALESCE(w.automation_enabled AND w.is_active, false)) AS is_wanted`;

export const CONFIRM = `WITH wanted AS (
    SELECT id, automation_id, website_id, COALESCE(visitor_id, '') AS visitor_id, executed_at, claim FROM automation_executions
    WHERE id = $1 AND lease = $2 AND status = 'pending' FOR UPDATE
  ), claimed AS (${CLAIM}), passed AS (
    SELECT id, (claim IS NULL OR EXISTS (SELECT FROM claimed)) AS is_free FROM wanted
  )
  UPDATE automation_executions e SET checks = NULL, claim = NULL,
    status = CASE WHEN is_free THEN e.status ELSE 'skipped' END, steps = CASE WHEN is_free THEN e.steps END,
    completed_at = CASE WHEN is_free THEN NULL ELSE now() END, due_at = CASE WHEN is_free THEN e.due_at END
  FROM passed WHERE e.id = passed.id RETURNING passed.is_free`;

export const SETTLE = `UPDATE automation_executions SET status = $3::text, next_step = $4::int, attempts = $5::int, in_flight = false, lease = NULL,
    results = results || $7::jsonb, error_message = COALESCE($8::text, error_message),
    steps = CASE WHEN $3::text = 'pending' THEN steps END, checks = CASE WHEN $3::text = 'pending' THEN checks END,
    completed_at = CASE WHEN $3::text = 'pending' THEN NULL ELSE now() END,
    due_at = CASE WHEN $3::text = 'pending' THEN now() + $6::float8 * interval '1 millisecond' END
  WHERE id = $1 AND lease = $2 AND status = 'pending' RETURNING id`;

/**
 * Removes ended executions after adding them to their automations' figures; `gone` and `sums` are theirs.
 * @param which of them; `limit` the parameter that says how many at once
 */
const expired = (which: string, limit: string) => `WITH old AS (
    SELECT id FROM automation_executions WHERE ${which} AND status <> 'pending'
    LIMIT ${limit} FOR UPDATE SKIP LOCKED
  ), gone AS (
    DELETE FROM automation_executions e USING old WHERE e.id = old.id RETURNING e.automation_id, e.status
  ), sums AS (
    SELECT automation_id, count(*) FILTER (WHERE status = 'success') AS success, count(*) FILTER (WHERE status = 'failed') AS failed,
      count(*) AS rows FROM gone GROUP BY automation_id
  ), kept AS (
    UPDATE automations a SET past_success = past_success + success, past_failed = past_failed + failed
    FROM sums WHERE a.id = sums.automation_id
  )`;

/** Removes executions of a site that began before a time, and claims from before it. */
export const EXPIRE_OF_SITE = `${expired('website_id = $1 AND executed_at < $2', '$3')}, forgotten AS (
    DELETE FROM automation_claims WHERE website_id = $1 AND claimed_at < $2
  )
  SELECT COALESCE((SELECT sum(rows) FROM sums), 0)::float8 AS rows`;

/** Removes executions of an age (ms), and claims whose time is over. */
export const EXPIRE = `${expired("executed_at < now() - $1::float8 * interval '1 millisecond'", '$2')}, over AS (
    DELETE FROM automation_claims WHERE (automation_id, scope, subject) IN (
      SELECT automation_id, scope, subject FROM automation_claims WHERE expires_at <= now() LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING 1
  )
  SELECT (COALESCE((SELECT sum(rows) FROM sums), 0) + (SELECT count(*) FROM over))::float8 AS rows`;
