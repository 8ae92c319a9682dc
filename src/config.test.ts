import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { SERVERS } from '../test/support/server-settings.js';
import { ConfigError, readConfig } from './config-read.js';

describe('configuration', () => {
  it('works with nothing set', () => {
    const config = readConfig({});
    expect(config.PORT).toBe(3002);
    expect(config.DATA_DIR).toBe(join(process.cwd(), 'data'));
    expect(config.DATABASE_URL).toBeUndefined();
    expect(config.ROLES).toEqual(['edge', 'writer']);
    expect(config.JWT_EXPIRE).toBe(86_400);
  });

  it('admits no foreign page to the API unless told, in production not even one of localhost', () => {
    expect(readConfig({ ENVIRONMENT: 'production' }).CORS_ALLOWED_ORIGINS).toEqual([]);
  });

  it('takes an empty text for unset, as the original does', () => {
    expect(readConfig({ PORT: '', NATS_URL: ' ' })).toMatchObject({ PORT: 3002, NATS_URL: undefined });
  });

  it('reads lists, flags, durations and choices', () => {
    const config = readConfig({
      CORS_ALLOWED_ORIGINS: 'https://a.example, https://b.example,',
      ALLOW_REGISTRATION: 'TRUE',
      JWT_EXPIRE: '15m',
      JWT_REFRESH_EXPIRE: '3600',
      ENVIRONMENT: 'Production',
    });
    expect(config.CORS_ALLOWED_ORIGINS).toEqual(['https://a.example', 'https://b.example']);
    expect(config.ALLOW_REGISTRATION).toBe(true);
    expect(config.JWT_EXPIRE).toBe(900);
    expect(config.JWT_REFRESH_EXPIRE).toBe(3_600);
    expect(config.ENVIRONMENT).toBe('production');
  });

  it('takes addresses of several servers, commas in passwords, and addresses in the place of names', () => {
    const given = {
      NATS_URL: 'nats://a:4222,nats://b:4222',
      DATABASE_URL: 'postgres://a:b,c@host/x',
      CLICKHOUSE_HOST: '[::1]',
      CORS_ALLOWED_ORIGINS: 'https://a.example:8443/,*',
    };
    expect(readConfig(given)).toMatchObject({
      ...given,
      CORS_ALLOWED_ORIGINS: ['https://a.example:8443/', '*'],
    });
  });

  it('names every unusable variable at once', () => {
    const read = () =>
      readConfig({ PORT: 'eighty', LOG_LEVEL: 'loud', JWT_EXPIRE: 'soon', CLICKHOUSE_DB: 'a; DROP' });
    expect(read).toThrow(ConfigError);
    expect(read).toThrow(/PORT .*LOG_LEVEL .*JWT_EXPIRE .*CLICKHOUSE_DB /);
  });

  it('takes several processes where every part is a server, and `auto` everywhere', () => {
    expect(readConfig({ ...SERVERS, PROCESSES: '4' }).PROCESSES).toBe(4);
    expect(readConfig({ PROCESSES: 'Auto' }).PROCESSES).toBe('auto');
    const inPostgres = { ...SERVERS, CLICKHOUSE_HOST: '', EVENT_STORE: 'postgres' };
    expect(readConfig({ ...inPostgres, PROCESSES: '2' }).PROCESSES).toBe(2);
  });

  it.each([
    [{ ENVIRONMENT: 'production', JWT_SECRET: 'short' }, /JWT_SECRET/],
    [{ S3_ENDPOINT: 'http://s3.example' }, /AWS_ACCESS_KEY_ID/],
    [{ ROLES: 'edge,cook' }, /cook/],
    [{ ROLES: 'edge' }, /NATS_URL/],
    [
      { PROCESSES: '2' },
      /PROCESSES=2 .* set DATABASE_URL, CLICKHOUSE_URL \(or EVENT_STORE=postgres\), NATS_URL, REDIS_URL, S3_ENDPOINT$/,
    ],
    [{ ...SERVERS, PROCESSES: '2', REDIS_URL: '' }, /PROCESSES=2 .* so set REDIS_URL$/],
    [{ PROCESSES: '0' }, /PROCESSES must be a whole number from 1 to 256, or auto/],
    [{ PROCESSES: 'all' }, /PROCESSES must be/],
    [{ PORT: '1.5' }, /PORT/],
    [{ PORT: '-1' }, /PORT/],
    [{ DATABASE_URL: 'mysql://db.example/x' }, /DATABASE_URL must look like postgres:/],
    [{ REDIS_URL: 'localhost:6379' }, /REDIS_URL must look like redis:/],
    [{ NATS_URL: '10.0.0.1:4222' }, /NATS_URL must look like nats:/],
    [{ CLICKHOUSE_URL: 'clickhouse:8123' }, /CLICKHOUSE_URL must look like http:/],
    [{ DATABASE_URL: 'postgres://a:b@host:99999/x' }, /DATABASE_URL must look like postgres:/],
    [{ DATABASE_URL: 'postgres://a:b#c@host/x' }, /DATABASE_URL .* percent-encoded/],
    [{ CLICKHOUSE_HOST: 'clickhouse:9000' }, /CLICKHOUSE_HOST is a host alone/],
    [{ NATS_STREAM: 'a.b' }, /NATS_STREAM must/],
    [{ NATS_SUBJECT_EVENTS: 'a b' }, /NATS_SUBJECT_EVENTS must/],
    [{ CLIENT_ADDRESS_HEADER: 'x y' }, /CLIENT_ADDRESS_HEADER must/],
    [{ CORS_ALLOWED_ORIGINS: '*,shop.example' }, /CORS_ALLOWED_ORIGINS .* not shop.example$/],
    [
      { S3_ENDPOINT: 's3.example', AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b' },
      /S3_ENDPOINT must look like/,
    ],
  ])('refuses the contradiction %j', (env, message) => {
    expect(() => readConfig(env)).toThrow(message);
  });
});
