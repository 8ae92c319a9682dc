import type { WebsiteRecord } from '../storage/metadata/metadata.js';
import { normalizeHost } from './host.js';
import { allowedHost, settingsFrom, type WebsiteSettings } from './settings.js';
import type { Site } from './site.js';

/** A website as its owner sees it. */
export interface Website extends Omit<WebsiteRecord, 'settings'> {
  /** Bare host. */
  readonly url: string;
  readonly settings: WebsiteSettings;
}

export function websiteFrom(record: WebsiteRecord): Website {
  return { ...record, url: hostOf(record), settings: settingsFrom(record.settings) };
}

/** The hot-path view. A site whose owner switched tracking off counts as inactive. */
export function siteFrom(record: WebsiteRecord): Site {
  const settings = settingsFrom(record.settings);
  return {
    id: record.id,
    siteId: record.siteId,
    ownerId: record.userId,
    name: record.name,
    host: hostOf(record),
    isActive: record.isActive && settings.trackingEnabled,
    respectDoNotTrack: settings.respectDoNotTrack,
    cutAddress: settings.ipHandling === 'truncate' || settings.useIpAnonymization,
    storeAddress: settings.ipHandling !== 'drop',
    allowRawDataExport: settings.allowRawDataExport,
    allowedHosts: settings.allowedOrigins.map(allowedHost).filter((host) => host !== null),
    automationEnabled: record.automationEnabled,
    funnelEnabled: record.funnelEnabled,
    heatmapEnabled: record.heatmapEnabled,
    replayEnabled: record.replayEnabled,
    replaySamplingRate: record.replaySamplingRate,
    heatmapIncludePatterns: record.heatmapIncludePatterns,
    heatmapExcludePatterns: record.heatmapExcludePatterns,
    replayIncludePatterns: record.replayIncludePatterns,
    replayExcludePatterns: record.replayExcludePatterns,
  };
}

// The original stored what its edit dialog sent, whole URLs included.
const hostOf = ({ url }: WebsiteRecord): string => normalizeHost(url) ?? url.toLowerCase();
