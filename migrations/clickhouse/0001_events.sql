-- Raw events, their books and the quarantine. Why this order, these codecs and indexes: docs/decisions/0001-events-table.md.
--
-- Placeholders (src/storage/clickhouse-migrations.ts), so that the same text serves one server and a cluster:
--   {{table:x}}        x                     | x_local
--   {{on_cluster}}     nothing               | ON CLUSTER '<name>'
--   {{engine:E(args)}} E(args)               | ReplicatedE(<path>, <replica>, args)
--   {{distributed:x}}  nothing               | CREATE TABLE x over all x_local, sharded by site_id
-- Columns and their order are those of src/events/columns.ts: rows arrive as RowBinary (in which String and
-- LowCardinality(String) are the same bytes) and are never re-encoded.
-- Every statement can be run again, because ClickHouse has no transaction around a migration.

CREATE TABLE IF NOT EXISTS {{table:events}} {{on_cluster}}
(
    event_id        FixedString(16) CODEC(NONE),
    timestamp       DateTime64(3, 'UTC') CODEC(T64, ZSTD(1)),
    received_at     DateTime64(3, 'UTC') CODEC(T64, ZSTD(1)),
    site_id         String CODEC(ZSTD(1)),
    kind            UInt8 CODEC(ZSTD(1)),
    event_type      LowCardinality(String) CODEC(ZSTD(1)),
    visitor_id      String CODEC(ZSTD(1)),
    session_id      String CODEC(ZSTD(1)),
    page_view_id    String CODEC(ZSTD(1)),
    page            String CODEC(ZSTD(1)),
    hostname        String CODEC(ZSTD(1)),
    title           String CODEC(ZSTD(1)),
    referrer        String CODEC(ZSTD(1)),
    referrer_host   LowCardinality(String) CODEC(ZSTD(1)),
    channel         LowCardinality(String) CODEC(ZSTD(1)),
    utm_source      LowCardinality(String) CODEC(ZSTD(1)),
    utm_medium      LowCardinality(String) CODEC(ZSTD(1)),
    utm_campaign    LowCardinality(String) CODEC(ZSTD(1)),
    utm_term        String CODEC(ZSTD(1)),
    utm_content     String CODEC(ZSTD(1)),
    click_id_name   String CODEC(ZSTD(1)),
    click_id        String CODEC(ZSTD(1)),
    country_code    LowCardinality(String) CODEC(ZSTD(1)),
    region          LowCardinality(String) CODEC(ZSTD(1)),
    city            LowCardinality(String) CODEC(ZSTD(1)),
    continent       String CODEC(ZSTD(1)),
    browser         LowCardinality(String) CODEC(ZSTD(1)),
    browser_version String CODEC(ZSTD(1)),
    os              LowCardinality(String) CODEC(ZSTD(1)),
    os_version      String CODEC(ZSTD(1)),
    device          LowCardinality(String) CODEC(ZSTD(1)),
    screen_width    UInt16 CODEC(ZSTD(1)),
    screen_height   UInt16 CODEC(ZSTD(1)),
    viewport_width  UInt16 CODEC(ZSTD(1)),
    viewport_height UInt16 CODEC(ZSTD(1)),
    language        LowCardinality(String) CODEC(ZSTD(1)),
    time_on_page    UInt32 CODEC(ZSTD(1)),
    scroll_depth    UInt8 CODEC(ZSTD(1)),
    properties      String CODEC(ZSTD(1)),
    INDEX event_id_bloom event_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX received_at_range received_at TYPE minmax GRANULARITY 1
)
ENGINE = {{engine:MergeTree}}
PARTITION BY toYYYYMM(timestamp)
ORDER BY (site_id, toDate(timestamp), visitor_id, timestamp)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS {{table:bot_events}} {{on_cluster}} AS {{table:events}}
ENGINE = {{engine:MergeTree}}
PARTITION BY toYYYYMM(timestamp)
ORDER BY (site_id, toDate(timestamp), visitor_id, timestamp)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS {{table:ingest_books}} {{on_cluster}}
(
    site_id     String CODEC(ZSTD(1)),
    hour        DateTime('UTC') CODEC(Delta, ZSTD(1)),
    source      LowCardinality(String),
    received    UInt64 CODEC(ZSTD(1)),
    stored      UInt64 CODEC(ZSTD(1)),
    duplicate   UInt64 CODEC(ZSTD(1)),
    bot         UInt64 CODEC(ZSTD(1)),
    rejected    UInt64 CODEC(ZSTD(1)),
    quarantined UInt64 CODEC(ZSTD(1))
)
ENGINE = {{engine:SummingMergeTree}}
PARTITION BY toYear(hour)
ORDER BY (site_id, hour, source)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS {{table:quarantine}} {{on_cluster}}
(
    id             String,
    site_id        String CODEC(ZSTD(1)),
    source         LowCardinality(String),
    row_table      LowCardinality(String),
    quarantined_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    reason         String CODEC(ZSTD(1)),
    bytes          String CODEC(ZSTD(1))
)
ENGINE = {{engine:MergeTree}}
ORDER BY (site_id, id)
SETTINGS non_replicated_deduplication_window = 1000;

{{distributed:events}};
{{distributed:bot_events}};
{{distributed:ingest_books}};
{{distributed:quarantine}};
