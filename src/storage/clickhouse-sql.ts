/**
 * Migrations are plain SQL with a few placeholders, so that one text serves a single server and a cluster (documented in
 * migrations/clickhouse/0001_events.sql). What a file may not contain is code: placeholders are replaced by fixed texts only.
 */

/** Fills in the placeholders. @throws Error for an unknown one. */
export function renderMigration(sql: string, cluster: string | undefined): string {
  return sql.replaceAll(/\{\{([a-z_]+)(?::([^}]*))?\}\}/g, (placeholder, kind: string, argument = '') => {
    switch (kind) {
      case 'table':
        return cluster === undefined ? argument : `${argument}_local`;
      case 'on_cluster':
        return cluster === undefined ? '' : `ON CLUSTER '${cluster}'`;
      case 'engine':
        return cluster === undefined ? argument : replicated(argument);
      case 'distributed':
        return cluster === undefined ? '' : distributed(argument, cluster);
      default:
        throw new Error(`unknown placeholder in a migration: ${placeholder}`);
    }
  });
}

/** One Keeper path a table and shard; the macros are the server's own. */
function replicated(engine: string): string {
  const open = engine.indexOf('(');
  const name = open < 0 ? engine : engine.slice(0, open);
  const given = open < 0 ? '' : engine.slice(open + 1, engine.lastIndexOf(')')).trim();
  const place = "'/clickhouse/tables/{uuid}/{shard}', '{replica}'";
  return `Replicated${name.trim()}(${place}${given === '' ? '' : `, ${given}`})`;
}

/** The table that queries and inserts name, over the local tables; all rows of a site on one shard. */
function distributed(table: string, cluster: string): string {
  return (
    `CREATE TABLE IF NOT EXISTS ${table} ON CLUSTER '${cluster}' AS ${table}_local ` +
    `ENGINE = Distributed('${cluster}', currentDatabase(), '${table}_local', cityHash64(site_id))`
  );
}

/** Splits a script at the semicolons that stand outside of quotes and comments; comments and empty statements go. */
export function splitStatements(script: string): string[] {
  const statements: string[] = [];
  let current = '';
  // In this order: comment to the end of the line, block comment, quoted text with \ and doubled quotes, semicolon, anything else.
  const token =
    /--[^\n]*|\/\*[\s\S]*?\*\/|'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`|;|[\s\S]/g;
  for (const [part] of script.matchAll(token)) {
    if (part === ';') {
      if (current.trim() !== '') statements.push(current.trim());
      current = '';
    } else if (part.startsWith('--') || part.startsWith('/*')) current += ' ';
    else current += part;
  }
  if (current.trim() !== '') statements.push(current.trim());
  return statements;
}
