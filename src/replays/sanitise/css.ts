/** Style sheets cannot run in any browser that rrweb's player supports; the words that once could are taken out all the same. */

const HEXADECIMAL = /[0-9a-f]/i;
/** A quick look first: hardly any sheet has one of these words. */
const WORDS = /expression|-moz-binding|behavior|script|text\/html/i;
const RUNNING = [
  [/expression(?=\s{0,16}\()/gi, 'removed'],
  [/-moz-binding/gi, '-removed'],
  // `scroll-behavior` and `overscroll-behavior` are of today.
  [/(?<![-\w])behavior(?=\s{0,16}:)/gi, 'removed'],
  [/(url\(\s{0,16}["']?\s{0,16}|@import\s{0,16}["']\s{0,16})(?:java|vb|live)script\s{0,16}:/gi, '$1removed:'],
  [/(url\(\s{0,16}["']?\s{0,16}|@import\s{0,16}["']\s{0,16})data:text\/html/gi, '$1removed:'],
] as const;

/** CSS without expressions, bindings, behaviours and addresses that run; the very same text when it has none. */
export function safeCss(css: string): string {
  const direct = WORDS.test(css) ? withoutRunning(css) : css;
  if (!direct.includes('\\') && !direct.includes('/*')) return direct;
  const plain = unescaped(direct);
  if (!WORDS.test(plain) || withoutRunning(plain) === plain) return direct;
  // Only what was disguised differs here; who disguises such words loses his escapes and comments.
  return withoutRunning(plain.replaceAll('\\', '').replaceAll('/*', ' '));
}

function withoutRunning(css: string): string {
  let safe = css;
  for (const [words, instead] of RUNNING) safe = safe.replace(words, instead);
  return safe;
}

/** CSS without comments and with its escapes resolved, in one pass. */
function unescaped(css: string): string {
  const parts: string[] = [];
  let from = 0;
  let at = 0;
  let backslash = 0;
  let comment = 0;
  while (at < css.length) {
    if (backslash !== -1 && backslash <= at) backslash = css.indexOf('\\', at);
    if (comment !== -1 && comment <= at) comment = css.indexOf('/*', at);
    if (backslash === -1 && comment === -1) break;
    if (comment !== -1 && (backslash === -1 || comment < backslash)) {
      parts.push(css.slice(from, comment));
      const end = css.indexOf('*/', comment + 2);
      at = end === -1 ? css.length : end + 2;
    } else {
      parts.push(css.slice(from, backslash));
      let end = backslash + 1;
      while (end < css.length && end - backslash <= 6 && HEXADECIMAL.test(css.charAt(end))) end++;
      if (end === backslash + 1) {
        parts.push(css.charAt(end));
        at = end + 1;
      } else {
        const code = Number.parseInt(css.slice(backslash + 1, end), 16);
        parts.push(code > 0x10ffff ? '' : String.fromCodePoint(code));
        at = end + (/\s/.test(css.charAt(end)) ? 1 : 0);
      }
    }
    from = at;
  }
  parts.push(css.slice(from));
  return parts.join('');
}
