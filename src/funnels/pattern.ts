/**
 * Patterns of funnel steps. They are matched by three engines: RE2 in ClickHouse, its port in this process (for Postgres), and the
 * browser's own in the tracker. So only the syntax that means the same to all three is taken, and all of it is matched in linear time.
 */
import { RE2JS } from 're2js';

export const PATTERN_LIMIT = 500;
/** RE2 refuses more in all, nested ones multiplied; so few keep the compiled pattern small, too. */
const MAX_REPEATS = 1_000;

const PUNCTUATION = '\\^$.|?*+()[]{}-/!"#%&\',:;<=>@_`~';
const ESCAPES = `${PUNCTUATION}dDwWsStnrfv`;
/** Word boundaries, which mean nothing inside a class. */
const OUTSIDE_ESCAPES = `${ESCAPES}bB`;

/** What is wrong with a pattern, as the end of a sentence about it; null when nothing is. */
export function patternProblem(pattern: string): string | null {
  if (pattern === '' || pattern.length > PATTERN_LIMIT) return `must have 1 to ${PATTERN_LIMIT} characters`;
  const problem = syntaxProblem(pattern);
  if (problem !== null) return problem;
  try {
    new RegExp(pattern);
    RE2JS.compile(pattern);
    return null;
  } catch {
    return 'is not a valid regular expression';
  }
}

/** A matcher of texts in which the pattern occurs. @param pattern one without problem */
export function compilePattern(pattern: string): (text: string) => boolean {
  const compiled = RE2JS.compile(pattern);
  return (text) => compiled.matcher(text).find();
}

function syntaxProblem(pattern: string): string | null {
  let repeats = 1;
  let inClass = false;
  for (let at = 0; at < pattern.length; at++) {
    const code = pattern.charCodeAt(at);
    const rest = pattern.slice(at, at + 12);
    if (code < 0x20 || code === 0x7f) return 'must not hold control characters';
    if (code >= 0xd800 && code < 0xe000) {
      // A pair is two characters to some engines and one to others.
      return 'must not hold characters beyond the basic plane';
    }
    if (rest[0] === '\\') {
      if (!(inClass ? ESCAPES : OUTSIDE_ESCAPES).includes(rest[1] ?? ' '))
        return `must not hold the escape ${rest.slice(0, 2)}`;
      at++;
    } else if (inClass) {
      if (rest[0] === '[') return 'must have \\[ for a bracket inside a class';
      if (rest[0] === ']') inClass = false;
    } else if (rest[0] === '[') {
      if (/^\[\^?\]/.test(rest)) return 'must not hold an empty class';
      inClass = true;
      if (rest[1] === '^') at++;
    } else if (rest.startsWith('(?') && rest[2] !== ':') {
      return 'must not hold look-around, flags or named groups';
    } else if (rest[0] === '{') {
      const [text, from = '', to = ''] = /^\{(\d{1,4})(?:,(\d{0,4}))?\}/.exec(rest) ?? [];
      if (text === undefined) return 'must have \\{ for a brace that is no repetition';
      repeats *= Math.max(1, Number(from), Number(to));
      if (repeats > MAX_REPEATS) return `must not repeat more than ${MAX_REPEATS} times in all`;
      at += text.length - 1;
    }
  }
  return null;
}
