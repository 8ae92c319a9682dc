/** UTM values and click ids: explicit fields first, then the query of the page's URL. */
import { cut, TEXT_LIMITS } from './text.js';

export interface Campaign {
  readonly source: string;
  readonly medium: string;
  readonly campaign: string;
  readonly term: string;
  readonly content: string;
  /** Parameter name of the click id, '' when none. */
  readonly clickIdName: string;
  readonly clickId: string;
}

/** The event's own fields, '' when not given. */
export interface ExplicitUtm {
  readonly utm_source: string;
  readonly utm_medium: string;
  readonly utm_campaign: string;
  readonly utm_term: string;
  readonly utm_content: string;
}

export const NO_CAMPAIGN: Campaign = {
  source: '',
  medium: '',
  campaign: '',
  term: '',
  content: '',
  clickIdName: '',
  clickId: '',
};

const CLICK_IDS = [
  'gclid',
  'gbraid',
  'wbraid',
  'msclkid',
  'fbclid',
  'ttclid',
  'twclid',
  'li_fat_id',
] as const;

const MARKED = /[?&](?:utm_|gclid|gbraid|wbraid|msclkid|fbclid|ttclid|twclid|li_fat_id)/i;
const WITH_CLICK_ID = /[?&](?:gclid|gbraid|wbraid|msclkid|fbclid|ttclid|twclid|li_fat_id)=/i;

/** Whether a query (with its `?`) names a campaign or a click; most do not, and need not be parsed. */
export function isMarked(query: string): boolean {
  return query.length > 4 && MARKED.test(query);
}

/** Whether a query carries a click id: its values are unique, so nothing made from it is worth caching. */
export function hasClickId(query: string): boolean {
  return WITH_CLICK_ID.test(query);
}

/** At most so many parameters of a query are looked at. */
const PARAMETER_LIMIT = 200;

/** Reads the campaign of an event. UTM values are lower-cased; the first of a repeated parameter counts. */
export function parseCampaign(query: string, explicit: ExplicitUtm): Campaign {
  const found = isMarked(query) ? parameters(query) : NO_PARAMETERS;
  const clickIdName = CLICK_IDS.find((name) => (found.get(name) ?? '') !== '') ?? '';
  return {
    source: label(explicit.utm_source || found.get('utm_source')),
    medium: label(explicit.utm_medium || found.get('utm_medium')),
    campaign: label(explicit.utm_campaign || found.get('utm_campaign')),
    term: label(explicit.utm_term || found.get('utm_term')),
    content: label(explicit.utm_content || found.get('utm_content')),
    clickIdName,
    clickId: clickIdName === '' ? '' : cut(found.get(clickIdName) ?? '', TEXT_LIMITS.id),
  };
}

const NO_PARAMETERS: ReadonlyMap<string, string> = new Map();

function parameters(query: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const pair of query.slice(1).split('&', PARAMETER_LIMIT)) {
    const equals = pair.indexOf('=');
    if (equals <= 0) continue;
    const name = pair.slice(0, equals).toLowerCase();
    if (!found.has(name)) found.set(name, decode(pair.slice(equals + 1)));
  }
  return found;
}

function decode(text: string): string {
  const spaced = text.replaceAll('+', ' ');
  if (!spaced.includes('%')) return spaced;
  try {
    return decodeURIComponent(spaced).replaceAll('\u0000', '');
  } catch {
    return spaced;
  }
}

function label(text: string | undefined): string {
  return text === undefined ? '' : cut(text.trim().toLowerCase(), TEXT_LIMITS.label);
}
