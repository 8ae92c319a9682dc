-- Copies of the few rows of the session rollup that changed figures depend on, side by side for a moment: in the rollup they are spread
-- over all of its blocks (docs/decisions/0005-finished-days.md). Nothing in it is kept; not used on clusters.

CREATE TABLE IF NOT EXISTS {{table:carried_rows}} {{on_cluster}}
(
    set_id     String CODEC(ZSTD(1)),
    made       DateTime('UTC') DEFAULT now('UTC') CODEC(Delta, ZSTD(1)),
    site_id    String CODEC(ZSTD(1)),
    slot       DateTime('UTC'),
    session    UInt64 CODEC(NONE),
    visitor    UInt64 CODEC(NONE),
    place      LowCardinality(String),
    agent      LowCardinality(String),
    first_ts   DateTime64(3, 'UTC'),
    last_ts    DateTime64(3, 'UTC'),
    page_views UInt32,
    customs    UInt32,
    last_view  DateTime64(3, 'UTC'),
    last_exit  UInt64,
    source     String,
    view_ts    Array(DateTime64(3, 'UTC')),
    view_page  Array(String),
    arrived    DateTime('UTC')
)
ENGINE = {{engine:MergeTree}}
ORDER BY set_id
TTL made + INTERVAL 5 MINUTE
SETTINGS merge_with_ttl_timeout = 60, ttl_only_drop_parts = 1;
