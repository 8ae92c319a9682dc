/** Which addresses an element may point to when it is played: pictures, styles and media of the web, nothing that runs. */

const SCHEME = /^([a-z][a-z0-9+.-]*):/;
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

/**
 * The beginning of an address, in lower case. Browsers cut controls and spaces in front of it and line ends and tabs within (URL
 * standard); what hides its scheme behind the latter, or behind character references, has none of the allowed ones.
 */
function clean(url: string): string {
  let from = 0;
  while (from < url.length && url.charCodeAt(from) <= 0x20) from++;
  return url.slice(from, from + LONGEST_HEAD).toLowerCase();
}

const DESCRIPTOR = /^[\d.]+[wxh]$/;

/** A `srcset` all of whose addresses may be loaded; '' when one may not. */
export function safeSrcset(srcset: string): string {
  for (const token of srcset.split(/\s+/)) {
    const word = withoutCommas(token);
    if (word !== '' && !DESCRIPTOR.test(word) && !isSafeUrl(word, 'load')) return '';
  }
  return srcset;
}

function withoutCommas(text: string): string {
  let from = 0;
  let to = text.length;
  while (from < to && text[from] === ',') from++;
  while (to > from && text[to - 1] === ',') to--;
  return text.slice(from, to);
}
