import { createUsageService, type UsageService } from '../billing/usage.js';
import type { MetadataStore } from '../storage/metadata/metadata.js';
import type { Telemetry } from '../telemetry.js';
import type { EventStores } from './event-store.js';

/** How much accounts have of everything: for the dashboard, and for a gateway in front of the program. */
export function composeUsage(
  metadata: Pick<MetadataStore, 'accountCounts'>,
  stores: Pick<EventStores, 'events' | 'heat' | 'replays'>,
  telemetry: Telemetry,
): UsageService {
  return createUsageService({
    counts: metadata.accountCounts,
    events: stores.events,
    heat: stores.heat,
    replays: stores.replays,
    telemetry,
  });
}
