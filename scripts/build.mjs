// Compiles src/ to dist/. Runs at `npm ci` (prepare) and before start when dist/ is missing; a deployment that ships dist/
// without the compiler (`--omit=dev`) skips it.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const onlyIfMissing = process.argv.includes('--if-missing');
if (onlyIfMissing && existsSync(`${root}/dist/main.js`)) process.exit(0);

let tsc;
try {
  tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
} catch {
  if (existsSync(`${root}/dist/main.js`)) process.exit(0);
  console.error(
    'dist/ is missing and the TypeScript compiler is not installed: run `npm ci` without --omit=dev once.',
  );
  process.exit(onlyIfMissing ? 1 : 0);
}
const { status } = spawnSync(process.execPath, [tsc, '-p', `${root}/tsconfig.build.json`], {
  stdio: 'inherit',
});
process.exit(status ?? 1);
