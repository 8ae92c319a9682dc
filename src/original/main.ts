/**
 * `node dist/original/main.js HOST`: reads events of the original from standard input, a JSON object a line, and writes to standard output
 * the file that `POST /api/v1/analytics/import` takes. HOST is the website's. Lines that are no objects are counted and end it with code 1.
 */
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { hostOf } from '../enrich/url.js';
import { objectOf } from '../transfer/file-rows.js';
import { fileRowOf } from './event-row.js';

const given = hostOf(process.argv[2] ?? '');
const host = given.startsWith('www.') ? given.slice(4) : given;
if (host === '') {
  console.error('usage: node dist/original/main.js HOST < events-of-the-original.ndjson > events.ndjson');
  process.exit(2);
}

// Whoever reads may have had enough (`| head`).
process.stdout.on('error', () => process.exit(1));
let written = 0;
let unreadable = 0;
for await (const line of createInterface({ input: process.stdin, crlfDelay: Number.POSITIVE_INFINITY })) {
  if (line.trim() === '') continue;
  const row = objectOf(line);
  if (row === null) {
    unreadable++;
    continue;
  }
  written++;
  if (!process.stdout.write(`${JSON.stringify(fileRowOf(row, host))}\n`)) await once(process.stdout, 'drain');
}
console.error(`${written} events written, ${unreadable} lines that are no JSON objects left out`);
if (unreadable > 0) process.exitCode = 1;
