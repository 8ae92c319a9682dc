-- The index of session recordings; their events lie compressed in objects, many chunks an object. Columns up to `errors` are those of
-- src/replays/recording-columns.ts, because rows arrive as they came through the stream. Placeholders as in 0001.

-- One row a part of a chunk. A part that moves to another object is written again with a higher version, so all reads use FINAL.
CREATE TABLE IF NOT EXISTS {{table:replay_chunks}} {{on_cluster}}
(
    event_id          FixedString(16) CODEC(NONE),
    timestamp         DateTime64(3, 'UTC') CODEC(T64, ZSTD(1)),
    received_at       DateTime64(3, 'UTC') CODEC(T64, ZSTD(1)),
    site_id           String CODEC(ZSTD(1)),
    session_key       FixedString(16) CODEC(ZSTD(1)),
    session_id        String CODEC(ZSTD(1)),
    chunk_id          FixedString(16) CODEC(NONE),
    sequence          UInt32 CODEC(ZSTD(1)),
    part              UInt16 CODEC(ZSTD(1)),
    parts             UInt16 CODEC(ZSTD(1)),
    page              String CODEC(ZSTD(1)),
    first_ms          Int64 CODEC(T64, ZSTD(1)),
    last_ms           Int64 CODEC(T64, ZSTD(1)),
    event_count       UInt32 CODEC(ZSTD(1)),
    raw_bytes         UInt32 CODEC(ZSTD(1)),
    browser           LowCardinality(String) CODEC(ZSTD(1)),
    os                LowCardinality(String) CODEC(ZSTD(1)),
    device            LowCardinality(String) CODEC(ZSTD(1)),
    country_code      LowCardinality(String) CODEC(ZSTD(1)),
    has_full_snapshot UInt8 CODEC(ZSTD(1)),
    clicks            UInt32 CODEC(ZSTD(1)),
    rage_clicks       UInt32 CODEC(ZSTD(1)),
    errors            UInt32 CODEC(ZSTD(1)),
    object_key        String CODEC(ZSTD(1)),
    object_offset     UInt32 CODEC(ZSTD(1)),
    object_length     UInt32 CODEC(ZSTD(1)),
    version           UInt32 CODEC(ZSTD(1)),
    INDEX event_id_bloom event_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX object_key_bloom object_key TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX received_at_range received_at TYPE minmax GRANULARITY 1
)
ENGINE = {{engine:ReplacingMergeTree(version)}}
PARTITION BY toYYYYMM(received_at)
PRIMARY KEY (site_id, session_key)
ORDER BY (site_id, session_key, event_id)
SETTINGS non_replicated_deduplication_window = 1000;

-- Every object before it is written: what a crash leaves without a row in the index is found here and removed.
CREATE TABLE IF NOT EXISTS {{table:replay_objects}} {{on_cluster}}
(
    site_id    String CODEC(ZSTD(1)),
    object_key String CODEC(ZSTD(1)),
    written_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1))
)
ENGINE = {{engine:ReplacingMergeTree}}
ORDER BY (site_id, object_key)
SETTINGS non_replicated_deduplication_window = 1000;

-- Deleted sessions, by a hash: chunks that come later must not bring them back.
CREATE TABLE IF NOT EXISTS {{table:replay_deletions}} {{on_cluster}}
(
    site_id     String CODEC(ZSTD(1)),
    session_key FixedString(16) CODEC(ZSTD(1)),
    deleted_at  DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1))
)
ENGINE = {{engine:ReplacingMergeTree}}
ORDER BY (site_id, session_key)
TTL toDateTime(deleted_at) + INTERVAL 180 DAY
SETTINGS non_replicated_deduplication_window = 1000;

{{distributed:replay_chunks}};
{{distributed:replay_objects}};
{{distributed:replay_deletions}};
