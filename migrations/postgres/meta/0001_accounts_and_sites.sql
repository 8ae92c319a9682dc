-- Tables, columns and indexes carry the names of the original, so that its database can be taken over as it is.

CREATE TABLE IF NOT EXISTS users (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  name varchar(255) NOT NULL,
  email varchar(255) NOT NULL UNIQUE,
  password_hash text,
  role varchar(50) NOT NULL DEFAULT 'user',
  avatar_url text,
  reset_token text,
  reset_token_expiry timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE users ADD COLUMN IF NOT EXISTS avatar_url text;
ALTER TABLE users ALTER COLUMN password_hash DROP NOT NULL;

-- Accounts are found without regard to case. The original let two addresses differ in case only: where that happened, the index
-- cannot be unique, and registration alone (which looks under a lock) keeps new ones apart.
DO $$
BEGIN
  CREATE UNIQUE INDEX IF NOT EXISTS users_email_lower ON users (lower(email));
EXCEPTION WHEN unique_violation THEN
  CREATE INDEX IF NOT EXISTS users_email_lower ON users (lower(email));
END $$;

-- The original has no admin; the first account of an instance is the one that set it up.
UPDATE users SET role = 'admin'
WHERE id = (SELECT id FROM users ORDER BY created_at, id LIMIT 1)
  AND NOT EXISTS (SELECT 1 FROM users WHERE role = 'admin');

-- One row a login: refresh tokens of one session are a family that is revoked together.
CREATE TABLE IF NOT EXISTS auth_sessions (
  id uuid PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  revoked_at timestamptz,
  revoked_reason text
);
CREATE INDEX IF NOT EXISTS auth_sessions_user ON auth_sessions (user_id, created_at DESC);

CREATE TABLE IF NOT EXISTS refresh_tokens (
  token_hash bytea PRIMARY KEY,
  session_id uuid NOT NULL REFERENCES auth_sessions (id) ON DELETE CASCADE,
  expires_at timestamptz NOT NULL,
  used_at timestamptz
);
CREATE INDEX IF NOT EXISTS refresh_tokens_session ON refresh_tokens (session_id);

CREATE TABLE IF NOT EXISTS websites (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  site_id varchar(64) NOT NULL UNIQUE,
  user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  name varchar(255) NOT NULL,
  url varchar(255) NOT NULL,
  tracking_id varchar(50) NOT NULL UNIQUE,
  is_active boolean DEFAULT true,
  is_verified boolean DEFAULT false,
  verification_token varchar(100),
  automation_enabled boolean NOT NULL DEFAULT true,
  funnel_enabled boolean NOT NULL DEFAULT true,
  heatmap_enabled boolean NOT NULL DEFAULT true,
  heatmap_include_patterns text,
  heatmap_exclude_patterns text,
  replay_enabled boolean DEFAULT true,
  replay_sampling_rate double precision DEFAULT 1.0,
  replay_include_patterns text,
  replay_exclude_patterns text,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE websites ADD COLUMN IF NOT EXISTS verification_token varchar(100);
ALTER TABLE websites ADD COLUMN IF NOT EXISTS automation_enabled boolean NOT NULL DEFAULT true;
ALTER TABLE websites ADD COLUMN IF NOT EXISTS funnel_enabled boolean NOT NULL DEFAULT true;
ALTER TABLE websites ADD COLUMN IF NOT EXISTS heatmap_enabled boolean NOT NULL DEFAULT true;
ALTER TABLE websites ADD COLUMN IF NOT EXISTS heatmap_include_patterns text;
ALTER TABLE websites ADD COLUMN IF NOT EXISTS heatmap_exclude_patterns text;
ALTER TABLE websites ADD COLUMN IF NOT EXISTS replay_enabled boolean DEFAULT true;
ALTER TABLE websites ADD COLUMN IF NOT EXISTS replay_sampling_rate double precision DEFAULT 1.0;
ALTER TABLE websites ADD COLUMN IF NOT EXISTS replay_include_patterns text;
ALTER TABLE websites ADD COLUMN IF NOT EXISTS replay_exclude_patterns text;
ALTER TABLE websites ADD COLUMN IF NOT EXISTS settings jsonb NOT NULL DEFAULT '{}';
CREATE INDEX IF NOT EXISTS websites_user ON websites (user_id, created_at DESC);

CREATE TABLE IF NOT EXISTS website_members (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  website_id uuid NOT NULL REFERENCES websites (id) ON DELETE CASCADE,
  user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  role varchar(50) NOT NULL DEFAULT 'viewer',
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (website_id, user_id)
);
CREATE INDEX IF NOT EXISTS website_members_user ON website_members (user_id);

CREATE TABLE IF NOT EXISTS goals (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  website_id uuid NOT NULL REFERENCES websites (id) ON DELETE CASCADE,
  name varchar(255) NOT NULL,
  type varchar(50) NOT NULL,
  identifier varchar(255) NOT NULL,
  selector varchar(255),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE goals ADD COLUMN IF NOT EXISTS selector varchar(255);
CREATE INDEX IF NOT EXISTS goals_website ON goals (website_id);

-- website_id of funnels is the public site id, as in the original (text, without a foreign key).
CREATE TABLE IF NOT EXISTS funnels (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  website_id varchar(64) NOT NULL,
  user_id varchar(255) NOT NULL,
  name varchar(255) NOT NULL,
  description text,
  is_active boolean DEFAULT true,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS funnels_website ON funnels (website_id);

CREATE TABLE IF NOT EXISTS funnel_steps (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  funnel_id uuid NOT NULL REFERENCES funnels (id) ON DELETE CASCADE,
  name varchar(255) NOT NULL,
  step_order integer NOT NULL,
  step_type varchar(50) NOT NULL,
  page_path varchar(500),
  event_type varchar(255),
  match_type varchar(50) DEFAULT 'exact',
  created_at timestamptz DEFAULT now()
);
CREATE INDEX IF NOT EXISTS funnel_steps_funnel ON funnel_steps (funnel_id);

-- Deleted sites whose events, objects and stream entries may still have to go: kept until the purge is proven done.
CREATE TABLE IF NOT EXISTS site_purges (
  site_id varchar(64) PRIMARY KEY,
  deleted_at timestamptz NOT NULL DEFAULT now(),
  purged_at timestamptz
);
CREATE INDEX IF NOT EXISTS site_purges_pending ON site_purges (deleted_at) WHERE purged_at IS NULL;
