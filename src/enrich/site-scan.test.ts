import { describe, expect, it } from 'vitest';
import { scanSiteId, topSiteId } from './site-scan.js';

const ID = '0123456789abcdef01234567';

describe('scanSiteId', () => {
  it.each([
    ['batch', `{"siteId":"${ID}","events":[]}`, ID],
    ['batch', `{ "events" : [{"website_id":"other"}], "siteId" :\n "${ID}" }`, ID],
    ['event', `{"visitor_id":"v","website_id":"${ID}"}`, ID],
    ['event', `{"site_id":"a9b8c7d6-0000-4000-8000-000000000000"}`, 'a9b8c7d6-0000-4000-8000-000000000000'],
    ['event', `{"properties":"${'x'.repeat(100_000)}","website_id":"${ID}"}`, ID],
    ['event', '{"website_id":5}', ''],
    ['event', '{"website_id":"<script>"}', ''],
    ['event', '{"website_id"', ''],
    ['heatmap', `{"website_id":"${ID}","points":[]}`, ID],
    ['heatmap', `{"points":[${'{"type":"click"},'.repeat(1_000)}0],"website_id":"${ID}"}`, ID],
    ['funnel', `{"website_id":"${ID}","events":[]}`, ID],
    ['funnel', `{"funnel_id":"f","websiteId":"${ID}"}`, ID],
    ['batch', '', ''],
    ['batch', `{"siteId":"${'a'.repeat(65)}"}`, ''],
  ] as const)('%s %j', (source, body, expected) => {
    expect(scanSiteId(Buffer.from(body), source)).toBe(expected);
  });
});

describe('topSiteId', () => {
  it.each([
    ['batch', `{"siteId":"${ID}","events":[`, ID],
    ['batch', ` { "events" : [{"siteId":"other"}, "]}"], "siteId" :\n "${ID}"`, ID],
    ['event', `{"properties":{"website_id":"shop-12"},"a\\"":"\\\\","website_id":"${ID}"}`, ID],
    ['event', `{"a":"website_id","website_id":"${ID}"}`, ID],
    ['event', `{"properties":{"website_id":"${ID}"}}`, ''],
    ['event', `{"siteId":"${ID}"}`, ''],
    ['event', `{"a":"\\"website_id\\":\\"${ID}\\""}`, ''],
    ['event', `{"properties":"${'x'.repeat(3_000)}","website_id":"${ID}"}`, ''],
    ['event', '{"website_id', ''],
    ['event', '', ''],
  ] as const)('%s %j', (source, body, expected) => {
    expect(topSiteId(Buffer.from(body), source)).toBe(expected);
  });
});
