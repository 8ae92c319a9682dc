-- Tables and columns of the original carry its names, so that its database can be taken over as it is; website_id is the public site id.

CREATE TABLE IF NOT EXISTS automations (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  website_id varchar(64) NOT NULL,
  user_id varchar(255) NOT NULL,
  name varchar(255) NOT NULL,
  description text,
  trigger_type varchar(100) NOT NULL,
  trigger_config jsonb NOT NULL DEFAULT '{}',
  is_active boolean DEFAULT true,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);
-- Signs webhooks. Two random UUIDs hold 244 random bits of the server's strong source; the default fills rows of the original, too.
ALTER TABLE automations ADD COLUMN IF NOT EXISTS webhook_secret text NOT NULL
  DEFAULT ('whsec_' || replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''));
-- Executions that retention has removed; the figures go on counting them.
ALTER TABLE automations ADD COLUMN IF NOT EXISTS past_success bigint NOT NULL DEFAULT 0;
ALTER TABLE automations ADD COLUMN IF NOT EXISTS past_failed bigint NOT NULL DEFAULT 0;
CREATE INDEX IF NOT EXISTS automations_website ON automations (website_id, created_at DESC);

CREATE TABLE IF NOT EXISTS automation_actions (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  automation_id uuid NOT NULL REFERENCES automations (id) ON DELETE CASCADE,
  action_type varchar(100) NOT NULL,
  action_config jsonb NOT NULL DEFAULT '{}',
  order_index integer NOT NULL DEFAULT 0,
  created_at timestamptz DEFAULT now(),
  updated_at timestamptz DEFAULT now()
);
CREATE INDEX IF NOT EXISTS automation_actions_automation ON automation_actions (automation_id);

CREATE TABLE IF NOT EXISTS automation_conditions (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  automation_id uuid NOT NULL REFERENCES automations (id) ON DELETE CASCADE,
  condition_type varchar(100) NOT NULL,
  condition_config jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz DEFAULT now()
);
ALTER TABLE automation_conditions ADD COLUMN IF NOT EXISTS order_index integer NOT NULL DEFAULT 0;
CREATE INDEX IF NOT EXISTS automation_conditions_automation ON automation_conditions (automation_id);

-- One row an execution; its id is made of the automation and what triggered it, so that the same again is the same row.
CREATE TABLE IF NOT EXISTS automation_executions (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  automation_id uuid NOT NULL REFERENCES automations (id) ON DELETE CASCADE,
  website_id varchar(64) NOT NULL,
  visitor_id varchar(255),
  session_id varchar(255),
  trigger_event_id uuid,
  status varchar(50) NOT NULL DEFAULT 'pending',
  execution_data jsonb,
  error_message text,
  executed_at timestamptz NOT NULL DEFAULT now(),
  completed_at timestamptz
);
-- What the runner needs, while the status is `pending`: steps with their configs, the next one of them, conditions that are still to be
-- decided, the claim of the frequency that is then to be made.
ALTER TABLE automation_executions ADD COLUMN IF NOT EXISTS steps jsonb;
ALTER TABLE automation_executions ADD COLUMN IF NOT EXISTS next_step integer NOT NULL DEFAULT 0;
ALTER TABLE automation_executions ADD COLUMN IF NOT EXISTS attempts integer NOT NULL DEFAULT 0;
-- Set while a step is being run: found set by the next runner, it tells that the one before died in the middle of it.
ALTER TABLE automation_executions ADD COLUMN IF NOT EXISTS in_flight boolean NOT NULL DEFAULT false;
ALTER TABLE automation_executions ADD COLUMN IF NOT EXISTS checks jsonb;
ALTER TABLE automation_executions ADD COLUMN IF NOT EXISTS claim jsonb;
-- What became of each step, in order.
ALTER TABLE automation_executions ADD COLUMN IF NOT EXISTS results jsonb NOT NULL DEFAULT '[]';
-- When a runner may take it. Taking it moves this into the future and sets a token, which is the lease.
ALTER TABLE automation_executions ADD COLUMN IF NOT EXISTS due_at timestamptz;
ALTER TABLE automation_executions ADD COLUMN IF NOT EXISTS lease uuid;
CREATE INDEX IF NOT EXISTS automation_executions_due ON automation_executions (due_at) WHERE status = 'pending';
CREATE INDEX IF NOT EXISTS automation_executions_stats ON automation_executions (automation_id, executed_at, status);
CREATE INDEX IF NOT EXISTS automation_executions_visitor ON automation_executions (website_id, visitor_id);
CREATE INDEX IF NOT EXISTS automation_executions_age ON automation_executions (executed_at);

-- What frequencies allow once: a subject is a session or a visitor. A row is free to be claimed again when its window is over.
CREATE TABLE IF NOT EXISTS automation_claims (
  automation_id uuid NOT NULL REFERENCES automations (id) ON DELETE CASCADE,
  scope varchar(16) NOT NULL,
  subject text NOT NULL,
  website_id varchar(64) NOT NULL,
  visitor_id text NOT NULL,
  claimed_at timestamptz NOT NULL,
  -- 0: for as long as the row is kept
  window_ms bigint NOT NULL,
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (automation_id, scope, subject)
);
CREATE INDEX IF NOT EXISTS automation_claims_expiry ON automation_claims (expires_at);
CREATE INDEX IF NOT EXISTS automation_claims_visitor ON automation_claims (website_id, visitor_id);
