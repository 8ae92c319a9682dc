/** The table of all operations in docs/api.md, made from the OpenAPI document of a running program. */
import Type from 'typebox';
import { Value } from 'typebox/value';

const Operation = Type.Object({
  summary: Type.String(),
  tags: Type.Array(Type.String()),
  'x-access': Type.String(),
  'x-rate-limit-bucket': Type.String(),
});
const Document = Type.Object({ paths: Type.Record(Type.String(), Type.Record(Type.String(), Operation)) });

const HEAD = `# API

Every operation, made from the declarations of the routes by \`npm run docs:api\`; a test compares this page with the running program.
The program describes itself at \`/docs\` (for people) and \`/api/v1/openapi.json\` (OpenAPI 3.1, for programs). *Who* is \`public\`, a signed-in
\`account\`, an instance \`admin\`, or what an account must be allowed on the website (\`site:read\`, \`site:write\`, \`site:manage\`).
`;

/**
 * @param document as `/api/v1/openapi.json` answers it
 * @param missing routes of the original or its dashboard that have no answer here
 */
export function apiPage(document: unknown, missing: readonly string[]): string {
  if (!Value.Check(Document, document)) throw new Error('not the OpenAPI document');
  const tags = new Map<string, string[]>();
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const tag = operation.tags[0] ?? '';
      const row = `| ${method.toUpperCase()} | \`${path}\` | ${operation['x-access']} | ${operation['x-rate-limit-bucket']} | ${operation.summary} |`;
      tags.set(tag, [...(tags.get(tag) ?? []), row]);
    }
  }
  const sections = [...tags]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(
      ([tag, rows]) =>
        `## ${tag}\n\n| method | path | who | rate limit | what |\n| --- | --- | --- | --- | --- |\n${rows.join('\n')}\n`,
    );
  const gaps = missing.map((route) => `- \`${route}\``).join('\n');
  const tail =
    missing.length === 0
      ? ''
      : `\n## Not there yet\n\nRoutes that the original or its dashboard has and that answer 404 here:\n\n${gaps}\n`;
  return `${HEAD}\n${sections.join('\n')}${tail}`;
}
