-- Public dashboards: one link a site while its figures are shared. Switching sharing off removes the row, so an old link stays dead.
CREATE TABLE site_shares (
  website_id uuid PRIMARY KEY REFERENCES websites (id) ON DELETE CASCADE,
  public_id varchar(64) NOT NULL UNIQUE,
  -- argon2id; null: the link alone is enough.
  password_hash text,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);

-- What the program has to tell an account. An unread one of the same topic is renewed instead of repeated.
CREATE TABLE notifications (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  type varchar(32) NOT NULL,
  -- What makes two of them the same, e.g. type and site.
  topic varchar(200) NOT NULL,
  title varchar(200) NOT NULL,
  message varchar(1000) NOT NULL,
  link varchar(500) NOT NULL DEFAULT '',
  is_read boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX notifications_unread ON notifications (user_id, topic) WHERE NOT is_read;
CREATE INDEX notifications_user ON notifications (user_id, created_at DESC, id);
