-- The event store in Postgres, for installations without ClickHouse. The columns are those of src/events/columns.ts, so that both stores
-- hold the same rows; what differs is that a row is decoded before it is inserted.
--
-- Tables whose comment starts with "event store" belong to the sites' data: deleting a site empties them (they must have a site_id).
-- Unpartitioned on purpose: deletion is by site, not by age, and a look-up of an id would have to visit every partition. Months of data
-- that no longer fit are what ClickHouse is for.

CREATE TABLE events (
    event_id         uuid        NOT NULL,
    timestamp        timestamptz NOT NULL,
    received_at      timestamptz NOT NULL,
    site_id          text        NOT NULL,
    kind             smallint    NOT NULL,
    event_type       text        NOT NULL,
    visitor_id       text        NOT NULL,
    session_id       text        NOT NULL,
    page_view_id     text        NOT NULL,
    page             text        NOT NULL,
    hostname         text        NOT NULL,
    title            text        NOT NULL,
    referrer         text        NOT NULL,
    referrer_host    text        NOT NULL,
    channel          text        NOT NULL,
    utm_source       text        NOT NULL,
    utm_medium       text        NOT NULL,
    utm_campaign     text        NOT NULL,
    utm_term         text        NOT NULL,
    utm_content      text        NOT NULL,
    click_id_name    text        NOT NULL,
    click_id         text        NOT NULL,
    country_code     text        NOT NULL,
    region           text        NOT NULL,
    city             text        NOT NULL,
    continent        text        NOT NULL,
    browser          text        NOT NULL,
    browser_version  text        NOT NULL,
    os               text        NOT NULL,
    os_version       text        NOT NULL,
    device           text        NOT NULL,
    screen_width     integer     NOT NULL,
    screen_height    integer     NOT NULL,
    viewport_width   integer     NOT NULL,
    viewport_height  integer     NOT NULL,
    language         text        NOT NULL,
    time_on_page     bigint      NOT NULL,
    scroll_depth     smallint    NOT NULL,
    properties       text        NOT NULL,
    -- Writers dedupe before they insert; this is what holds if two of them ever disagree.
    PRIMARY KEY (site_id, event_id)
);
CREATE INDEX events_site_time ON events (site_id, "timestamp");
CREATE INDEX events_site_visitor ON events (site_id, visitor_id, "timestamp");
CREATE INDEX events_site_session ON events (site_id, session_id, "timestamp");
-- Rows arrive in the order of this column, so ranges of blocks say where the last minutes are, at next to no cost.
CREATE INDEX events_received ON events USING brin (received_at) WITH (pages_per_range = 32, autosummarize = on);
COMMENT ON TABLE events IS 'event store: visitors'' events';

CREATE TABLE bot_events (
    LIKE events,
    PRIMARY KEY (site_id, event_id)
);
CREATE INDEX bot_events_received ON bot_events USING brin (received_at) WITH (pages_per_range = 32, autosummarize = on);
COMMENT ON TABLE bot_events IS 'event store: events of bots and prefetches';

CREATE TABLE ingest_books (
    site_id     text        NOT NULL,
    hour        timestamptz NOT NULL,
    source      text        NOT NULL,
    received    bigint      NOT NULL,
    stored      bigint      NOT NULL,
    duplicate   bigint      NOT NULL,
    bot         bigint      NOT NULL,
    rejected    bigint      NOT NULL,
    quarantined bigint      NOT NULL,
    PRIMARY KEY (site_id, hour, source)
);
COMMENT ON TABLE ingest_books IS 'event store: what became of the events received';

CREATE TABLE quarantine (
    id             text        NOT NULL,
    site_id        text        NOT NULL,
    source         text        NOT NULL,
    row_table      text        NOT NULL,
    quarantined_at timestamptz NOT NULL,
    reason         text        NOT NULL,
    bytes          bytea       NOT NULL,
    PRIMARY KEY (site_id, id)
);
COMMENT ON TABLE quarantine IS 'event store: rows that were refused, as they came';

-- Blocks that are stored, by the writer's token: the same block again is a no-op. Rows older than a day are removed by the store.
CREATE TABLE insert_tokens (
    token       text        PRIMARY KEY,
    inserted_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX insert_tokens_age ON insert_tokens USING brin (inserted_at);
