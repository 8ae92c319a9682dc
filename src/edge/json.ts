/** JSON bodies of the API. Ingestion does not come here: its bytes are parsed in the pool. */
import { AppError } from '../errors.js';

const decoder = new TextDecoder();

/**
 * Parses a JSON body; an empty one counts as `{}`, so that validation names what is missing. Keys named `__proto__` are dropped.
 * @throws AppError `invalid_json` for broken JSON, `invalid_request` for text with NUL (which Postgres cannot hold)
 */
export function parseJson(bytes: Uint8Array): unknown {
  if (bytes.length === 0) return {};
  const text = decoder.decode(bytes);
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

function careful(key: string, value: unknown): unknown {
  if (key.includes('\0') || (typeof value === 'string' && value.includes('\0'))) {
    throw new AppError('invalid_request', 'Text must not contain NUL');
  }
  return key === '__proto__' ? undefined : value;
}
