import { cut, TEXT_LIMITS } from './text.js';

const TAG = /^[a-z]{2,8}(?:[-_][a-z0-9]{1,8})*$/i;

/** BCP 47 tag with its usual letter case (`en-US`, `zh-Hant-TW`), so that browsers' spellings count together; '' when it is none. */
export function normaliseLanguage(text: string): string {
  if (text === '' || text === 'en-US') return text;
  const tag = cut(text.trim(), TEXT_LIMITS.language);
  if (!TAG.test(tag)) return '';
  const [language = '', ...rest] = tag.split(/[-_]/);
  return [language.toLowerCase(), ...rest.map(subtag)].join('-');
}

function subtag(part: string): string {
  if (part.length === 2) return part.toUpperCase();
  if (part.length === 4) return `${part.charAt(0).toUpperCase()}${part.slice(1).toLowerCase()}`;
  return part.toLowerCase();
}
