import { pino } from 'pino';
import { expect, it } from 'vitest';
import { AppError } from './errors.js';
import { shownError } from './telemetry.js';

it('shows of errors what failed, and nothing of whom it was about', () => {
  const lines: string[] = [];
  const log = pino({ serializers: { err: shownError } }, { write: (line: string) => void lines.push(line) });
  const refused = Object.assign(new Error("READONLY You can't write against a read only replica"), {
    command: { name: 'incrby', args: ['rl:ingest:192.0.2.7:1'] },
  });
  const row = Object.assign(new Error('null value'), {
    ...{ code: '23502', table: 'executions', detail: 'Failing row contains (192.0.2.7)' },
    ...{ internalQuery: '192.0.2.7', request: { headers: { authorization: '192.0.2.7' } } },
  });
  log.warn({ err: new AppError('storage_unavailable', 'away', { cause: refused, details: '192.0.2.7' }) });
  log.warn({ err: row });
  log.warn({ err: new AggregateError([row, refused], 'both') });
  log.warn({ err: { address: '192.0.2.7' } });
  expect(lines.join()).not.toContain('192.0.2.7');
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({
    err: { type: 'AppError', code: 'storage_unavailable', message: expect.stringContaining('READONLY') },
  });
  expect(lines[0]).toContain('caused by');
  expect(JSON.parse(lines[1] ?? '').err).toMatchObject({ code: '23502', table: 'executions' });
  expect(JSON.parse(lines[2] ?? '').err.parts).toMatchObject([
    { code: '23502' },
    { message: refused.message },
  ]);
});
