/** Settings that name a server for every part; nothing listens there. */
export const SERVERS = {
  DATABASE_URL: 'postgres://db.example/x',
  CLICKHOUSE_HOST: 'clickhouse.example',
  NATS_URL: 'nats://nats.example',
  REDIS_URL: 'redis://redis.example',
  S3_ENDPOINT: 'http://s3.example',
  AWS_ACCESS_KEY_ID: 'a',
  AWS_SECRET_ACCESS_KEY: 'b',
};
