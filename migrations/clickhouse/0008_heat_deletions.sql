-- Pages whose heat points were deleted, and until when of receipt: points that come out of the stream later are not counted, and swept.
-- Placeholders as in 0001. Rows leave after forty days, when nothing that old can come any more.

CREATE TABLE IF NOT EXISTS {{table:heat_deletions}} {{on_cluster}}
(
    site_id    String CODEC(ZSTD(1)),
    page       String CODEC(ZSTD(1)),
    deleted_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1))
)
ENGINE = {{engine:ReplacingMergeTree(deleted_at)}}
ORDER BY (site_id, page)
TTL toDateTime(deleted_at) + INTERVAL 40 DAY
SETTINGS non_replicated_deduplication_window = 1000;

{{distributed:heat_deletions}};
