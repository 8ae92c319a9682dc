/** An independent, naive look at sanitised events for anything that could run, load a frame or send something when played. */
import { isDeepStrictEqual } from 'node:util';
import { POLICY } from '../../src/replays/sanitise/policy.js';

const TAGS = new Set([
  ...[
    'script',
    'object',
    'embed',
    'applet',
    'base',
    'frame',
    'frameset',
    'portal',
    'fencedframe',
    'set',
    'bgsound',
    'webview',
  ],
]);
const ATTRIBUTES = new Set([
  ...[
    'srcdoc',
    'action',
    'formaction',
    'ping',
    'data',
    'code',
    'codebase',
    'archive',
    'classid',
    'manifest',
    'target',
    'download',
  ],
]);
const ADDRESSES = new Set(['href', 'xlink:href', 'src', 'poster', 'background', 'rr_src', 'rr_dataurl']);

/** A line for each thing found; none when all is well. */
export function forbidden(events: unknown): string[] {
  const found: string[] = [];
  walk(events, found);
  return found;
}

function walk(value: unknown, found: string[]): void {
  if (Array.isArray(value)) for (const entry of value) walk(entry, found);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return;
  const entries = new Map<string, unknown>(Object.entries(value));
  const tag = String(entries.get('tagName')).toLowerCase();
  const attributes = entries.get('attributes');
  if (TAGS.has(tag) || /[^a-z0-9.\-_]/.test(tag)) found.push(`element ${tag}`);
  if (typeof attributes === 'object' && attributes !== null && !Array.isArray(attributes))
    for (const [name, entry] of Object.entries(attributes))
      attribute(tag, name.toLowerCase(), entry, attributes, found);
  for (const [key, entry] of entries) if (key !== 'payload') walk(entry, found);
}

function attribute(tag: string, name: string, value: unknown, all: object, found: string[]): void {
  if (value === null) return; // Takes the attribute away.
  const say = () => found.push(`${tag}[${name}=${JSON.stringify(value)}]`);
  if (/^[^a-z]*on/.test(name) || ATTRIBUTES.has(name)) say();
  if (name === 'src' && tag === 'iframe') say();
  if (
    name === 'http-equiv' &&
    !/^\s*(content-type|x-ua-compatible|content-language)\s*$/i.test(String(value))
  ) {
    if (!isDeepStrictEqual(all, { 'http-equiv': 'content-security-policy', content: POLICY })) say();
  }
  if (typeof value !== 'string') return;
  const bare = value.replace(/[^\x21-\x7e]/g, '').toLowerCase();
  if (
    ADDRESSES.has(name) &&
    !/^(https?:|mailto:|tel:|sms:|#|about:blank$|data:(image|audio|video)\/|data:text\/css|$)/.test(bare)
  )
    say();
  if (name === 'style' && /expression\s*\(|-moz-binding|url\(\s*["']?\s*javascript:/i.test(value)) say();
  if (name === 'srcset' && /script:|text\/html/.test(bare)) say();
}
