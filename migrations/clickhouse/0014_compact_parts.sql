-- A block of a second or less has some ten MB before compression: as a part of one file for each of forty columns it costs half as much again
-- to write, and to merge (docs/decisions/0015-ingestion-cost.md). So parts have one file up to 128 MiB; larger ones, which hold nearly all
-- rows, have a file a column as before.

ALTER TABLE {{table:events}} {{on_cluster}} MODIFY SETTING min_bytes_for_wide_part = 134217728;
ALTER TABLE {{table:bot_events}} {{on_cluster}} MODIFY SETTING min_bytes_for_wide_part = 134217728;
