/** Browser, system and device families of a user agent, folded as metrics.md "Attributes" says. */
import { UAParser } from 'my-ua-parser';
import { cut, TEXT_LIMITS } from './text.js';

export interface UserAgent {
  readonly browser: string;
  readonly browserVersion: string;
  readonly os: string;
  readonly osVersion: string;
  /** `Desktop`, `Mobile`, `Tablet`, `TV`, `Console`, `Watch`; '' unknown. */
  readonly device: string;
}

export const UNKNOWN_AGENT: UserAgent = {
  browser: '',
  browserVersion: '',
  os: '',
  osVersion: '',
  device: '',
};

/** First rule whose pattern matches the parser's name wins; other names stay as they are. */
const BROWSERS: readonly (readonly [RegExp, string])[] = [
  [/^(chrome|chromium)\b/i, 'Chrome'],
  [/^(mobile )?safari/i, 'Safari'],
  [/firefox|^fennec$/i, 'Firefox'],
  [/^edge\b/i, 'Edge'],
  [/^opera\b/i, 'Opera'],
  [/^samsung/i, 'Samsung Internet'],
  [/^ie(mobile)?$/i, 'Internet Explorer'],
  [/^ucbrowser/i, 'UC Browser'],
  [/^yandex/i, 'Yandex Browser'],
];

/** Apps that show pages in the system's own browser view; GSA is Google's search app. */
const IN_APP =
  /^(webkit|gsa|facebook|instagram|tiktok|snapchat|linkedin|line|kakao.*|twitter|pinterest|wechat.*|weibo|naver|alipay|klarna|slack|teams|viber|whatsapp|telegram|chrome webview)$/i;

const SYSTEMS: readonly (readonly [RegExp, string])[] = [
  [/^mac ?os/i, 'macOS'],
  [/^(chromium|chrome) ?os$/i, 'ChromeOS'],
  [/^windows (phone|mobile)/i, 'Windows Phone'],
  [/^windows/i, 'Windows'],
  [/^android/i, 'Android'],
  [/^kaios$/i, 'KaiOS'],
  [
    /linux|ubuntu|debian|fedora|centos|red ?hat|suse|gentoo|arch|slackware|mint|mageia|mandriva|manjaro|elementary|raspbian|deepin|gnu|pclinuxos|zenwalk|linspire|sabayon|knoppix/i,
    'Linux',
  ],
];

const DEVICES: Readonly<Record<string, string>> = {
  mobile: 'Mobile',
  tablet: 'Tablet',
  smarttv: 'TV',
  console: 'Console',
  wearable: 'Watch',
};

const DESKTOP_SYSTEM = /^(Windows|macOS|Linux|ChromeOS|.*BSD|Solaris|Haiku|OS\/2)$/;

/** Parses a user agent (cut to 512 characters); costs some 40 µs, so callers cache. */
export function parseUserAgent(text: string): UserAgent {
  if (text === '') return UNKNOWN_AGENT;
  const agent = cut(text, TEXT_LIMITS.userAgent);
  const { browser, os, device } = new UAParser(agent).getResult();
  const watch = /watch ?os|apple watch/i.test(agent);
  const system = watch ? 'watchOS' : fold(SYSTEMS, os.name ?? '');
  return {
    ...browserOf(agent, browser.name ?? '', browser.version ?? '', system),
    os: cut(system, TEXT_LIMITS.label),
    osVersion: watch ? '' : systemVersion(system, os.version ?? ''),
    device: watch ? 'Watch' : deviceOf(agent, device.type ?? '', system),
  };
}

function browserOf(
  agent: string,
  name: string,
  version: string,
  system: string,
): { browser: string; browserVersion: string } {
  if (IN_APP.test(name)) return engineOf(agent, system, name);
  return { browser: cut(fold(BROWSERS, name), TEXT_LIMITS.label), browserVersion: shortVersion(version) };
}

/** The browser whose engine an in-app view is: Safari on Apple's systems, Chrome where the text says so. */
function engineOf(agent: string, system: string, name: string): { browser: string; browserVersion: string } {
  const chrome = /Chrome\/([\d.]+)/.exec(agent);
  if (chrome !== null) return { browser: 'Chrome', browserVersion: shortVersion(chrome[1] ?? '') };
  if (system === 'iOS' || system === 'macOS' || system === 'watchOS') {
    const version = /Version\/([\d.]+)/.exec(agent);
    return { browser: 'Safari', browserVersion: shortVersion(version?.[1] ?? '') };
  }
  return { browser: cut(name, TEXT_LIMITS.label), browserVersion: '' };
}

function deviceOf(agent: string, type: string, system: string): string {
  if (type === 'wearable' && !/watch|wear/i.test(agent)) return '';
  const device = DEVICES[type];
  if (device !== undefined) return device;
  if (DESKTOP_SYSTEM.test(system)) return 'Desktop';
  if (system === 'Android' || system === 'iOS' || system === 'KaiOS' || system === 'Windows Phone')
    return 'Mobile';
  return '';
}

function fold(rules: readonly (readonly [RegExp, string])[], name: string): string {
  return rules.find(([pattern]) => pattern.test(name))?.[1] ?? name;
}

/** `124.0.6367.71` → `124`, `17.4.1` → `17.4`: enough to tell releases apart, few enough to be a label. */
function shortVersion(version: string): string {
  const [major = '', minor = '0'] = version.split('.', 2);
  return cut(minor === '0' || minor === '' ? major : `${major}.${minor}`, 32);
}

/** Versions of Linux and television systems are often processor or product names, which are none. */
function systemVersion(system: string, version: string): string {
  if (!/^\d/.test(version) && system !== 'Windows') return '';
  return shortVersion(version);
}
