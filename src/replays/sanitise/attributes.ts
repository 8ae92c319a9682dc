/** Which attributes an element keeps when it is played. */
import { safeCss } from './css.js';
import { isObject, type Json, type Scrub } from './scrub.js';
import { isImageData, isSafeUrl, safeSrcset, type UrlUse } from './urls.js';

export type Attribute = string | number | boolean | null | Json;

/** What is decided about a name once, whatever element it stands on. */
type Rule =
  | 'keep'
  | 'drop'
  | 'url'
  | 'srcset'
  | 'css'
  | 'equivalent'
  | 'relation'
  | 'name'
  | 'animated'
  | 'targeted'
  | 'picture'
  | 'length'
  | 'media'
  | 'dialog'
  /** A name that no standard knows: stays with a value that can be neither address nor code. */
  | 'unknown';

const words = (text: string) => text.trim().split(/\s+/);

const RULES = new Map<string, Rule>();
const rule = (kind: Rule, names: string) => {
  for (const name of words(names)) RULES.set(name, kind);
};

rule(
  'keep',
  `class title lang dir role tabindex hidden slot part exportparts draggable spellcheck translate inert popover inputmode enterkeyhint
  width height align valign bgcolor border cellpadding cellspacing color face size span colspan rowspan headers scope abbr rules frame
  summary nowrap noshade clear compact start reversed type hspace vspace char charoff axis link vlink alink text marginheight marginwidth
  topmargin leftmargin scrolling frameborder allowfullscreen
  alt loading decoding sizes media charset content property itemprop itemscope itemtype itemid itemref hreflang datetime open label for
  value placeholder checked selected disabled readonly required multiple min max step minlength maxlength pattern rows cols wrap low high
  optimum autocomplete autocapitalize contenteditable list form controls loop muted autoplay playsinline preload volume kind srclang default
  coords shape ismap as crossorigin
  d x y x1 y1 x2 y2 cx cy r rx ry fx fy fr dx dy points pathlength transform viewbox preserveaspectratio version baseprofile xmlns
  fill stroke opacity mask filter clip cursor display visibility overflow offset gradientunits gradienttransform spreadmethod
  patternunits patterncontentunits patterntransform maskunits maskcontentunits clippathunits markerunits markerwidth markerheight refx
  refy orient lengthadjust textlength rotate startoffset method spacing in in2 result operator k1 k2 k3 k4 k stddeviation mode
  tablevalues slope intercept amplitude exponent surfacescale diffuseconstant specularconstant specularexponent kernelunitlength order
  kernelmatrix divisor bias targetx targety edgemode preservealpha scale xchannelselector ychannelselector radius basefrequency
  numoctaves seed stitchtiles azimuth elevation z pointsatx pointsaty pointsatz limitingconeangle primitiveunits filterunits filterres
  dur begin end repeatcount repeatdur calcmode keytimes keysplines keypoints additive accumulate restart attributetype path origin
  systemlanguage requiredfeatures zoomandpan direction mathvariant displaystyle scriptlevel stretchy symmetric fence separator
  linethickness rowalign columnalign xmlns:xlink xml:lang xml:space xlink:type xlink:title xlink:role xlink:show
  rr_scrollLeft rr_scrollTop`,
);
rule(
  'drop',
  `srcdoc action formaction data code codebase archive classid manifest ping target formtarget download nonce integrity sandbox allow csp
  credentialless autofocus accesskey attributionsrc shadowrootmode usemap longdesc profile is lowsrc dynsrc datasrc cite
  command commandfor popovertarget formenctype formmethod formnovalidate enctype imagesrcset blocking fetchpriority
  __proto__ xml:base ev:event xlink:actuate handler event`,
);
rule('url', 'href xlink:href src poster background rr_src');
rule('srcset', 'srcset');
rule('css', 'style _cssText');
rule('equivalent', 'http-equiv');
rule('relation', 'rel rev');
rule('name', 'name id');
rule('animated', 'values from to by');
rule('targeted', 'attributename');
rule('picture', 'rr_dataURL');
rule('length', 'rr_width rr_height');
rule(
  'media',
  'rr_mediaState rr_mediaCurrentTime rr_mediaPlaybackRate rr_mediaMuted rr_mediaLoop rr_mediaVolume',
);
rule('dialog', 'rr_open_mode');

