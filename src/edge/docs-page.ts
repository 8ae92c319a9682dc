/** The API for people: one page made from the routes, without scripts, so that it works offline and can leak nothing. */
import type { TObject, TSchema } from 'typebox';
import { exampleOf } from './examples.js';
import type { AnyRoute } from './route.js';

const STYLE = `body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2330;background:#fff}
code,pre{font:13px/1.45 ui-monospace,monospace;background:#f3f5f8;border-radius:4px}code{padding:.1em .3em}pre{padding:.7em;overflow:auto}
details{border:1px solid #dde2ea;border-radius:6px;margin:.4rem 0;padding:.4rem .7rem}summary{cursor:pointer}table{border-collapse:collapse}
td,th{text-align:left;padding:.15rem .8rem .15rem 0;vertical-align:top}.m{display:inline-block;min-width:4.2em;font-weight:600}nav a{margin-right:.8em}
@media(prefers-color-scheme:dark){body{background:#14181f;color:#dfe4ec}code,pre{background:#1f2530}details{border-color:#333c4a}a{color:#8ab4ff}}`;

const ACCESS: Readonly<Record<string, string>> = {
  public: 'anybody',
  account: 'signed-in accounts',
  admin: 'instance admins',
};

/** @returns an HTML document */
export function docsPage(routes: readonly AnyRoute[], version: string): string {
  const tags = [...new Set(routes.map((route) => route.tag))];
  const sections = tags.map((tag) => {
    const own = routes.filter((route) => route.tag === tag);
    return `<h2 id="${id(tag)}">${text(tag)}</h2>${own.map(operation).join('')}`;
  });
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>Seentics Core API</title><style>${STYLE}</style></head><body>
<h1>Seentics Core API</h1><p>Version ${text(version)}, ${routes.length} operations. For programs: <a href="/api/v1/openapi.json">openapi.json</a>.
Sign in with <code>POST /api/v1/user/auth/login</code> and send the access token as <code>Authorization: Bearer …</code>.
Errors carry <code>error</code>, <code>message</code> and a stable <code>code</code>; a POST may carry an <code>Idempotency-Key</code>.</p>
<nav>${tags.map((tag) => `<a href="#${id(tag)}">${text(tag)}</a>`).join('')}</nav>
${sections.join('\n')}</body></html>`;
}

function operation(route: AnyRoute): string {
  const { access } = route;
  const who = typeof access === 'string' ? (ACCESS[access] ?? access) : `who may ${access.site} the website`;
  return `<details><summary><span class="m">${route.method}</span> <code>${text(route.path)}</code> ${text(route.summary)}</summary>
<p>For ${text(who)}.</p>${parameters('Path', route.params)}${parameters('Query', route.query)}
${route.body === undefined ? '' : body('Body', route.body)}
${Object.entries(route.responses)
  .map(([status, schema]) => body(`Answer ${status}`, schema))
  .join('')}</details>`;
}

function parameters(title: string, schema: TObject): string {
  const required = new Set<string>(schema.required ?? []);
  const rows = Object.entries(schema.properties).map(([name, property]) => {
    const about = annotation(property, 'description');
    return `<tr><td><code>${text(name)}</code></td><td>${required.has(name) ? 'required' : ''}</td><td>${text(about)}</td></tr>`;
  });
  return rows.length === 0 ? '' : `<h4>${title}</h4><table>${rows.join('')}</table>`;
}

function body(title: string, schema: TSchema): string {
  const about = annotation(schema, 'description');
  const type = annotation(schema, 'contentMediaType');
  const example =
    type === '' ? `<pre>${text(JSON.stringify(exampleOf(schema), null, 2))}</pre>` : `<p>${text(type)}</p>`;
  return `<h4>${text(title)}</h4>${about === '' ? '' : `<p>${text(about)}</p>`}${example}`;
}

function annotation(schema: TSchema, name: string): string {
  const found = Object.entries(schema).find(([key]) => key === name)?.[1];
  return typeof found === 'string' ? found : '';
}

const id = (tag: string): string => tag.toLowerCase().replace(/\W+/g, '-');

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const text = (value: string): string => value.replace(/[&<>"]/g, (sign) => ENTITIES[sign] ?? sign);
