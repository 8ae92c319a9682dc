-- The visitor's address, of sites that ask for it (settings.ipHandling): whole or cut; '' of all others. Last, as in src/events/columns.ts.

ALTER TABLE {{table:events}} {{on_cluster}} ADD COLUMN IF NOT EXISTS ip_address String CODEC(ZSTD(1));
ALTER TABLE {{table:bot_events}} {{on_cluster}} ADD COLUMN IF NOT EXISTS ip_address String CODEC(ZSTD(1));

ALTER TABLE events {{on_cluster}} ADD COLUMN IF NOT EXISTS ip_address String;
ALTER TABLE bot_events {{on_cluster}} ADD COLUMN IF NOT EXISTS ip_address String;
