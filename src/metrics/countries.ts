/** English names of countries and back. Stored is the ISO 3166-1 alpha-2 code only. */
const names = new Intl.DisplayNames(['en'], { type: 'region', fallback: 'none' });

/** Names that people and the dashboard use beside those of the Unicode data, lower case. */
const ALIASES = new Map<string, string>(
  Object.entries({
    usa: 'US',
    'united states of america': 'US',
    uk: 'GB',
    'great britain': 'GB',
    'czech republic': 'CZ',
    turkey: 'TR',
    türkiye: 'TR',
    macedonia: 'MK',
    swaziland: 'SZ',
    burma: 'MM',
    myanmar: 'MM',
    'ivory coast': 'CI',
    'cape verde': 'CV',
    'hong kong': 'HK',
    macau: 'MO',
    macao: 'MO',
    'south korea': 'KR',
    'north korea': 'KP',
    'russian federation': 'RU',
    palestine: 'PS',
    'democratic republic of the congo': 'CD',
    'republic of the congo': 'CG',
    'bosnia and herzegovina': 'BA',
    'trinidad and tobago': 'TT',
    'antigua and barbuda': 'AG',
    'saint lucia': 'LC',
  }),
);

/** Label of a missing value in every list. */
export const UNKNOWN = 'Unknown';

/** English name of a code; the code itself when it has none; `Unknown` for ''. */
export function countryName(code: string): string {
  if (code === '') return UNKNOWN;
  if (!/^[A-Z]{2}$/.test(code)) return code;
  return names.of(code) ?? code;
}

/** All assigned codes with their lower-cased English names. */
const byCode: ReadonlyMap<string, string> = new Map(
  Array.from({ length: 26 * 26 }, (_, i) =>
    String.fromCharCode(65 + Math.floor(i / 26), 65 + (i % 26)),
  ).flatMap((code): [string, string][] => {
    const name = names.of(code);
    // Codes of the past (DD) share the name of what replaced them.
    const current = Intl.getCanonicalLocales(`und-${code}`)[0] === `und-${code}`;
    return name === undefined || code === 'ZZ' || !current ? [] : [[code, name.toLowerCase()]];
  }),
);

/** Codes meant by a name or code, any case; '' for `Unknown`. A text that is neither stands for itself, so that it matches nothing else. */
export function countryCodes(nameOrCode: string): string[] {
  const wanted = nameOrCode.toLowerCase();
  const alias = ALIASES.get(wanted);
  const codes = [...byCode].filter(([code, name]) => name === wanted || code.toLowerCase() === wanted);
  const found = codes.map(([code]) => code);
  if (alias !== undefined && !found.includes(alias)) found.push(alias);
  if (wanted === UNKNOWN.toLowerCase()) found.push('');
  return found.length > 0 ? found : [nameOrCode.toUpperCase()];
}

/** Codes whose English name contains the text, any case. */
export function countryCodesContaining(text: string): string[] {
  const wanted = text.toLowerCase();
  const found = [...byCode].filter(([, name]) => name.includes(wanted)).map(([code]) => code);
  if (UNKNOWN.toLowerCase().includes(wanted)) found.push('');
  return found;
}
