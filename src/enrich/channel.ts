/** Channel of a visit: the rules of Google Analytics' default channel group, in the order of metrics.md. The first that fits wins. */
import { getDomainWithoutSuffix } from 'tldts';
import type { Campaign } from './campaign.js';
import { type SourceKind, sourceKind } from './channel-sources.js';

export type Channel =
  | 'Direct'
  | 'Cross-network'
  | 'Paid Shopping'
  | 'Paid Search'
  | 'Paid Social'
  | 'Paid Video'
  | 'Display'
  | 'Paid Other'
  | 'Organic Shopping'
  | 'Organic Social'
  | 'Organic Video'
  | 'Organic Search'
  | 'Email'
  | 'Affiliates'
  | 'Referral'
  | 'Audio'
  | 'SMS'
  | 'Mobile Push'
  | 'AI Assistant'
  | 'Unassigned';

interface Traffic {
  readonly source: string;
  readonly medium: string;
  readonly campaign: string;
  readonly kind: SourceKind | null;
}

const PAID = /^(?:.*cp.*|ppc|retargeting|paid.*)$/;
const SHOPPING_CAMPAIGN = /(?:(?:[^a-df-z]|^)shop|shopping)/;
const EMAIL = /^e[-_ ]?mail$/;
const SOCIAL_MEDIA = new Set([
  'social',
  'social-network',
  'social-media',
  'sm',
  'social network',
  'social media',
]);
const DISPLAY_MEDIA = new Set(['display', 'banner', 'expandable', 'interstitial', 'cpm']);
const REFERRAL_MEDIA = new Set(['referral', 'app', 'link']);
const AI_MEDIA = new Set(['ai', 'ai-assistant', 'ai_assistant', 'ai assistant']);

const isPaid = (t: Traffic) => PAID.test(t.medium);
const isShopping = (t: Traffic) => t.kind === 'shopping' || SHOPPING_CAMPAIGN.test(t.campaign);

const RULES: readonly (readonly [Channel, (t: Traffic) => boolean])[] = [
  [
    'Direct',
    (t) => t.source === '(direct)' && t.campaign === '' && (t.medium === '' || t.medium === '(none)'),
  ],
  ['Cross-network', (t) => t.campaign.includes('cross-network')],
  ['Paid Shopping', (t) => isPaid(t) && isShopping(t)],
  ['Paid Search', (t) => isPaid(t) && t.kind === 'search'],
  ['Paid Social', (t) => isPaid(t) && t.kind === 'social'],
  ['Paid Video', (t) => isPaid(t) && t.kind === 'video'],
  ['Display', (t) => DISPLAY_MEDIA.has(t.medium)],
  ['Paid Other', isPaid],
  ['Organic Shopping', isShopping],
  ['Organic Social', (t) => t.kind === 'social' || SOCIAL_MEDIA.has(t.medium)],
  ['Organic Video', (t) => t.kind === 'video' || t.medium.includes('video')],
  ['Organic Search', (t) => t.kind === 'search' || t.medium === 'organic'],
  ['Email', (t) => EMAIL.test(t.source) || EMAIL.test(t.medium)],
  ['Affiliates', (t) => t.medium === 'affiliate'],
  ['Referral', (t) => REFERRAL_MEDIA.has(t.medium)],
  ['Audio', (t) => t.medium === 'audio'],
  ['SMS', (t) => t.source === 'sms' || t.medium === 'sms'],
  ['Mobile Push', (t) => t.source === 'firebase' || /push$|mobile|notification/.test(t.medium)],
  ['AI Assistant', (t) => t.kind === 'ai' || AI_MEDIA.has(t.medium)],
];

/** Clicks that only advertisements make, and what Google's auto-tagging takes them for. `fbclid` marks free links too. */
const CLICK_SOURCES: Readonly<Record<string, { readonly source: string; readonly medium: string }>> = {
  gclid: { source: 'google', medium: 'cpc' },
  gbraid: { source: 'google', medium: 'cpc' },
  wbraid: { source: 'google', medium: 'cpc' },
  msclkid: { source: 'bing', medium: 'cpc' },
  ttclid: { source: 'tiktok', medium: 'cpc' },
  twclid: { source: 'twitter', medium: 'cpc' },
  li_fat_id: { source: 'linkedin', medium: 'cpc' },
  fbclid: { source: 'facebook', medium: '' },
};

/**
 * @param campaign UTM values, lower case, and the click id's name
 * @param referrerHost folded host of the referrer, '' = none
 */
export function channelOf(campaign: Campaign, referrerHost: string): Channel {
  const traffic = trafficOf(campaign, referrerHost);
  return RULES.find(([, fits]) => fits(traffic))?.[0] ?? 'Unassigned';
}

/** Source and medium as Google Analytics would name them: the tags, else the click, else the referrer. */
function trafficOf(campaign: Campaign, referrerHost: string): Traffic {
  const click = CLICK_SOURCES[campaign.clickIdName];
  const tagged = campaign.source !== '' || campaign.medium !== '' || campaign.campaign !== '';
  const source = sourceName(campaign.source || click?.source || referrerHost);
  const kind = sourceKind(source, getDomainWithoutSuffix);
  const medium = campaign.medium || click?.medium || '';
  return {
    source,
    kind,
    campaign: campaign.campaign,
    medium: medium !== '' || tagged || source === '(direct)' ? medium : mediumOf(kind),
  };
}

function sourceName(source: string): string {
  return source === '' || source === 'direct' || source === '(not set)' ? '(direct)' : source;
}

/** Medium of a visit that only has a referrer. */
function mediumOf(kind: SourceKind | null): string {
  if (kind === 'search') return 'organic';
  if (kind === 'ai') return 'ai-assistant';
  return 'referral';
}
