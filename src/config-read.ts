/** Reads the variables of `config.ts` and refuses values that cannot be used, alone or together. */
import { resolve } from 'node:path';
import { type Config, isCloud, VARIABLES } from './config.js';
import type { Variable } from './config-variables.js';

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

/** Forms of values that would be refused, or match nothing, far from here and without the variable's name. */
const FORMS = [
  ['NATS_STREAM', /^[^\s.*>/\\]+$/, 'must have no spaces, dots, slashes, * or >'],
  ['NATS_SUBJECT_EVENTS', /^[^\s.*>]+(?:\.[^\s.*>]+)*$/, 'must be words with dots between them'],
  [
    'CLICKHOUSE_HOST',
    /^(?:[^\s/:@]+|\[[0-9a-f:.]+\])$/i,
    'is a host alone: see CLICKHOUSE_PORT, CLICKHOUSE_URL',
  ],
  ['CLIENT_ADDRESS_HEADER', /^[\w-]+$/, 'must be the name of one header'],
] as const;

const ORIGIN = /^(?:\*|[a-z][a-z0-9+.-]*:\/\/[^\s/]+\/?)$/i;

function contradictions(config: Config): string[] {
  const problems: string[] = [];
  for (const [name, form, words] of FORMS) {
    const value = config[name];
    if (value !== undefined && !form.test(value)) problems.push(`${name} ${words}`);
  }
  const noOrigin = config.CORS_ALLOWED_ORIGINS.find((origin) => !ORIGIN.test(origin));
  if (noOrigin !== undefined)
    problems.push(`CORS_ALLOWED_ORIGINS are like https://stats.example.com, not ${noOrigin}`);
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
  if (typeof config.PROCESSES === 'number' && config.PROCESSES > 1) {
    const why = whyOneProcess(config);
    if (why !== undefined) problems.push(`PROCESSES=${config.PROCESSES} cannot be had: ${why}`);
  }
  return problems;
}

/** Why this configuration allows no second process on a node; undefined when it does. An embedded part lies in the hands of one process. */
export function whyOneProcess(config: Config): string | undefined {
  if (process.platform !== 'linux') return 'only Linux shares out the connections of a port';
  const hasEventStore =
    config.CLICKHOUSE_URL !== undefined ||
    config.CLICKHOUSE_HOST !== undefined ||
    config.EVENT_STORE === 'postgres';
  const missing = [
    ...(config.DATABASE_URL === undefined ? ['DATABASE_URL'] : []),
    ...(hasEventStore ? [] : ['CLICKHOUSE_URL (or EVENT_STORE=postgres)']),
    ...(config.NATS_URL === undefined ? ['NATS_URL'] : []),
    ...(config.REDIS_URL === undefined ? ['REDIS_URL'] : []),
    ...(config.S3_ENDPOINT === undefined ? ['S3_ENDPOINT'] : []),
  ];
  return missing.length === 0
    ? undefined
    : `processes share nothing but servers, so set ${missing.join(', ')}`;
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
    PROCESSES: read('PROCESSES', VARIABLES.PROCESSES),
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
    WEBSITES_PER_ACCOUNT: read('WEBSITES_PER_ACCOUNT', VARIABLES.WEBSITES_PER_ACCOUNT),
    IMPORT_MAX_MB: read('IMPORT_MAX_MB', VARIABLES.IMPORT_MAX_MB),
    IMPORT_MAX_WAITING: read('IMPORT_MAX_WAITING', VARIABLES.IMPORT_MAX_WAITING),
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
    LOOK_AHEAD_PERCENT: read('LOOK_AHEAD_PERCENT', VARIABLES.LOOK_AHEAD_PERCENT),
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
