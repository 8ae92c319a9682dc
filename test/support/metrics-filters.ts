/** Filters of the analytics endpoints beside what metrics.md says that they let through. */
import type { AnalyticsQuery } from '../../src/metrics/parameters.js';
import type { ReferenceSession } from './reference-sessions.js';

export interface Case {
  readonly query: AnalyticsQuery;
  readonly session?: (session: ReferenceSession) => boolean;
  readonly page?: (page: string) => boolean;
}

const google = (one: ReferenceSession) => /(^|\.)google\./.test(one.referrer);

/** Every filter, each with what metrics.md says that it lets through. */
export const FILTERS: readonly Case[] = [
  { query: {} },
  { query: { country: 'Germany' }, session: (one) => one.country === 'DE' },
  { query: { country: 'us' }, session: (one) => one.country === 'US' },
  { query: { country: 'Ivory Coast,de' }, session: (one) => ['CI', 'DE'].includes(one.country) },
  { query: { country: '!Unknown' }, session: (one) => one.country !== '' },
  { query: { country: '~united' }, session: (one) => one.country === 'US' },
  { query: { region: 'BAVARIA' }, session: (one) => one.region === 'Bavaria' },
  { query: { city: 'MÜNCHEN' }, session: (one) => one.city === 'München' },
  { query: { continent: 'europe' }, session: (one) => one.continent === 'Europe' },
  { query: { device: 'all' } },
  { query: { device: 'mobile,Tablet' }, session: (one) => /Mobile|Tablet/.test(one.device) },
  { query: { device: 'unknown' }, session: (one) => one.device === '' },
  { query: { browser: '!chrome' }, session: (one) => one.browser !== 'Chrome' },
  { query: { browser: '~SAM' }, session: (one) => one.browser === 'Samsung Internet' },
  { query: { os: 'windows' }, session: (one) => one.os === 'Windows' },
  { query: { os: '!~in' }, session: (one) => !/in/i.test(one.os) },
  { query: { resolution: '1920x1080' }, session: (one) => one.resolution === '1920x1080' },
  { query: { utm_source: 'Newsletter' }, session: (one) => one.utm.source === 'newsletter' },
  { query: { utm_source: 'Google' }, session: (one) => one.utm.source === 'google' || google(one) },
  { query: { utm_source: 'Direct' }, session: (one) => ['Direct', ''].includes(one.channel) },
  { query: { utm_source: 'Search' }, session: (one) => /Search/.test(one.channel) },
  { query: { source: 'social' }, session: (one) => one.channel === 'Organic Social' },
  { query: { source: 'Twitter' }, session: (one) => one.referrer === 'x.com' },
  {
    query: { source: 'netflix.com,email' },
    session: (one) => one.referrer === 'netflix.com' || one.channel === 'Email',
  },
  { query: { channel: 'Paid Search' }, session: (one) => one.channel === 'Paid Search' },
  { query: { referrer: 'Direct' }, session: (one) => one.referrer === '' },
  { query: { referrer: '~.com' }, session: (one) => one.referrer.includes('.com') },
  { query: { utm_medium: 'EMAIL,cpc' }, session: (one) => ['email', 'cpc'].includes(one.utm.medium) },
  { query: { utm_campaign: '~ÉTÉ' }, session: (one) => one.utm.campaign.includes('été') },
  { query: { utm_term: 'shoes' }, session: (one) => one.utm.term === 'shoes' },
  { query: { utm_content: 'top' }, session: (one) => one.utm.content === 'top' },
  { query: { page_path: '/pricing/' }, page: (page) => page.toLowerCase() === '/pricing' },
  { query: { page_path: '/docs,/BLOG/ÄRGER' }, page: (page) => ['/docs', '/blog/ärger'].includes(page) },
  { query: { page_path: '~docs' }, page: (page) => page.includes('docs') },
  { query: { page_path: '!/' }, page: (page) => page !== '/' },
  { query: { page_path: "/it's" }, page: (page) => page === "/it's" },
  {
    query: { country: 'DE', device: 'Desktop', page_path: '/docs/intro', utm_source: '!google' },
    session: (one) =>
      one.country === 'DE' && one.device === 'Desktop' && one.utm.source !== 'google' && !google(one),
    page: (page) => page === '/docs/intro',
  },
  { query: { country: 'Atlantis' }, session: () => false },
];
