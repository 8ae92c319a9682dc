/** Which pages of a site are recorded: the include and exclude patterns of its settings (heatmaps, replays). */

/** Patterns of one list that count; the rest is ignored. */
export const MAX_PATTERNS = 500;

export interface PageRules {
  /** @param page normalised path */
  allows(page: string): boolean;
}

/**
 * Rules of two lists, one pattern a line. `*` stands for any text, also none and also with slashes; a pattern fits the whole path, case
 * counts. `shop/cart/`, `/shop/cart` and `https://host/shop/cart?x=1` are the same pattern. Exclude wins; without include patterns all
 * pages are in.
 * @param include null, '' or blank lines: none
 */
export function pageRules(include: string | null, exclude: string | null): PageRules {
  const included = readPatterns(include);
  const excluded = readPatterns(exclude);
  const fits = (patterns: readonly PagePattern[], page: string) =>
    patterns.some((pattern) => pattern.matches(page));
  return {
    allows: (page) => (included.length === 0 || fits(included, page)) && !fits(excluded, page),
  };
}

function readPatterns(text: string | null): PagePattern[] {
  const patterns: PagePattern[] = [];
  for (const line of (text ?? '').split('\n')) {
    const pattern = line.trim();
    if (pattern !== '' && patterns.length < MAX_PATTERNS)
      patterns.push(new PagePattern(pathPattern(pattern)));
  }
  return patterns;
}

/** A pattern as people write it, brought to the form of a normalised path. */
function pathPattern(pattern: string): string {
  const afterHost = /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i.exec(pattern)?.[0].length ?? 0;
  const rest = pattern.slice(afterHost);
  const end = rest.search(/[?#]/);
  let path = end === -1 ? rest : rest.slice(0, end);
  while (path.length > 1 && path.endsWith('/')) path = path.slice(0, -1);
  return path.startsWith('/') || path.startsWith('*') ? path : `/${path}`;
}

/**
 * One pattern. Matching takes time in proportion to the lengths of path and pattern, whatever they are: the pieces between the stars are
 * looked for from left to right, each by its failure table (Knuth, Morris, Pratt), and the leftmost place of a piece is always as good
 * as any other.
 */
export class PagePattern {
  private readonly first: string;
  private readonly last: string;
  private readonly middle: readonly Needle[];
  private readonly hasStar: boolean;

  constructor(pattern: string) {
    const pieces = pattern.split('*');
    this.hasStar = pieces.length > 1;
    this.first = pieces[0] ?? '';
    this.last = this.hasStar ? (pieces.at(-1) ?? '') : '';
    this.middle = pieces
      .slice(1, -1)
      .filter((piece) => piece !== '')
      .map((piece) => new Needle(piece));
  }

  matches(path: string): boolean {
    if (!this.hasStar) return path === this.first;
    const end = path.length - this.last.length;
    if (this.first.length > end || !path.startsWith(this.first) || !path.endsWith(this.last)) return false;
    let at = this.first.length;
    for (const needle of this.middle) {
      at = needle.endIn(path, at, end);
      if (at === -1) return false;
    }
    return true;
  }
}

class Needle {
  /** Of each prefix, the length of the longest proper prefix of it that is also its end. */
  private readonly failure: Uint32Array;

  constructor(private readonly text: string) {
    this.failure = new Uint32Array(text.length);
    for (let i = 1, length = 0; i < text.length; i++) {
      length = this.extend(length, text.charCodeAt(i));
      this.failure[i] = length;
    }
  }

  /** Where the leftmost occurrence within [from, to) ends, -1 when there is none. */
  endIn(path: string, from: number, to: number): number {
    for (let i = from, length = 0; i < to; i++) {
      length = this.extend(length, path.charCodeAt(i));
      if (length === this.text.length) return i + 1;
    }
    return -1;
  }

  /** How much of the needle is matched after one more character. */
  private extend(matched: number, code: number): number {
    let length = matched;
    while (length > 0 && this.text.charCodeAt(length) !== code) length = this.failure[length - 1] ?? 0;
    return this.text.charCodeAt(length) === code ? length + 1 : 0;
  }
}
