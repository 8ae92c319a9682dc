/** Writes docs/api.md and the types of the client from the document of the running program: `npm run docs:api`, `npm run client`. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import openapiTS, { astToString } from 'openapi-typescript';
import { apiPage } from '../test/support/api-table.js';
import { MISSING_ROUTES } from '../test/support/contract-routes.js';
import { Guard } from '../test/support/guard.js';
import { Program } from '../test/support/program.js';

const root = new URL('../', import.meta.url);
const directory = await mkdtemp(join(tmpdir(), 'seentics-api-'));
const guard = await Guard.start();
try {
  const program = await Program.start(guard, { dataDir: join(directory, 'data') });
  const document = await (await fetch(`${program.url}/api/v1/openapi.json`)).json();
  if (process.argv.includes('--client')) {
    await mkdir(new URL('client/generated/', root), { recursive: true });
    await writeFile(
      new URL('client/generated/schema.d.ts', root),
      `/* Made from the OpenAPI document. */\n${astToString(await openapiTS(Buffer.from(JSON.stringify(document))))}`,
    );
  } else await writeFile(new URL('docs/api.md', root), apiPage(document, MISSING_ROUTES));
  await program.stop();
} finally {
  await guard.stop();
  await rm(directory, { recursive: true, force: true });
}
