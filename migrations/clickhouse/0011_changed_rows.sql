-- Copies of the few rows of the session rollup that changed figures depend on, kept while a site is watched and added to as visitors
-- come (docs/decisions/0007-dashboard-speed.md); they take the place of carried_rows, which was filled anew each time. A row is gone
-- soon after `until`. Not used on clusters.

CREATE TABLE IF NOT EXISTS {{table:changed_rows}} {{on_cluster}}
(
    set_id     String CODEC(ZSTD(1)),
    -- Additions to a set, counted from 1: who reads up to one of them sees nothing of later ones.
    batch      UInt32,
    until      DateTime('UTC') CODEC(Delta, ZSTD(1)),
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
PARTITION BY toStartOfFiveMinutes(until)
ORDER BY (set_id, batch)
TTL until
SETTINGS merge_with_ttl_timeout = 60, ttl_only_drop_parts = 1;

DROP TABLE IF EXISTS {{table:carried_rows}} {{on_cluster}};

-- Finds the rows of a handful of sessions and visitors, which lie scattered, without reading all blocks.
ALTER TABLE {{table:session_slots}} {{on_cluster}}
    ADD INDEX IF NOT EXISTS visitor_bloom visitor TYPE bloom_filter(0.005) GRANULARITY 1,
    ADD INDEX IF NOT EXISTS session_bloom session TYPE bloom_filter(0.005) GRANULARITY 1;

ALTER TABLE {{table:session_slots}} {{on_cluster}} MATERIALIZE INDEX visitor_bloom;

ALTER TABLE {{table:session_slots}} {{on_cluster}} MATERIALIZE INDEX session_bloom;
