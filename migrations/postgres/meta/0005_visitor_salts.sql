-- Keys of the hashes that stand for visitors of trackers which send no visitor id: one a UTC day, shared by all nodes, and removed at most
-- 48 hours after it was made. Whoever has none of them cannot tell whose hash a stored visitor id is.
CREATE TABLE IF NOT EXISTS visitor_salts (
  day date PRIMARY KEY,
  salt bytea NOT NULL CHECK (length(salt) = 32),
  made_at timestamptz NOT NULL
);
