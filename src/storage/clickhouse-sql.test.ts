import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { renderMigration, splitStatements } from './clickhouse-sql.js';

describe('renderMigration', () => {
  const sql =
    'CREATE TABLE {{table:events}} {{on_cluster}} (n UInt8) ENGINE = {{engine:MergeTree}}; ' +
    'CREATE TABLE {{table:sums}} {{on_cluster}} ENGINE = {{engine:SummingMergeTree((a, b))}}; {{distributed:events}};';

  it('gives plain tables on one server', () => {
    expect(splitStatements(renderMigration(sql, undefined))).toEqual([
      'CREATE TABLE events  (n UInt8) ENGINE = MergeTree',
      'CREATE TABLE sums  ENGINE = SummingMergeTree((a, b))',
    ]);
  });

  it('gives replicated and distributed tables on a cluster', () => {
    expect(splitStatements(renderMigration(sql, 'main'))).toEqual([
      "CREATE TABLE events_local ON CLUSTER 'main' (n UInt8) ENGINE = ReplicatedMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')",
      "CREATE TABLE sums_local ON CLUSTER 'main' ENGINE = ReplicatedSummingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}', (a, b))",
      "CREATE TABLE IF NOT EXISTS events ON CLUSTER 'main' AS events_local ENGINE = Distributed('main', currentDatabase(), 'events_local', cityHash64(site_id))",
    ]);
  });

  it('refuses a placeholder it does not know', () => {
    expect(() => renderMigration('{{tabel:x}}', undefined)).toThrow('unknown placeholder');
  });

  it('leaves no placeholder in any migration, on one server and on a cluster', () => {
    const folder = new URL('../../migrations/clickhouse/', import.meta.url);
    for (const name of readdirSync(folder)) {
      const script = readFileSync(new URL(name, folder), 'utf8');
      for (const cluster of [undefined, 'main'])
        for (const statement of splitStatements(renderMigration(script, cluster)))
          expect(statement, name).not.toMatch(/\{\{|\}\}/);
    }
  });
});

describe('splitStatements', () => {
  it('splits outside of quotes and comments only', () => {
    const script = `
      -- a; comment 'with quote
      SELECT ';', "a;b", \`c;d\`, 'it''s; \\'; x'; /* one;
      two */ SELECT 2;;
      SELECT 3 -- the end`;
    expect(splitStatements(script)).toEqual([
      `SELECT ';', "a;b", \`c;d\`, 'it''s; \\'; x'`,
      'SELECT 2',
      'SELECT 3',
    ]);
  });
});
