/** Automations as they are kept and answered (contract 10.1). */
import type { Config } from './config-fields.js';

export interface Automation {
  readonly id: string;
  /** Public site id. */
  readonly websiteId: string;
  readonly userId: string;
  readonly name: string;
  readonly description: string;
  readonly triggerType: string;
  /** As the builder saved it, with its `__graph`. */
  readonly triggerConfig: Config;
  readonly isActive: boolean;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  /** By ascending `orderIndex`. */
  readonly actions: readonly StoredAction[];
  /** In the order in which they were sent. */
  readonly conditions: readonly StoredCondition[];
  /** Signs this automation's webhooks. Never leaves the owner's side. */
  readonly webhookSecret: string;
}

export interface StoredAction {
  readonly id: string;
  readonly actionType: string;
  readonly actionConfig: Config;
  readonly orderIndex: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export interface StoredCondition {
  readonly id: string;
  readonly conditionType: string;
  readonly conditionConfig: Config;
  readonly createdAt: Date;
}

export interface AutomationStats {
  /** All that were begun. */
  readonly totalExecutions: number;
  readonly successCount: number;
  readonly failureCount: number;
  /** Percent of those that ended; 0 when none did. */
  readonly successRate: number;
  readonly last30Days: number;
}

/** What a caller sets; a change leaves what is undefined as it is. */
export interface AutomationInput {
  readonly name: string;
  readonly description: string;
  readonly triggerType: string;
  readonly triggerConfig: Config;
  readonly actions: readonly { readonly actionType: string; readonly actionConfig: Config }[];
  readonly conditions: readonly { readonly conditionType: string; readonly conditionConfig: Config }[];
}

export type AutomationChange = Partial<AutomationInput & { readonly isActive: boolean }>;

/** Limits of what one site may keep. */
export const AUTOMATION_LIMITS = {
  perSite: 200,
  actions: 20,
  conditions: 20,
  configBytes: 64 * 1024,
  /** Of all configurations of an automation together: those of a site are listed, and kept in memory, as a whole. */
  bytes: 256 * 1024,
  /** Of all automations of a website together, the same way: what trackers are told of them goes out with every page. */
  siteBytes: 2 * 1024 * 1024,
} as const;

export const NO_STATS: AutomationStats = {
  totalExecutions: 0,
  successCount: 0,
  failureCount: 0,
  successRate: 0,
  last30Days: 0,
};
