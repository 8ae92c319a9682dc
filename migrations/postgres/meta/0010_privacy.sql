-- What was erased, and until when of receipt: rows that come out of a stream or spool later are not stored. Deleted sites are in site_purges.
CREATE TABLE IF NOT EXISTS erasures (
  site_id varchar(64) NOT NULL,
  -- SHA-256 of site and visitor; empty: all of the site's data.
  visitor_hash bytea NOT NULL,
  received_until timestamptz NOT NULL,
  PRIMARY KEY (site_id, visitor_hash)
);
CREATE INDEX IF NOT EXISTS erasures_age ON erasures (received_until);

-- What accounts asked for about personal data, and how far it is. Long work is done by whichever node takes it.
CREATE TABLE IF NOT EXISTS privacy_requests (
  id uuid PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  type varchar(32) NOT NULL,
  -- pending, completed or failed
  status varchar(16) NOT NULL DEFAULT 'pending',
  reason text NOT NULL DEFAULT '',
  -- Of a request about one site, or one of its visitors.
  site_id varchar(64),
  -- NULL again when the request is completed.
  visitor_id text,
  -- Makes ids one-way; NULL again when the request is completed.
  salt bytea,
  -- Where an export lies.
  object_key text,
  attempts integer NOT NULL DEFAULT 0,
  error text,
  created_at timestamptz NOT NULL DEFAULT now(),
  completed_at timestamptz,
  -- When a runner may take it. Taking it moves this into the future and sets a token, which is the lease.
  due_at timestamptz NOT NULL DEFAULT now(),
  lease uuid
);
CREATE INDEX IF NOT EXISTS privacy_requests_user ON privacy_requests (user_id, created_at DESC);
CREATE INDEX IF NOT EXISTS privacy_requests_due ON privacy_requests (due_at) WHERE status = 'pending';

CREATE TABLE IF NOT EXISTS privacy_settings (
  user_id uuid PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
  settings jsonb NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now()
);
