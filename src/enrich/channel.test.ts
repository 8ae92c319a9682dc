import { describe, expect, it } from 'vitest';
import { NO_CAMPAIGN } from './campaign.js';
import { channelOf } from './channel.js';

const utm = (source: string, medium = '', campaign = '') => ({ ...NO_CAMPAIGN, source, medium, campaign });

describe('channelOf', () => {
  it.each([
    ['', 'Direct'],
    ['google.com', 'Organic Search'],
    ['google.co.uk', 'Organic Search'],
    ['cn.bing.com', 'Organic Search'],
    ['search.yahoo.com', 'Organic Search'],
    ['duckduckgo.com', 'Organic Search'],
    ['mail.google.com', 'Referral'],
    ['facebook.com', 'Organic Social'],
    ['x.com', 'Organic Social'],
    ['old.reddit.com', 'Organic Social'],
    ['pinterest.de', 'Organic Social'],
    ['news.ycombinator.com', 'Organic Social'],
    ['youtube.com', 'Organic Video'],
    ['amazon.co.jp', 'Organic Shopping'],
    ['chatgpt.com', 'AI Assistant'],
    ['gemini.google.com', 'AI Assistant'],
    ['perplexity.ai', 'AI Assistant'],
    ['some-blog.example', 'Referral'],
    ['notgoogle.example', 'Referral'],
  ])('referrer %j → %s', (host, channel) => {
    expect(channelOf(NO_CAMPAIGN, host)).toBe(channel);
  });

  it.each([
    [utm('google', 'cpc'), 'Paid Search'],
    [utm('bing', 'ppc'), 'Paid Search'],
    [utm('facebook', 'paid-social'), 'Paid Social'],
    [utm('youtube', 'cpv'), 'Paid Video'],
    [utm('youtube', 'in-video'), 'Organic Video'],
    [utm('youtube', 'cpm'), 'Paid Video'],
    [utm('amazon', 'cpc'), 'Paid Shopping'],
    [utm('google', 'cpc', 'summer-shopping'), 'Paid Shopping'],
    [utm('google', 'cpc', 'summer-shop'), 'Paid Shopping'],
    [utm('google', 'cpc', 'workshop'), 'Paid Search'],
    [utm('google', 'cpc', 'cross-network'), 'Cross-network'],
    [utm('adserver', 'banner'), 'Display'],
    [utm('adserver', 'cpm'), 'Display'],
    [utm('partner', 'cpa'), 'Paid Other'],
    [utm('partner', 'paid'), 'Paid Other'],
    [utm('newsletter', 'email'), 'Email'],
    [utm('e-mail'), 'Email'],
    [utm('x', 'social-media'), 'Organic Social'],
    [utm('x', 'affiliate'), 'Affiliates'],
    [utm('x', 'link'), 'Referral'],
    [utm('x', 'audio'), 'Audio'],
    [utm('sms'), 'SMS'],
    [utm('x', 'web-push'), 'Mobile Push'],
    [utm('firebase'), 'Mobile Push'],
    [utm('chatgpt.com'), 'AI Assistant'],
    [utm('unknown', 'unknown'), 'Unassigned'],
    [utm('x', 'organic'), 'Organic Search'],
    [utm('direct'), 'Direct'],
  ])('%j → %s', (campaign, channel) => {
    expect(channelOf(campaign, '')).toBe(channel);
  });

  it.each([
    ['gclid', 'Paid Search'],
    ['wbraid', 'Paid Search'],
    ['msclkid', 'Paid Search'],
    ['fbclid', 'Organic Social'],
    ['li_fat_id', 'Paid Social'],
  ])('a visit with %s alone → %s', (clickIdName, channel) => {
    expect(channelOf({ ...NO_CAMPAIGN, clickIdName, clickId: '1' }, 'google.com')).toBe(channel);
  });

  it('lets tags win over the referrer', () => {
    expect(channelOf(utm('newsletter', 'email'), 'google.com')).toBe('Email');
    expect(channelOf(utm('', 'email'), 'google.com')).toBe('Organic Search');
  });
});
