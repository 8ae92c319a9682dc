/** Events of the original's tables (ClickHouse and Postgres have the same columns) as rows of a file that can be imported. */
import { createHash } from 'node:crypto';
import { isBotAgent } from '../enrich/bot.js';
import { parseCampaign } from '../enrich/campaign.js';
import { channelOf } from '../enrich/channel.js';
import { continentOf } from '../enrich/continents.js';
import { normalisePage } from '../enrich/page.js';
import { parseReferrer } from '../enrich/referrer.js';
import { cut, TEXT_LIMITS } from '../enrich/text.js';
import { splitUrl } from '../enrich/url.js';
import { parseUserAgent } from '../enrich/user-agent.js';

/** What stands in the file; columns that are not there are empty. */
export type FileRow = Readonly<Record<string, unknown>>;

/** Names of its parser; ours are those of the device's own. */
const DEVICES: Readonly<Record<string, string>> = {
  desktop: 'Desktop',
  mobile: 'Mobile',
  tablet: 'Tablet',
  smarttv: 'TV',
  tv: 'TV',
};

/** What it writes for "not known", and for addresses of the machine's own network. */
const UNKNOWN = /^(unknown|local|other)$/i;

const HAS_ZONE = /(?:Z|[+-]\d{2}(?::?\d{2})?)$/i;

/**
 * One event. Page, source, channel, device and bots are judged by the rules for new events, so that figures of both times can be compared; the
 * place is what the original found.
 * @param row as `FORMAT JSONEachRow` of ClickHouse or `row_to_json` of Postgres gives it
 * @param siteHost host of the website: a referrer of its own is none
 */
export function fileRowOf(row: FileRow, siteHost: string): FileRow {
  const page = text(row.page, TEXT_LIMITS.url);
  const url = splitUrl(page);
  const eventType = text(row.event_type, TEXT_LIMITS.label) || 'pageview';
  const visitorId = text(row.visitor_id, TEXT_LIMITS.id);
  return {
    event_id: idOf(row),
    timestamp: momentOf(row.timestamp),
    event_type: eventType,
    visitor_id: visitorId,
    session_id: text(row.session_id, TEXT_LIMITS.id) || visitorId,
    page: normalisePage(page),
    hostname: url.host || siteHost,
    ...attributionOf(row, siteHost, url),
    ...placeOf(row),
    ...agentOf(row),
    time_on_page: eventType === 'page_exit' ? seconds(row.time_on_page) : 0,
    properties: typeof row.properties === 'string' ? row.properties : (row.properties ?? {}),
    ip_address: text(row.ip_address, TEXT_LIMITS.label).replace(/\/(?:32|128)$/, ''),
  };
}

function attributionOf(row: FileRow, siteHost: string, url: { host: string; query: string }): FileRow {
  const site = { host: siteHost, allowedHosts: [] };
  const referrer = parseReferrer(text(row.referrer, TEXT_LIMITS.url), site, url.host || siteHost);
  const given = (name: string) => text(row[name], TEXT_LIMITS.label);
  const campaign = parseCampaign(url.query, {
    utm_source: given('utm_source'),
    utm_medium: given('utm_medium'),
    utm_campaign: given('utm_campaign'),
    utm_term: given('utm_term'),
    utm_content: given('utm_content'),
  });
  return {
    referrer: referrer.url,
    referrer_host: referrer.host,
    channel: channelOf(campaign, referrer.host),
    utm_source: campaign.source,
    utm_medium: campaign.medium,
    utm_campaign: campaign.campaign,
    utm_term: campaign.term,
    utm_content: campaign.content,
    click_id_name: campaign.clickIdName,
    click_id: campaign.clickId,
  };
}

function placeOf(row: FileRow): FileRow {
  const code = text(row.country_code, 10).toUpperCase();
  // An address of one's own network is "Local" there, with the code of Saint Lucia.
  if (!/^[A-Z]{2}$/.test(code) || continentOf(code) === '' || known(row.country) === '') return {};
  return {
    country_code: code,
    region: known(row.region),
    city: known(row.city),
    continent: continentOf(code),
  };
}

/** Batches kept no user agent, only what was read from it. */
function agentOf(row: FileRow): FileRow {
  const userAgent = text(row.user_agent, TEXT_LIMITS.userAgent);
  if (userAgent === '') {
    const device = known(row.device);
    return {
      browser: known(row.browser),
      os: known(row.os),
      device: DEVICES[device.toLowerCase()] ?? device,
    };
  }
  const agent = parseUserAgent(userAgent);
  return {
    browser: agent.browser,
    browser_version: agent.browserVersion,
    os: agent.os,
    os_version: agent.osVersion,
    device: agent.device,
    bot: isBotAgent(userAgent),
  };
}

/** Its own id; where it has none, one made of the whole row, so that the same file brings the same events. */
function idOf(row: FileRow): string {
  const id = text(row.id, 36);
  if (/[1-9a-f]/i.test(id)) return id;
  return createHash('sha256').update(JSON.stringify(row)).digest('hex').slice(0, 32);
}

/** ClickHouse writes moments of UTC without saying so. */
function momentOf(value: unknown): string {
  const moment = text(value, 40);
  return HAS_ZONE.test(moment.slice(10)) ? moment : `${moment}Z`;
}

function seconds(value: unknown): number {
  const number = Math.round(Number(value ?? 0));
  return Number.isFinite(number) ? Math.min(Math.max(number, 0), 0xffff_ffff) : 0;
}

function known(value: unknown): string {
  const name = text(value, TEXT_LIMITS.label);
  return UNKNOWN.test(name) ? '' : name;
}

function text(value: unknown, limit: number): string {
  return typeof value === 'string' ? cut(value.replaceAll('\0', '').trim(), limit) : '';
}
