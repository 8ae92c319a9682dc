-- Which events an import has added, noted before they are sent, so that it can be gone on with after a crash and be undone.

CREATE TABLE import_rows (
    site_id    text    NOT NULL,
    import_id  uuid    NOT NULL,
    chunk      integer NOT NULL,
    event_id   uuid    NOT NULL,
    visitor_id text    NOT NULL,
    PRIMARY KEY (site_id, import_id, chunk, event_id)
);
COMMENT ON TABLE import_rows IS 'event store: which events came from which import';

-- Exports read bots in the order of time.
CREATE INDEX IF NOT EXISTS bot_events_site_time ON bot_events (site_id, "timestamp");
