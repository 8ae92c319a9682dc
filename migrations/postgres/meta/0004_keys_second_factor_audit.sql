-- Keys with which programs act for an account. Only a hash of the secret is kept.
CREATE TABLE IF NOT EXISTS api_keys (
  id uuid PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  name varchar(100) NOT NULL,
  -- First characters of the secret, by which its holder recognises it.
  prefix varchar(32) NOT NULL,
  secret_hash bytea NOT NULL UNIQUE,
  scopes text[] NOT NULL,
  -- NULL: every website of the account. Without foreign keys: a list whose websites are all gone must not become "every".
  website_ids uuid[],
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz,
  last_used_at timestamptz
);
CREATE INDEX IF NOT EXISTS api_keys_user ON api_keys (user_id, created_at DESC);

-- One-time codes of an authenticator app (RFC 6238).
CREATE TABLE IF NOT EXISTS second_factors (
  user_id uuid PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
  -- Sealed with a key that is not in the database.
  secret bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  -- NULL until a first code has proved that the app knows the secret.
  enabled_at timestamptz,
  -- Time step of the last code taken; it and earlier ones are used up.
  last_step integer NOT NULL DEFAULT 0,
  -- Attempts since the last success, and until when no further one is looked at.
  failures integer NOT NULL DEFAULT 0,
  locked_until timestamptz
);

CREATE TABLE IF NOT EXISTS recovery_codes (
  user_id uuid NOT NULL REFERENCES second_factors (user_id) ON DELETE CASCADE,
  code_hash bytea NOT NULL,
  PRIMARY KEY (user_id, code_hash)
);

-- Who did what. Ids only, and without foreign keys: an entry outlives its account and its website.
CREATE TABLE IF NOT EXISTS audit_log (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL,
  action varchar(200) NOT NULL,
  outcome varchar(16) NOT NULL,
  user_id uuid,
  key_id uuid,
  website_id uuid,
  target_id uuid,
  -- Cut to /24 or /48.
  address varchar(64) NOT NULL
);
CREATE INDEX IF NOT EXISTS audit_log_website ON audit_log (website_id, id DESC) WHERE website_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS audit_log_user ON audit_log (user_id, id DESC);
CREATE INDEX IF NOT EXISTS audit_log_at ON audit_log (at);

CREATE OR REPLACE FUNCTION seentics_refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'entries of the audit log are never changed';
END $$;
DROP TRIGGER IF EXISTS audit_log_unchanged ON audit_log;
CREATE TRIGGER audit_log_unchanged BEFORE UPDATE ON audit_log
  FOR EACH STATEMENT EXECUTE FUNCTION seentics_refuse_audit_change();