const CACHE_LIMIT = 5_000;
/** Rules of names met before, as written; cleared when hostile names fill it. */
const cache = new Map<string, Rule>();

function ruleOf(name: string): Rule {
  const known = cache.get(name);
  if (known !== undefined) return known;
  if (cache.size >= CACHE_LIMIT) cache.clear();
  const found = decide(name);
  cache.set(name, found);
  return found;
}

/** Names as rrweb and HTML write them; others the DOM refuses. */
const NAME = /^[^\s"'<>/=\p{Cc}]{1,200}$/u;
/** Nothing in front of `on` can be ignored by a browser, but nobody needs such names. */
const HANDLER = /^[^a-z]*on/;

function decide(name: string): Rule {
  const exact = RULES.get(name);
  if (exact !== undefined) return exact;
  const lower = name.toLowerCase();
  if (!NAME.test(name) || HANDLER.test(lower) || lower.startsWith('rr_')) return 'drop';
  const known = RULES.get(lower);
  if (known !== undefined) return known;
  const local = lower.slice(lower.lastIndexOf(':') + 1);
  if (local !== lower && (RULES.get(local) ?? 'keep') !== 'keep') return 'drop';
  // No standard gives a meaning to other names with a hyphen or an underscore (data-, aria-, _ngcontent-) but presentation ones of SVG.
  return /[-_]/.test(lower) ? 'keep' : 'unknown';
}

const PLAIN_VALUE = /^[\w\s.,%#+()-]{0,256}$/;
const LENGTH = /^[\d.]{1,20}(?:px|%|em|rem|vh|vw)?$/;
const EQUIVALENTS = new Set(['content-type', 'x-ua-compatible', 'content-language']);
/** Relations that load a style or an icon, or nothing at all. */
const RELATIONS = new Set(
  words(`stylesheet alternate icon shortcut apple-touch-icon apple-touch-icon-precomposed mask-icon fluid-icon canonical author license
  help search next prev first last up index contents home me tag bookmark nofollow noopener noreferrer external ugc sponsored opener
  shortlink amphtml privacy-policy terms-of-service profile`),
);
/** Members of nodes that the player calls: an element of such a name or id would stand before them on its form or document. */
const CLOBBERING = new Set(
  words(`createElement createElementNS createTextNode createComment createCDATASection implementation open close write documentElement
  head fonts defaultView adoptedStyleSheets getElementsByTagName getElementById querySelector querySelectorAll getSelection childNodes
  children appendChild insertBefore removeChild replaceChild parentNode parentElement nextSibling previousSibling firstChild lastChild
  contains getRootNode setAttribute setAttributeNS removeAttribute getAttribute hasAttribute attributes nodeName nodeType tagName
  textContent classList shadowRoot attachShadow ownerDocument sheet scrollTo dispatchEvent addEventListener __proto__ constructor`),
);
/** Rules whose values can only be text. */
const TEXTUAL: ReadonlySet<Rule> = new Set<Rule>(['url', 'srcset', 'picture', 'equivalent', 'relation']);
/** Elements that show an SVG picture as a picture, which runs nothing. */
const PICTURES = new Set(['img', 'image', 'feimage', 'source', 'video', 'audio', 'track', 'input', 'link']);
const DRAWING = new Set([
  'use',
  'mpath',
  'textpath',
  'lineargradient',
  'radialgradient',
  'pattern',
  'filter',
]);

function urlUse(tag: string | undefined, name: string): UrlUse {
  if (name === 'src' || name === 'poster' || name === 'background' || name === 'rr_src') return 'load';
  if (tag === undefined) return 'link';
  if (DRAWING.has(tag)) return 'reference';
  return PICTURES.has(tag) ? 'load' : 'link';
}

/**
 * The value that an attribute keeps; undefined when it goes.
 * @param tag what the attribute stands on (a safe tag); undefined where a mutation names an element of another chunk
 */
export function safeAttribute(tag: string | undefined, name: string, value: unknown): Attribute | undefined {
  const kind = ruleOf(name);
  if (kind === 'drop') return undefined;
  if (kind === 'media') return tag === 'video' || tag === 'audio' ? safeMedia(name, value) : undefined;
  if (value === null) return null;
  if (typeof value === 'boolean') return TEXTUAL.has(kind) ? undefined : value;
  if (typeof value === 'number') return Number.isFinite(value) && !TEXTUAL.has(kind) ? value : undefined;
  if (typeof value !== 'string') return kind === 'css' ? safeStyle(value) : undefined;
  switch (kind) {
    case 'keep':
      return value;
    case 'unknown':
      return PLAIN_VALUE.test(value) ? value : undefined;
    case 'css':
      return safeCss(value);
    case 'url':
      return isSafeUrl(value, urlUse(tag, name.toLowerCase())) ? value : undefined;
    case 'srcset':
      return safeSrcset(value) === value ? value : undefined;
    case 'equivalent':
      return EQUIVALENTS.has(value.trim().toLowerCase()) ? value : undefined;
    case 'relation':
      return value.split(/\s+/).every((word) => word === '' || RELATIONS.has(word.toLowerCase()))
        ? value
        : undefined;
    case 'name':
      return CLOBBERING.has(value) ? `_${value}` : value;
    case 'animated':
      // Numbers, colours, paths; every address has a colon.
      return /[:&]/.test(value) ? undefined : value;
    case 'targeted':
      return /href|src|style|^\s*on/i.test(value) ? undefined : value;
    case 'picture':
      return isImageData(value) ? value : undefined;
    case 'dialog':
      return tag === undefined || tag === 'dialog' ? value : undefined;
    case 'length':
      return LENGTH.test(value) ? value : undefined;
  }
}

/** The player sets the state of media without looking; what is out of range would throw. */
function safeMedia(name: string, value: unknown): Attribute | undefined {
  if (typeof value === 'boolean' || value === 'played' || value === 'paused') return value;
  if (typeof value !== 'number' || !Number.isFinite(value)) return undefined;
  if (name === 'rr_mediaVolume') return safeVolume(value);
  return name === 'rr_mediaPlaybackRate' ? safeRate(value) : value;
}

export const safeVolume = (volume: number): number => Math.min(1, Math.max(0, volume));
/** Within what Chromium takes. */
export const safeRate = (rate: number): number => Math.min(16, Math.max(0.0625, rate));

const PROPERTY = /^[-\w]{1,100}$/;

/** Changes of an inline style, `{property: value | [value, priority] | false}`. */
function safeStyle(value: unknown): Json | undefined {
  if (!isObject(value)) return undefined;
  const safe: Json = {};
  for (const [property, entry] of Object.entries(value)) {
    if (!PROPERTY.test(property) || property === '__proto__') continue;
    if (entry === false) safe[property] = false;
    else if (typeof entry === 'string') safe[property] = safeDeclaration(property, entry);
    else if (Array.isArray(entry) && typeof entry[0] === 'string')
      safe[property] = [safeDeclaration(property, entry[0]), entry[1] === 'important' ? 'important' : ''];
  }
  return safe;
}

/** The value of one declaration; '' for the properties that once ran scripts. */
export function safeDeclaration(property: string, value: string): string {
  return /^(?:-moz-binding|behavior)$/i.test(property) ? '' : safeCss(value);
}

/** All attributes of an element, in their order. */
export function safeAttributes(scrub: Scrub, tag: string | undefined, attributes: Json): Json {
  const safe: Json = {};
  for (const name in attributes) {
    const value = safeAttribute(tag, name, attributes[name]);
    if (value === undefined) scrub.removed++;
    else safe[name] = value;
  }
  return safe;
}
