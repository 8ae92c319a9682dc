/** Puts a text into every field that takes one. */
import { snapshotEvents, textChange } from '../../integration/recordings.js';

/** Sends to an address beneath `/api/v1/` and answers the body. */
export type Send = (
  method: string,
  path: string,
  body: unknown,
  headers?: Record<string, string>,
) => Promise<unknown>;

const AGENT =
  'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36';
const BOT = 'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)';

/** Events of a visitor, by a browser and by a bot, their way through a funnel, their recording. Seven rows in the books. */
export async function plantVisit(tracker: Send, siteId: string, marker: string): Promise<void> {
  const visitor_id = `visitor ${marker}`;
  const session_id = `session-${marker}`;
  const event = {
    ...{ visitor_id, session_id, page_view_id: `view ${marker}`, page: `/${marker}`, page_title: marker },
    ...{
      page_url: `https://shop.example/${marker}?gclid=${marker}`,
      referrer: `https://${marker}.example/x`,
    },
    ...{
      utm_source: marker,
      utm_medium: marker,
      utm_campaign: marker,
      utm_term: marker,
      utm_content: marker,
    },
    properties: { [marker]: marker, list: [marker] },
  };
  const events = [
    event,
    { ...event, event_type: 'bought' },
    { ...event, event_type: marker, id: `id ${marker}` },
  ];
  const browser = { 'user-agent': `${AGENT} ${marker}/1.0` };
  await tracker('POST', 'analytics/batch', { siteId, events }, browser);
  await tracker(
    'POST',
    'analytics/batch',
    { siteId, events: [{ ...event, page: `/bot-${marker}` }] },
    { 'user-agent': BOT },
  );
  const step = {
    funnel_id: marker,
    visitor_id,
    session_id,
    event_type: 'progress',
    step_name: marker,
    current_step: 1,
  };
  await tracker(
    'POST',
    'funnels/batch',
    { website_id: siteId, events: [step, { ...step, event_type: 'start' }] },
    browser,
  );
  const at = Date.now();
  const recording = [...snapshotEvents(at, marker, `/${marker}`), textChange(at + 5, marker)];
  const chunk = { website_id: siteId, session_id, sequence: 0, page: `/${marker}`, events: recording };
  await tracker('POST', 'replays/record', chunk, browser);
}

/** What somebody says about their site, and points of a heatmap. One row in the books. */
export async function plantSite(api: Send, tracker: Send, siteId: string, marker: string): Promise<void> {
  await api('PUT', `user/websites/${siteId}`, {
    name: marker,
    heatmap_exclude_patterns: `/no-${marker}`,
    settings: { allowedOrigins: [`https://${marker}.example`] },
  });
  await api('POST', `user/websites/${siteId}/goals`, {
    name: marker,
    type: 'event',
    identifier: marker,
    selector: `#${marker}`,
  });
  await api('POST', `websites/${siteId}/funnels`, {
    ...{ name: marker, description: marker },
    steps: [1, 2].map((order) => ({
      name: marker,
      order,
      stepType: 'page_view',
      pagePath: `/${marker}${order}`,
    })),
  });
  const point = { type: 'click', x: 1, y: 1, selector: `a#${marker}`, url: `/${marker}` };
  await tracker('POST', 'heatmaps/record', { website_id: siteId, points: [point] }, { 'user-agent': AGENT });
}

/** An automation that keeps what triggered it for an hour. */
export async function plantAutomation(api: Send, siteId: string, marker: string): Promise<void> {
  await api('POST', `websites/${siteId}/automations`, {
    ...{ name: marker, description: marker, triggerType: 'customEvent' },
    triggerConfig: { event_name: 'bought', frequency: 'once_per_visitor' },
    actions: [
      { actionType: 'wait', actionConfig: { delay_value: 3_600, delay_unit: 'seconds' } },
      { actionType: 'webhook', actionConfig: { url: `https://${marker}.example/` } },
    ],
  });
}
