/**
 * The databases that the original leaves behind, table by table as its migrations and its code make them, also those that nothing ever
 * wrote to: their names must not be in our way.
 */
export const ORIGINAL_POSTGRES = `
CREATE TABLE users (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name varchar(255) NOT NULL, email
varchar(255) NOT NULL UNIQUE, password_hash text, role varchar(50) NOT NULL DEFAULT 'user', avatar_url text,
reset_token text, reset_token_expiry timestamptz, created_at timestamptz NOT NULL DEFAULT now(), updated_at
timestamptz NOT NULL DEFAULT now());
CREATE INDEX idx_users_email ON users (email);
CREATE TABLE websites (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), site_id varchar(64) NOT NULL UNIQUE,
user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE, name varchar(255) NOT NULL, url varchar(255) NOT
NULL, tracking_id varchar(50) NOT NULL UNIQUE, is_active boolean DEFAULT true, is_verified boolean DEFAULT
false, verification_token varchar(100), automation_enabled boolean NOT NULL DEFAULT true, funnel_enabled boolean
NOT NULL DEFAULT true, heatmap_enabled boolean NOT NULL DEFAULT true, heatmap_include_patterns text,
heatmap_exclude_patterns text, replay_enabled boolean DEFAULT true, replay_sampling_rate double precision
DEFAULT 1.0, replay_include_patterns text, replay_exclude_patterns text, created_at timestamptz NOT NULL DEFAULT
now(), updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE website_members (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), website_id uuid NOT NULL REFERENCES
websites (id) ON DELETE CASCADE, user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE, role varchar(50)
NOT NULL DEFAULT 'viewer', created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL
DEFAULT now(), UNIQUE (website_id, user_id));
CREATE TABLE goals (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), website_id uuid NOT NULL REFERENCES websites
(id) ON DELETE CASCADE, name varchar(255) NOT NULL, type varchar(50) NOT NULL, identifier varchar(255) NOT NULL,
selector varchar(255), created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT
now());
CREATE TABLE events (id uuid NOT NULL DEFAULT gen_random_uuid(), website_id varchar(64) NOT NULL, visitor_id
varchar(255) NOT NULL, session_id varchar(255), event_type varchar(100) NOT NULL, page text, referrer text,
user_agent text, ip_address inet, country varchar(100), country_code varchar(10), city varchar(100), region
varchar(100), continent varchar(100), browser varchar(100), device varchar(50), os varchar(100), utm_source
varchar(255), utm_medium varchar(255), utm_campaign varchar(255), utm_term varchar(255), utm_content
varchar(255), time_on_page int, latitude double precision, longitude double precision, properties jsonb,
timestamp timestamptz NOT NULL DEFAULT now(), created_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (id,
timestamp)) PARTITION BY RANGE (timestamp);
CREATE TABLE custom_events_aggregated (id uuid DEFAULT gen_random_uuid(), website_id varchar(64) NOT NULL,
event_type varchar(255) NOT NULL, event_signature varchar(64) NOT NULL, count int NOT NULL DEFAULT 0,
sample_properties jsonb, first_seen timestamptz, last_seen timestamptz, created_at timestamptz, updated_at
timestamptz, PRIMARY KEY (id, last_seen));
CREATE TABLE privacy_requests (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), website_id varchar(64), visitor_id
varchar(255), request_type varchar(50), status varchar(50) DEFAULT 'pending', requested_at timestamptz,
processed_at timestamptz, data jsonb);
CREATE TABLE sessions (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), website_id varchar(64), visitor_id
varchar(255), session_id varchar(255) UNIQUE, start_time timestamptz, entry_time timestamptz, exit_time
timestamptz, created_at timestamptz, updated_at timestamptz);
CREATE TABLE automations (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), website_id varchar(64) NOT NULL,
user_id varchar(255) NOT NULL, name varchar(255) NOT NULL, description text, trigger_type varchar(100) NOT NULL,
trigger_config jsonb NOT NULL DEFAULT '{}', is_active boolean DEFAULT true, created_at timestamptz NOT NULL
DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE automation_actions (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), automation_id uuid NOT NULL
REFERENCES automations (id) ON DELETE CASCADE, action_type varchar(100) NOT NULL, action_config jsonb NOT NULL
DEFAULT '{}', order_index int NOT NULL DEFAULT 0, created_at timestamptz DEFAULT now(), updated_at timestamptz
DEFAULT now());
CREATE TABLE automation_conditions (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), automation_id uuid REFERENCES
automations (id) ON DELETE CASCADE, condition_type varchar(100) NOT NULL, condition_config jsonb NOT NULL
DEFAULT '{}', created_at timestamptz DEFAULT now());
CREATE TABLE automation_executions (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), automation_id uuid REFERENCES
automations (id) ON DELETE CASCADE, website_id varchar(64) NOT NULL, visitor_id varchar(255), session_id
varchar(255), trigger_event_id uuid, status varchar(50) NOT NULL DEFAULT 'pending', execution_data jsonb,
error_message text, executed_at timestamptz NOT NULL DEFAULT now(), completed_at timestamptz);
CREATE TABLE funnels (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), website_id varchar(64) NOT NULL, user_id
varchar(255) NOT NULL, name varchar(255) NOT NULL, description text, is_active boolean DEFAULT true, created_at
timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE funnel_steps (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), funnel_id uuid NOT NULL REFERENCES
funnels (id) ON DELETE CASCADE, name varchar(255) NOT NULL, step_order int NOT NULL, step_type varchar(50) NOT
NULL, page_path varchar(500), event_type varchar(255), match_type varchar(50) DEFAULT 'exact', created_at
timestamptz DEFAULT now());
CREATE TABLE funnel_analytics (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), funnel_id uuid REFERENCES funnels
(id) ON DELETE CASCADE, date date, step_order int, entries int, completions int, dropoffs int, conversion_rate
decimal(5,2), avg_time_to_complete int, created_at timestamptz, updated_at timestamptz, UNIQUE (funnel_id, date,
step_order));
CREATE TABLE heatmap_points (website_id uuid NOT NULL, page_path text NOT NULL, event_type varchar(10) NOT NULL,
device_type varchar(20) NOT NULL, x_percent int NOT NULL, y_percent int NOT NULL, target_selector text NOT NULL
DEFAULT '', intensity int DEFAULT 1, last_updated timestamp DEFAULT now(), PRIMARY KEY (website_id, page_path,
event_type, device_type, x_percent, y_percent, target_selector));
CREATE TABLE heatmap_sessions (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), website_id uuid, session_id
varchar(50), page_path text, screen_width int, screen_height int, created_at timestamp);
CREATE TABLE session_replays (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), website_id varchar(64) NOT NULL,
session_id varchar(255) NOT NULL, data jsonb NOT NULL, sequence int NOT NULL, timestamp timestamptz NOT NULL,
created_at timestamptz NOT NULL, browser varchar(100), device varchar(50), os varchar(100), country
varchar(100), entry_page text, UNIQUE (website_id, session_id, sequence));
CREATE TABLE support_forms (id text PRIMARY KEY, website_id uuid REFERENCES websites (id) ON DELETE CASCADE,
name text, description text, fields jsonb DEFAULT '[]', is_active boolean, created_at timestamptz, updated_at
timestamptz);
CREATE TABLE support_tickets (id text PRIMARY KEY, website_id uuid REFERENCES websites (id) ON DELETE CASCADE,
user_id uuid REFERENCES users (id) ON DELETE SET NULL, subject text, description text, status text DEFAULT
'open', priority text DEFAULT 'medium', source text, metadata jsonb, created_at timestamptz, updated_at
timestamptz);
CREATE TABLE audit_logs (id uuid PRIMARY KEY, user_id uuid NOT NULL, website_id uuid, action text, resource_type
text, resource_id text NOT NULL, metadata jsonb, ip_address text, user_agent text, created_at timestamptz);
CREATE TABLE server_logs (id text PRIMARY KEY, timestamp timestamptz, level text, message text, source text,
metadata jsonb);
CREATE TABLE server_metrics (id text PRIMARY KEY, timestamp timestamptz, name text, value double precision,
labels jsonb);
CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL);
CREATE TABLE events_all PARTITION OF events DEFAULT;
INSERT INTO schema_migrations VALUES (16, false);
`;

/** @param database of ClickHouse, where it is made */
export const originalClickhouse = (database: string): string => `
CREATE TABLE ${database}.events (id UUID, website_id String, visitor_id String, session_id String, event_type String, page String,
referrer Nullable(String), user_agent Nullable(String), ip_address Nullable(String), country Nullable(String),
country_code Nullable(String), city Nullable(String), region Nullable(String), continent Nullable(String), browser Nullable(String),
device Nullable(String), os Nullable(String), utm_source Nullable(String), utm_medium Nullable(String), utm_campaign Nullable(String),
utm_term Nullable(String), utm_content Nullable(String), time_on_page Int64, properties String, timestamp DateTime64(3, 'UTC'),
created_at DateTime64(3, 'UTC')) ENGINE = MergeTree() PARTITION BY toYYYYMM(timestamp) ORDER BY (website_id, timestamp, event_type)`;
