/** JSON bodies of the API. Ingestion does not come here: its bytes are parsed in the pool. */
import { AppError } from '../errors.js';

const decoder = new TextDecoder();

/** Values within values. The deepest that a form of the dashboard sends is a tenth of it; writing JSON again fails at some thousands. */
const MAX_DEPTH = 200;

/**
 * Parses a JSON body; an empty one counts as `{}`, so that validation names what is missing. Keys named `__proto__` are dropped.
 * @throws AppError `invalid_json` for broken JSON, `invalid_request` for text with NUL (which Postgres cannot hold) and for what is nested
 * too deeply
 */
export function parseJson(bytes: Uint8Array): unknown {
  if (bytes.length === 0) return {};
  const text = decoder.decode(bytes);
  if (isTooDeep(text))
    throw new AppError('invalid_request', `JSON must not be nested deeper than ${MAX_DEPTH}`);
  try {
    // Escapes can spell a key or a NUL in many ways, so any control or ASCII escape takes the careful way.
    return text.includes('__proto__') || text.includes('\\u00')
      ? JSON.parse(text, careful)
      : JSON.parse(text);
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw new AppError('invalid_json', 'Request body is not valid JSON', { cause: error });
  }
}

/** Looks at brackets outside of strings; what is no JSON may be called either. */
function isTooDeep(text: string): boolean {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case 0x22:
        at = endOfString(text, at + 1);
        break;
      case 0x5b:
      case 0x7b:
        if (++depth > MAX_DEPTH) return true;
        break;
      case 0x5d:
      case 0x7d:
        depth--;
    }
  }
  return false;
}

/** @returns where the closing quote is, or behind the text's end */
function endOfString(text: string, start: number): number {
  for (let at = start; ; ) {
    const quote = text.indexOf('"', at);
    if (quote === -1) return text.length;
    let backslashes = 0;
    while (text.charCodeAt(quote - 1 - backslashes) === 0x5c && quote - backslashes > start) backslashes++;
    if (backslashes % 2 === 0) return quote;
    at = quote + 1;
  }
}

function careful(key: string, value: unknown): unknown {
  if (key.includes('\0') || (typeof value === 'string' && value.includes('\0'))) {
    throw new AppError('invalid_request', 'Text must not contain NUL');
  }
  return key === '__proto__' ? undefined : value;
}
