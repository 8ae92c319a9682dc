import type { SiteFrame } from './frame.js';

/** Where accepted rows go: the site's actor, and through it the stream. */
export interface SiteSink {
  /**
   * Resolves once the frame is durable (P1).
   * @throws AppError `overloaded` (mailbox full), `quota_exceeded`, `storage_unavailable` (stream away and spool full)
   */
  deliver(frame: SiteFrame): Promise<void>;
}
