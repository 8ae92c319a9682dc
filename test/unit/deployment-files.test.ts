import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { VARIABLES } from '../../src/config.js';

interface Service {
  readonly image?: string;
  readonly ports?: readonly string[];
  readonly env_file?: readonly { readonly path: string; readonly required: boolean }[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly volumes?: readonly string[];
  readonly logging?: { readonly options?: Readonly<Record<string, string>> };
}

const text = readFileSync('docker-compose.yml', 'utf8');
const compose: { services: Record<string, Service>; volumes: Record<string, null> } = parse(text, {
  merge: true,
});
const { core, ...servers } = compose.services;

describe('docker-compose.yml', () => {
  it('publishes no port but the product’s', () => {
    expect(core?.ports).toHaveLength(1);
    for (const [name, server] of Object.entries(servers))
      expect([name, server.ports]).toEqual([name, undefined]);
  });

  it('checks the health of every server and starts the product after all of them', () => {
    for (const [name, server] of Object.entries(servers)) {
      expect([name, server.healthcheck?.test.length ?? 0]).toEqual([name, 2]);
      expect(core?.depends_on?.[name]).toEqual({ condition: 'service_healthy' });
    }
  });

  it('names a version of every image, and bounds every log', () => {
    for (const [name, { image, logging }] of Object.entries(servers)) {
      expect([name, image]).toEqual([name, expect.stringMatching(/:\d[\w.-]*$/)]);
      expect([name, logging?.options]).toEqual([name, { 'max-size': '20m', 'max-file': '5' }]);
    }
    expect(core?.logging).toEqual(servers.postgres?.logging);
  });

  it('sets only variables that the program knows', () => {
    for (const name of Object.keys(core?.environment ?? {})) expect(Object.keys(VARIABLES)).toContain(name);
  });

  it('hands all settings of .env to the program, none of them twice', () => {
    expect(core?.env_file).toEqual([{ path: '.env', required: false }]);
    // A name that is passed through here as well would hide the value of .env behind an empty one.
    for (const [name, value] of Object.entries(core?.environment ?? {}))
      expect([name, value]).not.toEqual([name, expect.stringMatching(/^\$\{\w+(:?-[^}]*)?\}$/)]);
  });

  it('has no secret with a default', () => {
    const secrets = text.match(/\$\{[A-Z_]*(PASSWORD|SECRET|KEY)[A-Z_]*[^}]*\}/g) ?? [];
    expect(secrets.length).toBeGreaterThan(8);
    for (const use of secrets) expect(use).toMatch(/:\?/);
  });

  it('declares every volume it uses', () => {
    for (const service of Object.values(compose.services)) {
      for (const volume of service.volumes ?? [])
        expect(Object.keys(compose.volumes)).toContain(volume.split(':')[0]);
    }
  });
});

describe('Dockerfile', () => {
  it('runs as another user than root and copies only what is there', () => {
    const lines = readFileSync('Dockerfile', 'utf8').split('\n');
    expect(lines).toContain('USER node');
    const copied = lines
      .filter((line) => /^COPY (?!--from)/.test(line))
      .flatMap((line) => line.split(' ').slice(1, -1));
    const tracked = execFileSync('git', ['ls-files'], { encoding: 'utf8' }).split('\n');
    for (const path of copied)
      expect(
        tracked.some((file) => file === path || file.startsWith(`${path}/`)),
        path,
      ).toBe(true);
  });
});

describe('derived documents', () => {
  it('are up to date with src/config.ts', () => {
    expect(() =>
      execFileSync(process.execPath, ['scripts/docs.mjs', '--check'], { stdio: 'pipe' }),
    ).not.toThrow();
  });
});
