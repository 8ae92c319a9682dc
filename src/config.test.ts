import { describe, expect, it } from 'vitest';
import { ConfigError, readConfig } from './config.js';

describe('configuration', () => {
  it('works with nothing set', () => {
    const config = readConfig({});
    expect(config.PORT).toBe(3002);
    expect(config.DATA_DIR).toBe('./data');
    expect(config.DATABASE_URL).toBeUndefined();
    expect(config.ROLES).toEqual(['edge', 'writer']);
    expect(config.JWT_EXPIRE).toBe(86_400);
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

  it('names every unusable variable at once', () => {
    const read = () =>
      readConfig({ PORT: 'eighty', LOG_LEVEL: 'loud', JWT_EXPIRE: 'soon', CLICKHOUSE_DB: 'a; DROP' });
    expect(read).toThrow(ConfigError);
    expect(read).toThrow(/PORT .*LOG_LEVEL .*JWT_EXPIRE .*CLICKHOUSE_DB /);
  });

  it.each([
    [{ ENVIRONMENT: 'production', JWT_SECRET: 'short' }, /JWT_SECRET/],
    [{ S3_ENDPOINT: 'http://s3.example' }, /AWS_ACCESS_KEY_ID/],
    [{ ROLES: 'edge,cook' }, /cook/],
    [{ ROLES: 'edge' }, /NATS_URL/],
    [{ PORT: '1.5' }, /PORT/],
    [{ PORT: '-1' }, /PORT/],
  ])('refuses the contradiction %j', (env, message) => {
    expect(() => readConfig(env)).toThrow(message);
  });
});
