/** Longest texts that are kept, in UTF-16 units. */
export const TEXT_LIMITS = {
  url: 2048,
  userAgent: 512,
  id: 255,
  label: 255,
  title: 512,
  language: 35,
} as const;

/** Cuts a text to `limit` UTF-16 units without leaving half a surrogate pair at the end. */
export function cut(text: string, limit: number): string {
  if (text.length <= limit) return text;
  const last = text.charCodeAt(limit - 1);
  return text.slice(0, last >= 0xd800 && last < 0xdc00 ? limit - 1 : limit);
}

/**
 * The same text in memory of its own, to be remembered: V8 makes a part of a longer text as a reference into it, which keeps all of that alive.
 */
export function detached(text: string): string {
  return Buffer.from(text, 'utf16le').toString('utf16le');
}

/**
 * Replaces the NUL escapes of JSON text by U+FFFD before it is parsed, so that no string or key behind it holds one (neither store takes
 * them). Taken out, they could leave halves of another that join. An escaped backslash followed by `u0000` is not one.
 */
export function withoutNulEscapes(json: string): string {
  if (!json.includes('\\u0000')) return json;
  return json.replace(/\\(\\|u0000)/g, (match, next: string) => (next === '\\' ? match : '\ufffd'));
}

/**
 * Replaces the escapes that JSON.stringify writes for lone surrogates by U+FFFD; pairs are never escaped by it.
 * @param json text made by JSON.stringify
 */
export function withoutLoneSurrogates(json: string): string {
  if (!json.includes('\\ud')) return json;
  return json.replace(/\\(\\|ud[89a-f][0-9a-f]{2})/g, (match, next: string) =>
    next === '\\' ? match : '\ufffd',
  );
}
