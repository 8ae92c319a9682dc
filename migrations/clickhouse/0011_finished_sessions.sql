-- Sessions of finished days, a row each, made from the rollup as it was at a settled moment: whole periods are counted from these ten times
-- as quickly (docs/decisions/0007-dashboard-speed.md). A version is one UTC day of a site as it was made at one time; `finished_days` says
-- which versions belong together. Made and left by src/storage/events/metrics/carried/finished-sessions.ts; not used on clusters.

CREATE TABLE IF NOT EXISTS {{table:finished_sessions}} {{on_cluster}}
(
    site_id        String CODEC(ZSTD(1)),
    version        UInt64 CODEC(Delta, ZSTD(1)),
    start          DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    last           DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    session        UInt64 CODEC(NONE),
    -- the only one, where is_plain
    visitor        UInt64 CODEC(NONE),
    is_plain       UInt8 CODEC(ZSTD(1)),
    pv             UInt32 CODEC(ZSTD(1)),
    cu             UInt32 CODEC(ZSTD(1)),
    lv             DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    le             UInt64 CODEC(ZSTD(1)),
    country_code   LowCardinality(String) CODEC(ZSTD(1)),
    region         LowCardinality(String) CODEC(ZSTD(1)),
    city           LowCardinality(String) CODEC(ZSTD(1)),
    continent      LowCardinality(String) CODEC(ZSTD(1)),
    browser        LowCardinality(String) CODEC(ZSTD(1)),
    os             LowCardinality(String) CODEC(ZSTD(1)),
    device         LowCardinality(String) CODEC(ZSTD(1)),
    resolution     LowCardinality(String) CODEC(ZSTD(1)),
    referrer_host  LowCardinality(String) CODEC(ZSTD(1)),
    channel        LowCardinality(String) CODEC(ZSTD(1)),
    utm_source     LowCardinality(String) CODEC(ZSTD(1)),
    utm_medium     LowCardinality(String) CODEC(ZSTD(1)),
    utm_campaign   LowCardinality(String) CODEC(ZSTD(1)),
    utm_term       LowCardinality(String) CODEC(ZSTD(1)),
    utm_content    LowCardinality(String) CODEC(ZSTD(1)),
    -- page views by time, page and visitor
    view_ts        Array(DateTime64(3, 'UTC')) CODEC(Delta, ZSTD(1)),
    view_page      Array(String) CODEC(ZSTD(1)),
    view_visitor   Array(UInt64) CODEC(ZSTD(1)),
    -- custom events, likewise
    custom_ts      Array(DateTime64(3, 'UTC')) CODEC(Delta, ZSTD(1)),
    custom_type    Array(String) CODEC(ZSTD(1)),
    custom_visitor Array(UInt64) CODEC(ZSTD(1)),
    INDEX last_range last TYPE minmax GRANULARITY 1
)
ENGINE = {{engine:MergeTree}}
ORDER BY (site_id, version, start);

CREATE TABLE IF NOT EXISTS {{table:finished_days}} {{on_cluster}}
(
    site_id   String,
    made      DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC'),
    -- rows of the rollup that arrived before, and the state of its mutations
    as_of     DateTime('UTC'),
    history   String,
    -- all sessions that began before are there
    live_from DateTime('UTC'),
    days      Array(UInt32),
    versions  Array(UInt64)
)
ENGINE = {{engine:MergeTree}}
ORDER BY site_id;
