-- Counts changes of the password (not mere upgrades of its hash): who proved an old one opens no session with it.
ALTER TABLE users ADD COLUMN IF NOT EXISTS password_version integer NOT NULL DEFAULT 0;

CREATE TABLE IF NOT EXISTS password_resets (
  -- SHA-256: the table holds nothing that could be used.
  token_hash bytea PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  -- Set when the password was changed, in whatever way, or the address.
  closed_at timestamptz
);
CREATE INDEX IF NOT EXISTS password_resets_user ON password_resets (user_id, created_at);

-- The original kept its tokens in clear.
UPDATE users SET reset_token = NULL, reset_token_expiry = NULL WHERE reset_token IS NOT NULL;
