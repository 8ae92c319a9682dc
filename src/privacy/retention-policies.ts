/** What is kept for how long, in words and numbers. */
import type { WebsiteSettings } from '../websites/settings.js';

export interface RetentionPolicy {
  readonly data_type: string;
  /** 0: not stored at all, or (with `unlimited`) no end. */
  readonly retention_period: number;
  readonly retention_unit: 'days' | 'hours' | 'unlimited';
  readonly auto_delete: boolean;
  readonly description: string;
}

/** Of one website. */
export function policiesOf(settings: WebsiteSettings): RetentionPolicy[] {
  const { dataRetentionDays, ipHandling } = settings;
  const isCut = ipHandling === 'truncate' || settings.useIpAnonymization;
  const kept = (data_type: string, description: string): RetentionPolicy => ({
    ...{ data_type, retention_period: dataRetentionDays, retention_unit: 'days', auto_delete: true },
    description,
  });
  return [
    kept('Analytics Events', 'Page views, custom events and those of bots, with all that is known of them'),
    kept('Session Data', 'What sessions and visitors are counted from'),
    kept('Heatmaps', 'Points where visitors pointed, clicked and scrolled'),
    kept('Funnel Events', 'What trackers report of funnels'),
    kept('Session Recordings', 'Recorded pages and what was done on them'),
    kept('Automation Executions', 'What automations did for which visitor; their sums stay'),
    kept('Quarantined Events', 'Events that the store refused, as they came'),
    ipHandling === 'drop'
      ? {
          ...{ data_type: 'IP Addresses', retention_period: 0, retention_unit: 'days', auto_delete: true },
          description: 'Used to look up the country and then dropped: never stored',
        }
      : kept('IP Addresses', isCut ? "The visitors' networks (/24, /48)" : 'Whole, with the events'),
  ];
}

/** The same for all websites. */
export function sharedPolicies(): RetentionPolicy[] {
  return [
    {
      ...{ data_type: 'Visitor Keys', retention_period: 48, retention_unit: 'hours', auto_delete: true },
      description: 'Keys of the hashes that stand for visitors of trackers without a visitor id',
    },
    {
      ...{
        data_type: 'Ingestion Books',
        retention_period: 0,
        retention_unit: 'unlimited',
        auto_delete: false,
      },
      description:
        'How many events were received, stored and refused in an hour: counts, nothing about visitors',
    },
  ];
}
