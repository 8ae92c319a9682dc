-- Which events an import has added, noted before they are sent, so that it can be gone on with after a crash and be undone. Placeholders as
-- in 0001. slot and session are those of the session rollup, which is made anew for them; visitor is there so that erasing a visitor finds
-- these rows.

CREATE TABLE IF NOT EXISTS {{table:import_rows}} {{on_cluster}}
(
    site_id   String CODEC(ZSTD(1)),
    import_id String CODEC(ZSTD(1)),
    chunk     UInt32 CODEC(ZSTD(1)),
    event_id  FixedString(16) CODEC(NONE),
    slot      DateTime('UTC') CODEC(Delta, ZSTD(1)),
    session   UInt64 CODEC(ZSTD(1)),
    visitor   UInt64 CODEC(ZSTD(1))
)
ENGINE = {{engine:MergeTree}}
ORDER BY (site_id, import_id, chunk, event_id)
SETTINGS non_replicated_deduplication_window = 1000;

{{distributed:import_rows}};
