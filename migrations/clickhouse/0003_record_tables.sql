-- Heat points and funnel events. They come through the same stream and writer as events, begin with the same four columns, and are
-- kept raw: a heatmap reads one page's rows in a period, which lie together. Why: docs/decisions/0004-record-tables.md.
-- Placeholders as in 0001; columns and their order are those of src/events/tables.ts.

CREATE TABLE IF NOT EXISTS {{table:heat_points}} {{on_cluster}}
(
    event_id    FixedString(16) CODEC(NONE),
    timestamp   DateTime64(3, 'UTC') CODEC(T64, ZSTD(1)),
    received_at DateTime64(3, 'UTC') CODEC(T64, ZSTD(1)),
    site_id     String CODEC(ZSTD(1)),
    page        String CODEC(ZSTD(1)),
    point_type  LowCardinality(String) CODEC(ZSTD(1)),
    device      LowCardinality(String) CODEC(ZSTD(1)),
    x           Int16 CODEC(ZSTD(1)),
    y           Int16 CODEC(ZSTD(1)),
    selector    String CODEC(ZSTD(1)),
    count       UInt32 CODEC(T64, ZSTD(1)),
    INDEX event_id_bloom event_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX received_at_range received_at TYPE minmax GRANULARITY 1
)
ENGINE = {{engine:MergeTree}}
PARTITION BY toYYYYMM(timestamp)
ORDER BY (site_id, page, point_type, device, timestamp)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS {{table:funnel_events}} {{on_cluster}}
(
    event_id        FixedString(16) CODEC(NONE),
    timestamp       DateTime64(3, 'UTC') CODEC(T64, ZSTD(1)),
    received_at     DateTime64(3, 'UTC') CODEC(T64, ZSTD(1)),
    site_id         String CODEC(ZSTD(1)),
    funnel_id       String CODEC(ZSTD(1)),
    visitor_id      String CODEC(ZSTD(1)),
    session_id      String CODEC(ZSTD(1)),
    event_type      LowCardinality(String) CODEC(ZSTD(1)),
    step_name       String CODEC(ZSTD(1)),
    current_step    UInt16 CODEC(ZSTD(1)),
    completed_steps String CODEC(ZSTD(1)),
    started_at      DateTime64(3, 'UTC') CODEC(T64, ZSTD(1)),
    converted       UInt8 CODEC(ZSTD(1)),
    INDEX event_id_bloom event_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX received_at_range received_at TYPE minmax GRANULARITY 1
)
ENGINE = {{engine:MergeTree}}
PARTITION BY toYYYYMM(timestamp)
ORDER BY (site_id, funnel_id, timestamp)
SETTINGS non_replicated_deduplication_window = 1000;

{{distributed:heat_points}};
{{distributed:funnel_events}};
