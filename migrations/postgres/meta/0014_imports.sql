-- An import that was undone is an erasure as well: what it sent and what comes out of a stream or spool later is not stored.
COMMENT ON COLUMN erasures.visitor_hash IS
  'SHA-256 of site and visitor; 16 bytes: the id of an import that was undone; empty: all of the site''s data';

-- When an import was worked on last: accounts take turns, and so do the imports of an account.
ALTER TABLE imports ADD COLUMN IF NOT EXISTS worked_at timestamptz;
UPDATE imports SET worked_at = finished_at WHERE format <> 'report' AND worked_at IS NULL;
DROP INDEX IF EXISTS imports_turns;
CREATE INDEX IF NOT EXISTS imports_turns ON imports (user_id, worked_at DESC) WHERE worked_at IS NOT NULL;

-- Exports are made while they are downloaded: nothing has ever been kept of them.
ALTER TABLE privacy_requests DROP COLUMN IF EXISTS object_key;
