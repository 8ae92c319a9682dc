-- Answers of requests that carried an Idempotency-Key, so that the same request again is answered and not done again.
CREATE TABLE IF NOT EXISTS idempotency_keys (
  user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  key varchar(255) NOT NULL,
  fingerprint bytea NOT NULL,
  -- The attempt that holds the key.
  claim uuid NOT NULL,
  claimed_at timestamptz NOT NULL DEFAULT now(),
  -- NULL while the request is being done.
  status integer,
  -- NULL where the answer must not be kept.
  answer text,
  PRIMARY KEY (user_id, key)
);
CREATE INDEX IF NOT EXISTS idempotency_keys_age ON idempotency_keys (claimed_at);
