/**
 * Every environment variable of the product: type, default, unit and meaning. Values are read and compared in `config-read.ts`; no other
 * module knows of the environment. The configuration table of the README is made from here (`npm run docs`).
 */
import {
  address,
  choice,
  countOrAuto,
  duration,
  flag,
  integer,
  list,
  optionalFlag,
  optionalText,
  text,
  type Variable,
} from './config-variables.js';

const MIB = 1024 * 1024;

export const VARIABLES = {
  PORT: integer({ default: 3002, min: 0, max: 65_535, about: 'Port to listen on (all interfaces)' }),
  ENVIRONMENT: choice({
    default: 'development',
    of: ['development', 'production', 'test'],
    about: '`production` refuses weak secrets and stops trusting localhost origins',
  }),
  LOG_LEVEL: choice({
    default: 'info',
    of: ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
    about: 'Least severe log line that is written',
  }),
  DATA_DIR: text({
    default: './data',
    about: 'Everything that embedded parts keep, the spool and the generated secret',
  }),
  DATABASE_URL: address({
    pattern: /^postgres(ql)?:\/\/./i,
    example: 'postgres://user:password@host:5432/database',
    about: 'Postgres for metadata; unset: embedded Postgres',
  }),
  DB_MAX_CONNS: integer({
    default: 20,
    min: 1,
    max: 1_000,
    about: 'Most Postgres connections of a pool, divided among `PROCESSES`',
  }),
  DB_MIN_CONNS: integer({ default: 1, min: 0, max: 1_000, about: 'Postgres connections kept open' }),
  REDIS_URL: address({
    pattern: /^rediss?:\/\/./i,
    example: 'redis://:password@host:6379',
    about: 'Redis for shared counters, caches and notices; unset: in memory (one node only)',
  }),
  NATS_URL: address({
    pattern: /^(nats|tls):\/\/[^\s,/]/i,
    example: 'nats://host:4222',
    about: 'NATS JetStream as event stream; unset: durable log in `DATA_DIR`',
  }),
  NATS_SUBJECT_EVENTS: text({ default: 'analytics.events', about: 'Subject prefix of the event stream' }),
  NATS_STREAM: text({ default: 'SEENTICS', about: 'Name of the JetStream stream' }),
  NATS_REPLICAS: integer({ default: 1, min: 1, max: 5, about: 'Replicas of the JetStream stream' }),
  CLICKHOUSE_URL: address({
    pattern: /^https?:\/\/[^/]/i,
    example: 'http://host:8123',
    about: 'ClickHouse HTTP address as event store; unset (and no host): embedded ClickHouse',
  }),
  CLICKHOUSE_HOST: optionalText({ about: 'ClickHouse host, used when `CLICKHOUSE_URL` is unset' }),
  CLICKHOUSE_PORT: integer({
    default: 8123,
    min: 1,
    max: 65_535,
    about: 'ClickHouse HTTP port; 9000 and 9440 (native protocol) are understood as 8123 and 8443',
  }),
  CLICKHOUSE_HTTP_PORT: integer({
    default: 0,
    min: 0,
    max: 65_535,
    about: 'Overrides `CLICKHOUSE_PORT`; 0: unset',
  }),
  CLICKHOUSE_USER: text({ default: 'default', about: 'ClickHouse user' }),
  CLICKHOUSE_PASSWORD: text({ default: '', about: 'ClickHouse password' }),
  CLICKHOUSE_DB: text({ default: 'seentics', about: 'ClickHouse database; created when missing' }),
  CLICKHOUSE_CLUSTER: optionalText({ about: 'Cluster name: tables become replicated and distributed' }),
  EVENT_STORE: choice({
    default: 'auto',
    of: ['auto', 'clickhouse', 'postgres'],
    about: '`auto`: ClickHouse where configured or embedded, else Postgres',
  }),
  S3_ENDPOINT: address({
    pattern: /^https?:\/\/[^/]/i,
    example: 'https://host:9000',
    about: 'S3 endpoint for objects; unset: folder in `DATA_DIR`',
  }),
  S3_BUCKET_REPLAYS: text({ default: 'seentics-replays', about: 'Bucket for objects; created when missing' }),
  AWS_REGION: text({ default: 'us-east-1', about: 'S3 region' }),
  AWS_ACCESS_KEY_ID: text({ default: '', about: 'S3 access key' }),
  AWS_SECRET_ACCESS_KEY: text({ default: '', about: 'S3 secret key' }),
  JWT_SECRET: optionalText({
    about: 'Signs tokens, at least 32 characters; unset: made on the first start and kept in `DATA_DIR`',
  }),
  JWT_EXPIRE: duration({ default: '24h', about: 'Life of an access token' }),
  JWT_REFRESH_EXPIRE: duration({ default: '7d', about: 'Life of a refresh token; each use makes a new one' }),
  FRONTEND_URL: text({
    default: 'http://localhost:3000',
    about: 'Where people open the dashboard; links in mails begin with it',
  }),
  CLOUD_ENABLED: optionalFlag({
    about:
      'Cloud mode: a gateway in front names the caller in `X-User-ID`, `X-User-Email` and `X-User-Role`, proving itself by `GLOBAL_API_KEY` in `X-API-Key`; tokens and registration are off',
  }),
  CLOUD_FEATURES_ENABLED: optionalFlag({ about: 'Older name of `CLOUD_ENABLED`, used where that is unset' }),
  GLOBAL_API_KEY: text({
    default: '',
    about: 'Key of internal routes and of the gateway in cloud mode; empty: internal routes refuse everybody',
  }),
  ALLOW_REGISTRATION: flag({
    default: false,
    about: 'Whether accounts can be made after the first one (the admin)',
  }),
  CORS_ALLOWED_ORIGINS: list({
    default: [],
    about:
      'Origins that may call the dashboard API from a browser; `*`: any; outside production also any port of localhost. Trackers may come from any origin',
  }),
  TRUSTED_PROXIES: list({
    default: [],
    about:
      'Proxies whose `X-Forwarded-For` is believed: addresses, CIDR ranges, `loopback`, `private`; empty: none',
  }),
  CLIENT_ADDRESS_HEADER: optionalText({
    about:
      'Header with the client address, set by your CDN (`CF-Connecting-IP`); believed from trusted proxies only',
  }),
  MAXMIND_DB_PATH: optionalText({
    about: 'City database (mmdb); unset: the DB-IP City Lite database that is installed along',
  }),
  ENRICH_THREADS: integer({
    default: 0,
    min: 0,
    max: 64,
    about: 'Worker threads for enrichment; 0: cores less one, at least one',
  }),
  PARTITIONS: integer({
    default: 8,
    min: 1,
    max: 256,
    about:
      'Partitions of the event stream; the same on all nodes, to be changed only while the stream is empty',
  }),
  ROLES: list({
    default: ['edge', 'writer'],
    about: 'What this node does: `edge` (HTTP), `writer` (stream to event store)',
  }),
  PROCESSES: countOrAuto({
    default: 1,
    max: 256,
    about:
      'Processes of this node, which share the port (Linux); more than one needs servers for all parts. `auto`: one a core where that is possible, else one',
  }),
  NODE_ID: optionalText({ about: 'Name of this node in leases and metrics; unset: random' }),
  FLUSH_INTERVAL_MS: integer({
    default: 700,
    min: 50,
    max: 60_000,
    unit: 'ms',
    about: 'How long a block for the event store is collected',
  }),
  FLUSH_ROWS: integer({
    default: 100_000,
    min: 1,
    max: 1_000_000,
    unit: 'rows',
    about: 'Rows that end a block early',
  }),
  DEDUPE_WINDOW_EVENTS: integer({
    default: 8_000_000,
    min: 10_000,
    max: 200_000_000,
    unit: 'events',
    about:
      'Ids kept in memory to recognise repeated events without asking the store (about 24 bytes each at most)',
  }),
  STREAM_LIMIT_MB: integer({
    default: 4_096,
    min: 64,
    max: 4_000_000,
    unit: 'MiB',
    about: 'Most bytes the stream may hold',
  }),
  SPOOL_LIMIT_MB: integer({
    default: 1_024,
    min: 64,
    max: 4_000_000,
    unit: 'MiB',
    about: 'Most bytes spooled on disk while NATS is away',
  }),
  MAX_BODY_BYTES: integer({
    default: 10 * MIB,
    min: 1_024,
    max: 1_000 * MIB,
    unit: 'bytes',
    about: 'Largest request body, inflated; JSON that is no tracker’s: at most 1 MiB',
  }),
  RECORDINGS_LIMIT_MB: integer({
    default: 1_024,
    min: 16,
    max: 4_000_000,
    unit: 'MiB',
    about: 'Most bytes that the stream of session recordings may hold; it is refused before events are',
  }),
  RECORDINGS_FLUSH_MS: integer({
    default: 8_000,
    min: 50,
    max: 60_000,
    unit: 'ms',
    about: 'Longest time that a recording waits for others to share an object with',
  }),
  MAX_REPLAY_BODY_BYTES: integer({
    default: 16 * MIB,
    min: 1_024,
    max: 200 * MIB,
    unit: 'bytes',
    about:
      'Largest body of the route of recordings, inflated: one that holds a full snapshot can be several MB',
  }),
  REPLAY_SITE_MB_PER_DAY: integer({
    default: 0,
    min: 0,
    max: 1_000_000_000,
    unit: 'MiB',
    about: 'Compressed recordings that a site may store in a UTC day; 0: no limit',
  }),
  WEBSITES_PER_ACCOUNT: integer({
    default: 1_000,
    min: 1,
    max: 1_000_000,
    about: 'Websites that an account may have of its own; one more is refused with `limit_reached`',
  }),
  IMPORT_MAX_MB: integer({
    default: 2_048,
    min: 1,
    max: 1_000_000,
    unit: 'MiB',
    about: 'Largest file of events that may be imported: of its text, and of what is uploaded',
  }),
  IMPORT_MAX_WAITING: integer({
    default: 50,
    min: 1,
    max: 10_000,
    about:
      'Imports that the websites of an account may have waiting or at work, all together; of one website 20',
  }),
  REPLAY_SAMPLING: choice({
    default: 'server',
    of: ['server', 'tracker'],
    about:
      'Who applies the sampling rate of recordings. `server`: whole sessions are kept or dropped here, trackers send all; `tracker`: as the original, each page load is or is not recorded',
  }),
  MAX_EVENT_BODY_BYTES: integer({
    default: MIB,
    min: 1_024,
    max: 100 * MIB,
    unit: 'bytes',
    about: 'Largest body of the event routes, inflated',
  }),
  BATCH_SIZE: integer({
    default: 1_000,
    min: 1,
    max: 100_000,
    unit: 'events',
    about: 'Most events taken from one batch request',
  }),
  MAX_EVENT_AGE: duration({ default: '30d', about: 'Events older than this are refused as stale' }),
  SITE_EVENTS_PER_MINUTE: integer({
    default: 0,
    min: 0,
    max: 1_000_000_000,
    unit: 'events/min',
    about: 'Quota of one site on one node; 0: none',
  }),
  RATE_LIMIT_INGEST: integer({
    default: 10_000,
    min: 0,
    max: 1_000_000_000,
    unit: 'requests/min',
    about: 'Tracker requests of one address; 0: no limit',
  }),
  RATE_LIMIT_AUTH: integer({
    default: 20,
    min: 0,
    max: 1_000_000,
    unit: 'requests/min',
    about: 'Login and registration requests of one address; 0: no limit',
  }),
  RATE_LIMIT_API: integer({
    default: 200,
    min: 0,
    max: 1_000_000,
    unit: 'requests/min',
    about: 'API requests of one account or address; 0: no limit',
  }),
  RATE_LIMIT_PUBLIC: integer({
    default: 60,
    min: 0,
    max: 1_000_000,
    unit: 'requests/min',
    about: 'Requests of one address for dashboards shared by link; 0: no limit',
  }),
  EMBEDDED_CLICKHOUSE_MEMORY_MB: integer({
    default: 1_200,
    min: 300,
    max: 1_000_000,
    unit: 'MiB',
    about: 'Cap of the embedded ClickHouse',
  }),
  QUERY_TIMEOUT: duration({ default: '30s', about: 'Longest time a dashboard query may take' }),
  LOOK_AHEAD_PERCENT: integer({
    default: 5,
    min: 0,
    max: 100,
    unit: '% of a core',
    about:
      'Most time for finding out what has changed at sites that somebody looks at, before the next question; 0: never',
  }),
  SMTP_HOST: optionalText({
    about: 'Mail server; unset: no mail can be sent (password resets, e-mail actions)',
  }),
  SMTP_PORT: integer({ default: 587, min: 1, max: 65_535, about: 'Port of the mail server' }),
  SMTP_SECURE: flag({
    default: false,
    about: 'TLS from the first byte (port 465); otherwise STARTTLS where the server offers it',
  }),
  SMTP_USER: text({ default: '', about: 'Login of the mail server; empty: none' }),
  SMTP_PASSWORD: text({ default: '', about: 'Password of the mail server' }),
  SMTP_FROM: text({
    default: '',
    about: 'Sender of mails, e.g. `Shop <shop@example.com>`; empty: made of `SMTP_HOST`',
  }),
  SUPPORT_EMAIL: optionalText({
    about: 'Who gets the messages of the contact forms; unset: nobody, and the forms say so',
  }),
  ALLOW_PRIVATE_WEBHOOKS: flag({
    default: false,
    about:
      'Whether webhooks may go to private, loopback and link-local addresses; leave off where accounts are not all trusted',
  }),
  AUTOMATION_TIMEOUT: duration({
    default: '10s',
    about: 'Longest time that a webhook of an automation may take',
  }),
  AUTOMATION_EXECUTIONS_PER_MINUTE: integer({
    default: 600,
    min: 1,
    max: 1_000_000,
    unit: 'executions/min',
    about: 'Executions of one automation; what comes beyond is dropped and counted',
  }),
  AUDIT_RETENTION_DAYS: integer({
    default: 365,
    min: 0,
    max: 36_500,
    unit: 'days',
    about: 'How long entries of the audit log are kept; 0: for ever',
  }),
  AUTOMATION_RETENTION: duration({ default: '90d', about: 'How long executions of automations are kept' }),
  METRICS_TOKEN: optionalText({ about: 'When set, `/metrics` demands it as bearer token' }),
} satisfies Record<string, Variable<unknown>>;

/** Value of every variable, by its name. */
export type Config = {
  readonly [Name in keyof typeof VARIABLES]: ReturnType<(typeof VARIABLES)[Name]['parse']>;
};

/** Whether a gateway in front of the program says who calls. */
export function isCloud(config: Pick<Config, 'CLOUD_ENABLED' | 'CLOUD_FEATURES_ENABLED'>): boolean {
  return config.CLOUD_ENABLED ?? config.CLOUD_FEATURES_ENABLED ?? false;
}
