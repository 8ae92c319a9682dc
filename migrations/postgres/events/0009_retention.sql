-- Rows leave by site and age (src/storage/events/postgres-retention.ts); events and heat points have such an index already.

CREATE INDEX bot_events_site_time ON bot_events (site_id, "timestamp");
CREATE INDEX funnel_events_site_time ON funnel_events (site_id, "timestamp");
CREATE INDEX quarantine_site_time ON quarantine (site_id, quarantined_at);
