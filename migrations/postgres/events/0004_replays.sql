-- The index of session recordings; their events lie compressed in objects, many chunks an object. Columns up to `errors` are those of
-- src/replays/recording-columns.ts. Tables whose comment starts with "event store" are emptied when their site is deleted.

-- One row a part of a chunk.
CREATE TABLE replay_chunks (
    event_id          uuid        NOT NULL,
    timestamp         timestamptz NOT NULL,
    received_at       timestamptz NOT NULL,
    site_id           text        NOT NULL,
    session_key       uuid        NOT NULL,
    session_id        text        NOT NULL,
    chunk_id          uuid        NOT NULL,
    sequence          bigint      NOT NULL,
    part              integer     NOT NULL,
    parts             integer     NOT NULL,
    page              text        NOT NULL,
    first_ms          bigint      NOT NULL,
    last_ms           bigint      NOT NULL,
    event_count       bigint      NOT NULL,
    raw_bytes         bigint      NOT NULL,
    browser           text        NOT NULL,
    os                text        NOT NULL,
    device            text        NOT NULL,
    country_code      text        NOT NULL,
    has_full_snapshot boolean     NOT NULL,
    clicks            bigint      NOT NULL,
    rage_clicks       bigint      NOT NULL,
    errors            bigint      NOT NULL,
    object_key        text        NOT NULL,
    object_offset     bigint      NOT NULL,
    object_length     bigint      NOT NULL,
    PRIMARY KEY (site_id, event_id)
);
CREATE INDEX replay_chunks_session ON replay_chunks (site_id, session_key);
CREATE INDEX replay_chunks_object ON replay_chunks (site_id, object_key);
CREATE INDEX replay_chunks_snapshot ON replay_chunks (site_id, page, received_at) WHERE has_full_snapshot;
CREATE INDEX replay_chunks_received ON replay_chunks USING brin (received_at) WITH (pages_per_range = 32, autosummarize = on);
COMMENT ON TABLE replay_chunks IS 'event store: where the chunks of recordings lie';

-- Every object before it is written: what a crash leaves without a row in the index is found here and removed.
CREATE TABLE replay_objects (
    site_id    text        NOT NULL,
    object_key text        NOT NULL,
    written_at timestamptz NOT NULL,
    PRIMARY KEY (site_id, object_key)
);
CREATE INDEX replay_objects_age ON replay_objects (written_at);
COMMENT ON TABLE replay_objects IS 'event store: objects with recordings';

-- Deleted sessions, by a hash: chunks that come later must not bring them back. Rows older than half a year are removed by the store.
CREATE TABLE replay_deletions (
    site_id     text        NOT NULL,
    session_key uuid        NOT NULL,
    deleted_at  timestamptz NOT NULL,
    PRIMARY KEY (site_id, session_key)
);
CREATE INDEX replay_deletions_age ON replay_deletions (deleted_at);
COMMENT ON TABLE replay_deletions IS 'event store: hashes of deleted recordings';
