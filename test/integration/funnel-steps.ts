/** Funnels as clients send them, and what visitors do, in short. */
const SECOND = 1000;

export interface Step {
  readonly name?: string;
  readonly order?: number;
  readonly stepType?: string;
  readonly pagePath?: string | null;
  readonly eventType?: string;
  readonly matchType?: string;
}
export const page = (pagePath: string, matchType = 'exact'): Step => ({
  stepType: 'page_view',
  pagePath,
  matchType,
});
export const event = (eventType: string): Step => ({ stepType: 'event', eventType });
export const bodyOf = (steps: readonly Step[], name = 'Checkout') => ({
  name,
  description: 'How they buy',
  steps: steps.map((step, i) => ({ name: `Step ${i + 1}`, order: i + 1, ...step })),
});

/** `a:/cart@10`: visitor a sees /cart ten seconds after the beginning; `a!buy@10`: does buy. */
export function happened(beginning: number, ...events: readonly string[]) {
  return events.map((text) => {
    const [, visitor_id = '', sign, what = '', seconds = ''] = /^(\w+)([:!])(.+)@(-?\d+)$/.exec(text) ?? [];
    const timestamp = beginning + Number(seconds) * SECOND;
    return sign === ':'
      ? { visitor_id, page: what, timestamp }
      : { visitor_id, event_type: what, page: '/', timestamp };
  });
}
