import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Validator } from '@seriousme/openapi-schema-validator';
import Type from 'typebox';
import { Value } from 'typebox/value';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { apiPage } from '../support/api-table.js';
import { CONTRACT_ROUTES, DASHBOARD_ROUTES, MISSING_ROUTES } from '../support/contract-routes.js';
import { Guard } from '../support/guard.js';
import { Program } from '../support/program.js';

const Content = Type.Record(
  Type.String(),
  Type.Object({ schema: Type.Record(Type.String(), Type.Unknown()), example: Type.Optional(Type.Unknown()) }),
);
const Operation = Type.Object({
  requestBody: Type.Optional(Type.Object({ content: Content })),
  responses: Type.Record(Type.String(), Type.Object({ content: Type.Optional(Content) })),
});
const Document = Type.Object({ paths: Type.Record(Type.String(), Type.Record(Type.String(), Operation)) });

let guard: Guard;
let program: Program;
let directory: string;
let document: Type.Static<typeof Document>;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'seentics-document-'));
  guard = await Guard.start();
  program = await Program.start(guard, { dataDir: join(directory, 'data') });
  document = Value.Parse(Document, await (await fetch(`${program.url}/api/v1/openapi.json`)).json());
});
afterAll(async () => {
  await guard.stop();
  await rm(directory, { recursive: true, force: true });
});

/** `METHOD /path`, names of parameters left out. */
const shapeOf = (route: string): string => route.replace(/\{\w+\}/g, '{}');

function operations(): string[] {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
}

describe('the OpenAPI document of the running program', () => {
  it('is valid OpenAPI 3.1', async () => {
    const result = await new Validator().validate(structuredClone(document));
    expect(result.errors ?? []).toEqual([]);
    expect(result.valid).toBe(true);
  });

  it('has the routes of the original and those that its dashboard calls besides, but for those named as missing', () => {
    const known = new Set(operations().map(shapeOf));
    const missing = [...CONTRACT_ROUTES, ...DASHBOARD_ROUTES].filter((route) => !known.has(shapeOf(route)));
    expect(missing).toEqual(MISSING_ROUTES);
  });

  it('has for every body an example that its schema takes', () => {
    const wrong: string[] = [];
    let checked = 0;
    for (const [path, methods] of Object.entries(document.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        const bodies = Object.entries(operation.responses).map(([status, { content }]) => ({
          status,
          content,
        }));
        for (const { status, content } of [
          { status: 'body', content: operation.requestBody?.content },
          ...bodies,
        ]) {
          const media = content?.['application/json'];
          if (media === undefined) continue;
          checked++;
          const [error] = Value.Errors(media.schema, media.example);
          if (error !== undefined)
            wrong.push(`${method} ${path} ${status}: ${error.instancePath} ${error.message}`);
        }
      }
    }
    expect(wrong).toEqual([]);
    expect(checked).toBeGreaterThan(100);
  });

  it('is what docs/api.md lists', async () => {
    const page = await readFile(new URL('../../docs/api.md', import.meta.url), 'utf8');
    expect(page, 'run npm run docs:api').toBe(apiPage(document, MISSING_ROUTES));
  });

  it('has a page for people that loads nothing', async () => {
    const answer = await fetch(`${program.url}/docs`);
    const page = await answer.text();
    expect(answer.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(answer.headers.get('content-security-policy')).toContain("default-src 'none'");
    for (const path of Object.keys(document.paths))
      expect(page).toContain(`<code>${path.replace(/\{(\w+)\}/g, ':$1')}</code>`);
    expect(page).not.toMatch(/<script|<link|<img|\ssrc=/);
  });
});
