/** Traffic of a big site and small ones beside it, made inside ClickHouse: the same events for the same parameters. */

export interface TrafficOptions {
  /** Canonical site id. */
  readonly siteId: string;
  /** Sessions; about four events each. */
  readonly sessions: number;
  readonly visitors: number;
  /** The sessions begin in this stretch, evenly; ms since epoch. */
  readonly from: number;
  readonly to: number;
  /** Another number makes other visitors and choices. */
  readonly seed: number;
}

/** Runs one statement with bound parameters. */
export type Execute = (sql: string, parameters: Readonly<Record<string, string>>) => Promise<void>;

/** Sessions of one insert: about half a million events. */
const CHUNK = 125_000;

/**
 * Inserts the events in blocks that follow each other in time.
 * @param progress called after every block with the number of sessions that are in
 */
export async function fillTraffic(
  execute: Execute,
  options: TrafficOptions,
  progress: (sessions: number) => void = () => {},
): Promise<void> {
  const step = (options.to - options.from) / options.sessions;
  for (let first = 0; first < options.sessions; first += CHUNK) {
    const count = Math.min(CHUNK, options.sessions - first);
    await execute(TRAFFIC, {
      site: options.siteId,
      first: `${first}`,
      count: `${count}`,
      from: `${Math.floor(options.from)}`,
      step: `${step}`,
      to: `${Math.floor(options.to)}`,
      visitors: `${options.visitors}`,
      seed: `${options.seed}`,
    });
    progress(first + count);
  }
}

/** A number from 0 to 1 for each session and purpose. */
const unit = (purpose: string): string => `(cityHash64(n, '${purpose}', {seed:UInt32}) % 1000003) / 1000003`;
/** The lower numbers more often. */
const skewed = (purpose: string, count: number, power: number): string =>
  `toUInt32(floor(pow(${unit(purpose)}, ${power}) * ${count}))`;
const pick = (list: readonly string[], index: string): string =>
  `[${list.map((text) => `'${text}'`).join(', ')}][1 + ${index}]`;

const COUNTRIES =
  'US DE GB FR IN BR CA JP AU NL ES IT PL SE CH AT BE MX AR KR ID TR UA CZ DK NO FI PT IE GR'.split(' ');
const BROWSERS = ['Chrome', 'Safari', 'Edge', 'Firefox', 'Samsung Internet', 'Opera', 'Brave', 'Vivaldi'];
const SYSTEMS = ['Windows', 'iOS', 'Android', 'macOS', 'Linux', 'ChromeOS'];
const DEVICES = ['Desktop', 'Mobile', 'Tablet'];
const CHANNELS = ['Direct', 'Organic Search', 'Referral', 'Organic Social', 'Email', 'Paid Search'];

const TRAFFIC = `
INSERT INTO events (event_id, timestamp, received_at, site_id, kind, event_type, visitor_id, session_id, page_view_id, page, hostname,
  title, referrer, referrer_host, channel, utm_source, utm_medium, utm_campaign, utm_term, utm_content, country_code, region, city,
  continent, browser, browser_version, os, os_version, device, screen_width, screen_height, viewport_width, viewport_height, language,
  time_on_page, scroll_depth, properties)
WITH
  number + {first:UInt64} AS n,
  ${skewed('country', COUNTRIES.length, 2.5)} AS country,
  ${skewed('width', 8, 1.5)} AS width,
  if(channel_no = 0, '', concat('site', toString(${skewed('referrer', 200, 3)}), '.example')) AS host,
  ${skewed('channel', CHANNELS.length, 1.3)} AS channel_no,
  ${unit('tagged')} < 0.15 AS tagged,
  -- 1 to 6 page views; now and then somebody comes back after half an hour, or the next day
  1 + toUInt32(floor(pow(${unit('views')}, 2) * 6)) AS view_count,
  toInt64({from:Int64} + n * {step:Float64}) AS start,
  arrayMap(i -> cityHash64(n, i, 'gap', {seed:UInt32}), range(view_count)) AS dice,
  arrayCumSum(arrayMap((d, i) -> if(i = 0, 0, 5000 + d % 120000 + 1800000 * (d % 97 = 0) + 50000000 * (d % 997 = 0)),
    dice, range(view_count))) AS offsets,
  arrayFlatten(arrayMap((d, o) -> arrayConcat([(1, o, d)], if(bitShiftRight(d, 20) % 10 < 4, [(3, o + 4000, d)], []),
    if(bitShiftRight(d, 30) % 10 < 2, [(2, o + 2000, d)], [])), dice, offsets)) AS list
SELECT
  sipHash128(n, index, {seed:UInt32}, {site:String}), fromUnixTimestamp64Milli(start + item.2, 'UTC') AS at, at, {site:String}, item.1,
  multiIf(item.1 = 1, 'pageview', item.1 = 3, 'page_exit', ['signup', 'add_to_cart', 'purchase', 'download', 'video_play'][1 + item.3 % 5]),
  lower(hex(cityHash64(toUInt64(floor(pow(${unit('visitor')}, 1.2) * {visitors:UInt32})), {seed:UInt32}))),
  lower(hex(cityHash64(n, 'session', {seed:UInt32}))), lower(hex(item.3)),
  concat('/section-', toString(toUInt32(floor(pow((item.3 % 10007) / 10007, 4) * 20))), '/page-',
    toString(toUInt32(floor(pow((item.3 % 1000003) / 1000003, 3) * 400)))),
  'shop.example', 'A page of the shop', if(host = '', '', concat('https://', host, '/')), host,
  ${pick(CHANNELS, 'channel_no')},
  if(tagged, concat('source', toString(${skewed('us', 10, 2)})), ''), if(tagged, concat('medium', toString(${skewed('um', 5, 2)})), ''),
  if(tagged, concat('campaign', toString(${skewed('uc', 50, 2)})), ''), if(tagged, concat('term', toString(${skewed('ut', 100, 2)})), ''),
  if(tagged, concat('content', toString(${skewed('uo', 30, 2)})), ''),
  ${pick(COUNTRIES, 'country')}, concat('Region ', toString(country), '-', toString(${skewed('region', 6, 1.5)})),
  concat('City ', toString(country), '-', toString(${skewed('city', 40, 2)})),
  ${pick(['Europe', 'North America', 'Asia'], 'country % 3')},
  ${pick(BROWSERS, skewed('browser', BROWSERS.length, 2.5))}, '141', ${pick(SYSTEMS, skewed('os', SYSTEMS.length, 1.5))}, '',
  ${pick(DEVICES, skewed('device', DEVICES.length, 1.7))},
  [1920, 390, 1536, 1366, 412, 360, 2560, 768][1 + width], [1080, 844, 864, 768, 915, 800, 1440, 1024][1 + width],
  1200, 800, 'en-US', if(item.1 = 3, 4 + item.3 % 90, 0), if(item.1 = 3, item.3 % 100, 0),
  if(item.1 = 2, concat('{"plan":"', toString(item.3 % 3), '","value":', toString(item.3 % 100), '}'), '{}')
FROM numbers({count:UInt64})
ARRAY JOIN list AS item, arrayEnumerate(list) AS index
WHERE start + item.2 < {to:Int64}`;
