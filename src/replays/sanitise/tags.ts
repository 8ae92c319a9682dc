/** Which elements may be built when a recording is played. */

const words = (text: string) => text.trim().split(/\s+/);

const HTML = words(`
  html head body title meta link style noscript
  article section nav aside h1 h2 h3 h4 h5 h6 hgroup header footer main address search
  p hr pre blockquote ol ul menu li dl dt dd figure figcaption div center dir listing
  a em strong small s cite q dfn abbr ruby rb rt rtc rp data time code var samp kbd sub sup i b u mark bdi bdo span br wbr
  big tt strike font nobr acronym marquee blink
  ins del picture source img iframe video audio track map area canvas
  table caption colgroup col tbody thead tfoot tr td th
  form label input button select datalist optgroup option selectedcontent textarea output progress meter fieldset legend
  details summary dialog slot template
`);

const SVG = words(`
  svg g defs symbol use switch desc metadata path rect circle ellipse line polyline polygon text tspan textpath tref
  image foreignobject view marker pattern mask clippath lineargradient radialgradient stop
  filter feblend fecolormatrix fecomponenttransfer fecomposite feconvolvematrix fediffuselighting fedisplacementmap
  fedistantlight fedropshadow feflood fefunca fefuncb fefuncg fefuncr fegaussianblur feimage femerge femergenode
  femorphology feoffset fepointlight fespecularlighting fespotlight fetile feturbulence
  animate animatemotion animatetransform animatecolor mpath
  font-face glyph missing-glyph hkern vkern altglyph altglyphdef altglyphitem glyphref cursor color-profile
`);

const MATHML = words(`
  math mi mn mo ms mtext mspace mrow mfrac msqrt mroot mstyle merror mpadded mphantom mfenced menclose msub msup msubsup
  munder mover munderover mmultiscripts mprescripts mtable mtr mtd mlabeledtr maligngroup malignmark semantics annotation
`);

/** Elements that SVG and HTML share; all others of the HTML list are never built as SVG. */
const SHARED = new Set(['a', 'style', 'title', 'noscript', 'font']);

const HTML_TAGS = new Set(HTML);
const KNOWN = new Set([...HTML, ...SVG, ...MATHML]);
/** Never shown, so what stands in for it is not shown either. */
const UNSEEN = new Set(['script', 'base', 'basefont', 'bgsound', 'param']);
/** Custom elements: the platform gives no meaning to a name with a hyphen. */
const CUSTOM = /^[a-z][a-z0-9._]*-[a-z0-9._-]*$/;

/**
 * The element that is built for a recorded tag: itself when it is known to be harmless; `noscript` (which the player hides) for scripts,
 * as rrweb itself does; `span` for everything else (objects, embeds, frames of framesets, what browsers will invent).
 */
export function safeTag(recorded: string): string {
  const tag = recorded.toLowerCase();
  if (KNOWN.has(tag) || (tag.length <= 128 && CUSTOM.test(tag))) return tag;
  return UNSEEN.has(tag) ? 'noscript' : 'span';
}

/** Whether a (safe) tag may be built in the SVG namespace. */
export const mayBeSvg = (tag: string): boolean => SHARED.has(tag) || !HTML_TAGS.has(tag);

/** Names with a hyphen that are elements of SVG and MathML: defining them, or giving them a shadow root, throws. */
const RESERVED = new Set(
  words(
    'annotation-xml color-profile font-face font-face-src font-face-uri font-face-format font-face-name missing-glyph',
  ),
);

/** Custom element names, the only ones that the player defines as such. */
export const isCustomName = (tag: string): boolean => CUSTOM.test(tag) && !RESERVED.has(tag);
