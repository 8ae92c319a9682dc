import { describe, expect, it } from 'vitest';
import { AgentCache } from './agent-cache.js';
import { isBotAgent, isSenderLibrary } from './bot.js';
import { parseUserAgent } from './user-agent.js';

const IPHONE =
  'Mozilla/5.0 (iPhone; CPU iPhone OS 17_4_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)';
const WINDOWS = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)';
const MAC = 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)';
const android = (rest: string) => `Mozilla/5.0 (Linux; Android ${rest}`;
const KHTML = 'AppleWebKit/537.36 (KHTML, like Gecko)';

/** user agent → browser, version, system, version, device */
const AGENTS: readonly (readonly [string, string])[] = [
  [`${WINDOWS} Chrome/124.0.0.0 Safari/537.36`, 'Chrome 124 Windows 10 Desktop'],
  [`${WINDOWS} Chrome/124.0.0.0 Safari/537.36 Edg/124.0.2478.51`, 'Edge 124 Windows 10 Desktop'],
  [`${WINDOWS} Chrome/124.0.0.0 Safari/537.36 OPR/109.0.0.0`, 'Opera 109 Windows 10 Desktop'],
  [`${WINDOWS} Chrome/122.0.0.0 YaBrowser/24.4.0 Safari/537.36`, 'Yandex Browser 24.4 Windows 10 Desktop'],
  [`${WINDOWS} Chrome/124.0.0.0 Safari/537.36 Vivaldi/6.7.3329.17`, 'Vivaldi 6.7 Windows 10 Desktop'],
  [
    'Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko',
    'Internet Explorer 11 Windows 10 Desktop',
  ],
  [
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:125.0) Gecko/20100101 Firefox/125.0',
    'Firefox 125 Windows 10 Desktop',
  ],
  [`${MAC} Version/17.4.1 Safari/605.1.15`, 'Safari 17.4 macOS 10.15 Desktop'],
  [`${IPHONE} Version/17.4 Mobile/15E148 Safari/604.1`, 'Safari 17.4 iOS 17.4 Mobile'],
  [`${IPHONE} CriOS/124.0.6367.71 Mobile/15E148 Safari/604.1`, 'Chrome 124 iOS 17.4 Mobile'],
  [`${IPHONE} FxiOS/125.0 Mobile/15E148 Safari/605.1.15`, 'Firefox 125 iOS 17.4 Mobile'],
  [`${IPHONE} Version/17.0 EdgiOS/124.0.2478.50 Mobile/15E148 Safari/605.1.15`, 'Edge 124 iOS 17.4 Mobile'],
  [`${IPHONE} GSA/311.0.623 Mobile/15E148 Safari/604.1`, 'Safari  iOS 17.4 Mobile'],
  [`${IPHONE} Mobile/21E219 [FBAN/FBIOS;FBAV/458.0.0.35.110]`, 'Safari  iOS 17.4 Mobile'],
  [
    `${IPHONE} Mobile/15E148 Instagram 326.0.0.25.90 (iPhone14,5; iOS 17_4; en_US)`,
    'Safari  iOS 17.4 Mobile',
  ],
  [
    'Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.6 Mobile/15E148 Safari/604.1',
    'Safari 16.6 iOS 16.6 Tablet',
  ],
  [android(`10; K) ${KHTML} Chrome/124.0.0.0 Mobile Safari/537.36`), 'Chrome 124 Android 10 Mobile'],
  [android(`10; K) ${KHTML} Chrome/124.0.0.0 Safari/537.36`), 'Chrome 124 Android 10 Tablet'],
  [
    android(`14; SM-S918B) ${KHTML} SamsungBrowser/24.0 Chrome/117.0.0.0 Mobile Safari/537.36`),
    'Samsung Internet 24 Android 14 Mobile',
  ],
  [
    android(
      `13; Pixel 7 Build/TQ3A; wv) ${KHTML} Version/4.0 Chrome/116.0.0.0 Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/430.0]`,
    ),
    'Chrome 116 Android 13 Mobile',
  ],
  [
    android(`13; SM-A536B) ${KHTML} Chrome/123.0.0.0 Mobile Safari/537.36 OPR/81.0.4292.78446`),
    'Opera 81 Android 13 Mobile',
  ],
  [
    'Opera/9.80 (Android; Opera Mini/36.2.2254/191.303; U; en) Presto/2.12.423 Version/12.16',
    'Opera 36.2 Android  Mobile',
  ],
  ['Mozilla/5.0 (Android 14; Mobile; rv:125.0) Gecko/125.0 Firefox/125.0', 'Firefox 125 Android 14 Mobile'],
  [`Mozilla/5.0 (X11; Linux x86_64) ${KHTML} Chrome/124.0.0.0 Safari/537.36`, 'Chrome 124 Linux  Desktop'],
  [
    'Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0',
    'Firefox 125 Linux  Desktop',
  ],
  [
    `Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) ${KHTML} Chrome/124.0.0.0 Safari/537.36`,
    'Chrome 124 ChromeOS 14541 Desktop',
  ],
  [`Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) ${KHTML} Version/6.0 TV Safari/537.36`, 'Safari 6 Tizen 6 TV'],
  [
    `Mozilla/5.0 (Web0S; Linux/SmartTV) ${KHTML} Chrome/87.0.4280.88 Safari/537.36 WebAppManager`,
    'Chrome 87 webOS  TV',
  ],
  [
    'Mozilla/5.0 (PlayStation; PlayStation 5/6.50) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.4 Safari/605.1.15',
    'Safari 16.4 PlayStation 5 Console',
  ],
  [
    'Mozilla/5.0 (Apple Watch; CPU Watch OS 9_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/20R361',
    'Safari  watchOS  Watch',
  ],
  ['Mozilla/5.0 (X11; FreeBSD amd64; rv:115.0) Gecko/20100101 Firefox/115.0', 'Firefox 115 FreeBSD  Desktop'],
];

describe('parseUserAgent', () => {
  it.each(AGENTS)('%s', (text, expected) => {
    const agent = parseUserAgent(text);
    const { browser, browserVersion, os, osVersion, device } = agent;
    expect([browser, browserVersion, os, osVersion, device].join(' ')).toBe(expected);
    expect(isBotAgent(text)).toBe(false);
  });

  it('knows nothing of nothing, and survives a megabyte', () => {
    expect(parseUserAgent('')).toMatchObject({ browser: '', device: '' });
    expect(parseUserAgent('Mozilla/5.0 '.repeat(90_000)).browser.length).toBeLessThan(256);
    expect(new AgentCache(10).ofEvent('x'.repeat(1 << 20)).block.length).toBeLessThan(2000);
  });
});

describe('bots', () => {
  it.each([
    'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)',
    'Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)',
    'Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)',
    `${WINDOWS} HeadlessChrome/124.0.0.0 Safari/537.36`,
    'Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)',
    'facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)',
    'Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)',
    'curl/8.5.0',
    'python-requests/2.31.0',
  ])('%s is one', (text) => {
    expect(isBotAgent(text)).toBe(true);
    expect(new AgentCache(10).ofEvent(text).bot).toBe(true);
  });

  it('takes an HTTP library in the request header for a server that forwards events', () => {
    const cache = new AgentCache(10);
    for (const header of ['node', 'Go-http-client/2.0', 'python-requests/2.31.0', 'curl/8.5.0', '']) {
      expect(isSenderLibrary(header) || header === '').toBe(true);
      expect(cache.ofHeader(header).bot).toBe(false);
    }
    expect(cache.ofHeader('Mozilla/5.0 (compatible; Googlebot/2.1)').bot).toBe(true);
  });
});
