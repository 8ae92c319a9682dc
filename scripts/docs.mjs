// Writes what is derived from the code: the configuration table of README.md and .env.example. `--check` only compares (tests).
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { VARIABLES } from '../dist/config.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const BEGIN = '<!-- configuration: made by npm run docs -->';
const END = '<!-- end of configuration -->';

const table = [
  '| variable | default | unit | meaning |',
  '| --- | --- | --- | --- |',
  ...Object.entries(VARIABLES).map(([name, { shownDefault, unit, about }]) => {
    const value = shownDefault === '' ? '' : `\`${shownDefault}\``;
    return `| \`${name}\` | ${value} | ${unit} | ${about.replaceAll('|', '\\|')} |`;
  }),
].join('\n');

const SECRETS = [
  'POSTGRES_PASSWORD',
  'REDIS_PASSWORD',
  'NATS_PASSWORD',
  'CLICKHOUSE_PASSWORD',
  'AWS_ACCESS_KEY_ID',
  'AWS_SECRET_ACCESS_KEY',
  'JWT_SECRET',
];
const example = [
  '# Every setting is optional for `npm start`. Made by `npm run docs` from src/config.ts.',
  '',
  '# docker compose needs these; make each with: openssl rand -hex 32',
  ...SECRETS.map((name) => `# ${name}=`),
  '',
  ...Object.entries(VARIABLES)
    .filter(([name]) => !SECRETS.includes(name))
    .flatMap(([name, { shownDefault, unit, about }]) => [
      `# ${about}${unit === '' ? '' : ` (${unit})`}`,
      `# ${name}=${shownDefault}`,
    ]),
  '',
].join('\n');

const readme = await readFile(`${root}/README.md`, 'utf8');
const [before, rest] = readme.split(BEGIN);
const after = rest?.split(END)[1];
if (after === undefined) throw new Error('README.md has lost its configuration markers');
const files = { 'README.md': `${before}${BEGIN}\n\n${table}\n\n${END}${after}`, '.env.example': example };

for (const [name, text] of Object.entries(files)) {
  if (!process.argv.includes('--check')) await writeFile(`${root}/${name}`, text);
  else if ((await readFile(`${root}/${name}`, 'utf8')) !== text) {
    console.error(`${name} is out of date: run npm run docs`);
    process.exitCode = 1;
  }
}
