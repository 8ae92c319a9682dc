/** Which addresses an element may point to when it is played: pictures, styles and media of the web, nothing that runs. */

/** What browsers cut out of an address before they look at its scheme (URL standard): C0 controls and spaces around, tabs and line ends within. */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Z}]/gu;
const SCHEME = /^([a-z][a-z0-9+.-]*):/;
/** A scheme that hides behind character references; attributes are set undecoded, but other readers of a snapshot might decode. */
const REFERENCES = /&(?:#x?[0-9a-f]+|colon|tab|newline);?/g;
const LONGEST_HEAD = 128;

const LOADED_DATA = ['data:image/', 'data:audio/', 'data:video/', 'data:text/css'];
const RASTER = /^data:image\/(?:png|jpe?g|gif|webp|avif|bmp|x-icon|vnd\.microsoft\.icon)[;,]/;

export type UrlUse =
  /** Where a click would lead. */
  | 'link'
  /** A picture, sound, film or style that is loaded. */
  | 'load'
  /** Something of the same SVG document, or a picture that cannot hold script. */
  | 'reference';

/**
 * Whether an address may stay. Relative ones may not (rrweb records absolute ones, and these would point at the dashboard), but fragments
 * and empty ones may.
 */
export function isSafeUrl(url: string, use: UrlUse): boolean {
  const head = clean(url);
  if (head === '' || head.startsWith('#')) return true;
  const scheme = SCHEME.exec(head)?.[1];
  switch (scheme) {
    case 'http':
    case 'https':
      return true;
    case 'mailto':
    case 'tel':
    case 'sms':
      return use === 'link';
    case 'about':
      return head === 'about:blank';
    case 'data':
      return use === 'load' ? LOADED_DATA.some((prefix) => head.startsWith(prefix)) : RASTER.test(head);
    default:
      return false;
  }
}

/** Whether an address is a picture written out, as rrweb records canvases and inlined images. */
export const isImageData = (url: string): boolean => RASTER.test(clean(url));

/** Whether a text names a scheme that runs anywhere in it; for values that are lists of addresses (`values` of an SVG animation). */
export function namesScript(text: string): boolean {
  const plain = withoutReferences(text.toLowerCase().replace(INVISIBLE, ''));
  return plain.includes('script:') || plain.includes('data:') || plain.includes('blob:');
}

/** The beginning of an address as a browser sees it, in lower case. */
function clean(url: string): string {
  let from = 0;
  // Padding is cut first, so that it cannot push the scheme out of what is looked at.
  while (from < url.length && url.charCodeAt(from) <= 0x20) from++;
  const head = url.slice(from, from + LONGEST_HEAD);
  const lower = head.toLowerCase();
  const visible = lower.replace(INVISIBLE, '');
  // An address that hides more than a character or two in its head hides its scheme.
  if (lower.length - visible.length > 8 && !/^(?:https?:|data:)/.test(lower)) return 'hidden:';
  return withoutReferences(visible);
}

function withoutReferences(text: string): string {
  if (!text.includes('&')) return text;
  return text.replace(REFERENCES, (reference) => {
    if (reference.startsWith('&colon')) return ':';
    if (!reference.startsWith('&#')) return '';
    const digits = reference.replace(/[&#;]/g, '');
    const code = digits.startsWith('x') ? Number.parseInt(digits.slice(1), 16) : Number.parseInt(digits, 10);
    return code > 0x20 && code < 0x10000 ? String.fromCharCode(code).toLowerCase() : '';
  });
}

const DESCRIPTOR = /^[\d.]+[wxh]$/;

/** A `srcset` all of whose addresses may be loaded; '' when one may not. */
export function safeSrcset(srcset: string): string {
  for (const token of srcset.split(/\s+/)) {
    const word = token.replace(/^,+|,+$/g, '');
    if (word !== '' && !DESCRIPTOR.test(word) && !isSafeUrl(word, 'load')) return '';
  }
  return srcset;
}
