/**
 * Every environment variable of the product. This is the only module that reads the environment, and the configuration table of the
 * README is made from it (`npm run docs`).
 */
import { resolve } from 'node:path';
import {
  address,
  choice,
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
  DB_MAX_CONNS: integer({ default: 20, min: 1, max: 1_000, about: 'Most Postgres connections of a process' }),
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
    about: 'Largest request body, inflated',
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
  IMPORT_MAX_MB: integer({
    default: 2_048,
    min: 1,
    max: 1_000_000,
    unit: 'MiB',
    about: 'Largest file of events that may be imported: of its text, and of what is uploaded',
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

/** The environment holds values that cannot be used; `problems` names all of them at once. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  constructor(readonly problems: readonly string[]) {
    super(`configuration: ${problems.join('; ')}`);
  }
}

/**
 * Reads the configuration.
 * @param env `process.env`, after `.env` was loaded
 * @throws ConfigError naming every unusable variable
 */
export function readConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const problems: string[] = [];
  const read = <T>(name: string, variable: Variable<T>): T => {
    try {
      return variable.parse(env[name]);
    } catch (error) {
      problems.push(`${name} ${error instanceof Error ? error.message : String(error)}`);
      return variable.parse(undefined);
    }
  };
  const config = readAll(read);
  problems.push(...contradictions(config));
  if (problems.length > 0) throw new ConfigError(problems);
  return config;
}

/** Whether a gateway in front of the program says who calls. */
export function isCloud(config: Pick<Config, 'CLOUD_ENABLED' | 'CLOUD_FEATURES_ENABLED'>): boolean {
  return config.CLOUD_ENABLED ?? config.CLOUD_FEATURES_ENABLED ?? false;
}

function contradictions(config: Config): string[] {
  const problems: string[] = [];
  const unknownRole = config.ROLES.find((role) => role !== 'edge' && role !== 'writer');
  if (unknownRole !== undefined) problems.push(`ROLES knows edge and writer, not ${unknownRole}`);
  if (config.SUPPORT_EMAIL !== undefined && !/^[^\s@,;<>"]+@[^\s@,;<>"]+$/.test(config.SUPPORT_EMAIL))
    problems.push('SUPPORT_EMAIL must be one mail address');
  if (config.ROLES.length === 0) problems.push('ROLES must name at least one role');
  if (
    config.JWT_SECRET !== undefined &&
    config.ENVIRONMENT === 'production' &&
    config.JWT_SECRET.length < 32
  ) {
    problems.push('JWT_SECRET must have at least 32 characters in production');
  }
  if (isCloud(config) && config.GLOBAL_API_KEY === '')
    problems.push('CLOUD_ENABLED needs GLOBAL_API_KEY: without it anybody could be anybody');
  if (!/^https?:\/\/\S+$/i.test(config.FRONTEND_URL) || !URL.canParse(config.FRONTEND_URL))
    problems.push('FRONTEND_URL must look like https://stats.example.com');
  if (!/^[A-Za-z_][A-Za-z0-9_]{0,62}$/.test(config.CLICKHOUSE_DB))
    problems.push('CLICKHOUSE_DB must be a plain identifier');
  if (
    config.S3_ENDPOINT !== undefined &&
    (config.AWS_ACCESS_KEY_ID === '' || config.AWS_SECRET_ACCESS_KEY === '')
  ) {
    problems.push('S3_ENDPOINT needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY');
  }
  if (config.ROLES.length === 1 && config.NATS_URL === undefined) {
    problems.push('ROLES can be split only with NATS_URL: the local log has its writer in the same process');
  }
  return problems;
}

/** Spelled out so that every value keeps its own type. */
function readAll(read: <T>(name: string, variable: Variable<T>) => T): Config {
  return {
    PORT: read('PORT', VARIABLES.PORT),
    ENVIRONMENT: read('ENVIRONMENT', VARIABLES.ENVIRONMENT),
    LOG_LEVEL: read('LOG_LEVEL', VARIABLES.LOG_LEVEL),
    // Absolute: it is compared with command lines of other processes, and names the place in messages.
    DATA_DIR: resolve(read('DATA_DIR', VARIABLES.DATA_DIR)),
    DATABASE_URL: read('DATABASE_URL', VARIABLES.DATABASE_URL),
    DB_MAX_CONNS: read('DB_MAX_CONNS', VARIABLES.DB_MAX_CONNS),
    DB_MIN_CONNS: read('DB_MIN_CONNS', VARIABLES.DB_MIN_CONNS),
    REDIS_URL: read('REDIS_URL', VARIABLES.REDIS_URL),
    NATS_URL: read('NATS_URL', VARIABLES.NATS_URL),
    NATS_SUBJECT_EVENTS: read('NATS_SUBJECT_EVENTS', VARIABLES.NATS_SUBJECT_EVENTS),
    NATS_STREAM: read('NATS_STREAM', VARIABLES.NATS_STREAM),
    NATS_REPLICAS: read('NATS_REPLICAS', VARIABLES.NATS_REPLICAS),
    CLICKHOUSE_URL: read('CLICKHOUSE_URL', VARIABLES.CLICKHOUSE_URL),
    CLICKHOUSE_HOST: read('CLICKHOUSE_HOST', VARIABLES.CLICKHOUSE_HOST),
    CLICKHOUSE_PORT: read('CLICKHOUSE_PORT', VARIABLES.CLICKHOUSE_PORT),
    CLICKHOUSE_HTTP_PORT: read('CLICKHOUSE_HTTP_PORT', VARIABLES.CLICKHOUSE_HTTP_PORT),
    CLICKHOUSE_USER: read('CLICKHOUSE_USER', VARIABLES.CLICKHOUSE_USER),
    CLICKHOUSE_PASSWORD: read('CLICKHOUSE_PASSWORD', VARIABLES.CLICKHOUSE_PASSWORD),
    CLICKHOUSE_DB: read('CLICKHOUSE_DB', VARIABLES.CLICKHOUSE_DB),
    CLICKHOUSE_CLUSTER: read('CLICKHOUSE_CLUSTER', VARIABLES.CLICKHOUSE_CLUSTER),
    EVENT_STORE: read('EVENT_STORE', VARIABLES.EVENT_STORE),
    S3_ENDPOINT: read('S3_ENDPOINT', VARIABLES.S3_ENDPOINT),
    S3_BUCKET_REPLAYS: read('S3_BUCKET_REPLAYS', VARIABLES.S3_BUCKET_REPLAYS),
    AWS_REGION: read('AWS_REGION', VARIABLES.AWS_REGION),
    AWS_ACCESS_KEY_ID: read('AWS_ACCESS_KEY_ID', VARIABLES.AWS_ACCESS_KEY_ID),
    AWS_SECRET_ACCESS_KEY: read('AWS_SECRET_ACCESS_KEY', VARIABLES.AWS_SECRET_ACCESS_KEY),
    JWT_SECRET: read('JWT_SECRET', VARIABLES.JWT_SECRET),
    JWT_EXPIRE: read('JWT_EXPIRE', VARIABLES.JWT_EXPIRE),
    JWT_REFRESH_EXPIRE: read('JWT_REFRESH_EXPIRE', VARIABLES.JWT_REFRESH_EXPIRE),
    FRONTEND_URL: read('FRONTEND_URL', VARIABLES.FRONTEND_URL),
    CLOUD_ENABLED: read('CLOUD_ENABLED', VARIABLES.CLOUD_ENABLED),
    CLOUD_FEATURES_ENABLED: read('CLOUD_FEATURES_ENABLED', VARIABLES.CLOUD_FEATURES_ENABLED),
    GLOBAL_API_KEY: read('GLOBAL_API_KEY', VARIABLES.GLOBAL_API_KEY),
    ALLOW_REGISTRATION: read('ALLOW_REGISTRATION', VARIABLES.ALLOW_REGISTRATION),
    CORS_ALLOWED_ORIGINS: read('CORS_ALLOWED_ORIGINS', VARIABLES.CORS_ALLOWED_ORIGINS),
    TRUSTED_PROXIES: read('TRUSTED_PROXIES', VARIABLES.TRUSTED_PROXIES),
    CLIENT_ADDRESS_HEADER: read('CLIENT_ADDRESS_HEADER', VARIABLES.CLIENT_ADDRESS_HEADER),
    MAXMIND_DB_PATH: read('MAXMIND_DB_PATH', VARIABLES.MAXMIND_DB_PATH),
    ENRICH_THREADS: read('ENRICH_THREADS', VARIABLES.ENRICH_THREADS),
    PARTITIONS: read('PARTITIONS', VARIABLES.PARTITIONS),
    ROLES: read('ROLES', VARIABLES.ROLES),
    NODE_ID: read('NODE_ID', VARIABLES.NODE_ID),
    FLUSH_INTERVAL_MS: read('FLUSH_INTERVAL_MS', VARIABLES.FLUSH_INTERVAL_MS),
    FLUSH_ROWS: read('FLUSH_ROWS', VARIABLES.FLUSH_ROWS),
    DEDUPE_WINDOW_EVENTS: read('DEDUPE_WINDOW_EVENTS', VARIABLES.DEDUPE_WINDOW_EVENTS),
    STREAM_LIMIT_MB: read('STREAM_LIMIT_MB', VARIABLES.STREAM_LIMIT_MB),
    SPOOL_LIMIT_MB: read('SPOOL_LIMIT_MB', VARIABLES.SPOOL_LIMIT_MB),
    MAX_BODY_BYTES: read('MAX_BODY_BYTES', VARIABLES.MAX_BODY_BYTES),
    RECORDINGS_LIMIT_MB: read('RECORDINGS_LIMIT_MB', VARIABLES.RECORDINGS_LIMIT_MB),
    RECORDINGS_FLUSH_MS: read('RECORDINGS_FLUSH_MS', VARIABLES.RECORDINGS_FLUSH_MS),
    MAX_REPLAY_BODY_BYTES: read('MAX_REPLAY_BODY_BYTES', VARIABLES.MAX_REPLAY_BODY_BYTES),
    REPLAY_SITE_MB_PER_DAY: read('REPLAY_SITE_MB_PER_DAY', VARIABLES.REPLAY_SITE_MB_PER_DAY),
    IMPORT_MAX_MB: read('IMPORT_MAX_MB', VARIABLES.IMPORT_MAX_MB),
    REPLAY_SAMPLING: read('REPLAY_SAMPLING', VARIABLES.REPLAY_SAMPLING),
    MAX_EVENT_BODY_BYTES: read('MAX_EVENT_BODY_BYTES', VARIABLES.MAX_EVENT_BODY_BYTES),
    BATCH_SIZE: read('BATCH_SIZE', VARIABLES.BATCH_SIZE),
    MAX_EVENT_AGE: read('MAX_EVENT_AGE', VARIABLES.MAX_EVENT_AGE),
    SITE_EVENTS_PER_MINUTE: read('SITE_EVENTS_PER_MINUTE', VARIABLES.SITE_EVENTS_PER_MINUTE),
    RATE_LIMIT_INGEST: read('RATE_LIMIT_INGEST', VARIABLES.RATE_LIMIT_INGEST),
    RATE_LIMIT_AUTH: read('RATE_LIMIT_AUTH', VARIABLES.RATE_LIMIT_AUTH),
    RATE_LIMIT_API: read('RATE_LIMIT_API', VARIABLES.RATE_LIMIT_API),
    RATE_LIMIT_PUBLIC: read('RATE_LIMIT_PUBLIC', VARIABLES.RATE_LIMIT_PUBLIC),
    EMBEDDED_CLICKHOUSE_MEMORY_MB: read(
      'EMBEDDED_CLICKHOUSE_MEMORY_MB',
      VARIABLES.EMBEDDED_CLICKHOUSE_MEMORY_MB,
    ),
    QUERY_TIMEOUT: read('QUERY_TIMEOUT', VARIABLES.QUERY_TIMEOUT),
    SMTP_HOST: read('SMTP_HOST', VARIABLES.SMTP_HOST),
    SMTP_PORT: read('SMTP_PORT', VARIABLES.SMTP_PORT),
    SMTP_SECURE: read('SMTP_SECURE', VARIABLES.SMTP_SECURE),
    SMTP_USER: read('SMTP_USER', VARIABLES.SMTP_USER),
    SMTP_PASSWORD: read('SMTP_PASSWORD', VARIABLES.SMTP_PASSWORD),
    SMTP_FROM: read('SMTP_FROM', VARIABLES.SMTP_FROM),
    SUPPORT_EMAIL: read('SUPPORT_EMAIL', VARIABLES.SUPPORT_EMAIL),
    ALLOW_PRIVATE_WEBHOOKS: read('ALLOW_PRIVATE_WEBHOOKS', VARIABLES.ALLOW_PRIVATE_WEBHOOKS),
    AUTOMATION_TIMEOUT: read('AUTOMATION_TIMEOUT', VARIABLES.AUTOMATION_TIMEOUT),
    AUTOMATION_EXECUTIONS_PER_MINUTE: read(
      'AUTOMATION_EXECUTIONS_PER_MINUTE',
      VARIABLES.AUTOMATION_EXECUTIONS_PER_MINUTE,
    ),
    AUDIT_RETENTION_DAYS: read('AUDIT_RETENTION_DAYS', VARIABLES.AUDIT_RETENTION_DAYS),
    AUTOMATION_RETENTION: read('AUTOMATION_RETENTION', VARIABLES.AUTOMATION_RETENTION),
    METRICS_TOKEN: read('METRICS_TOKEN', VARIABLES.METRICS_TOKEN),
  };
}
