-- Heat points and funnel events; columns as in src/events/tables.ts.

CREATE TABLE heat_points (
    event_id    uuid        NOT NULL,
    timestamp   timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    site_id     text        NOT NULL,
    page        text        NOT NULL,
    point_type  text        NOT NULL,
    device      text        NOT NULL,
    x           smallint    NOT NULL,
    y           smallint    NOT NULL,
    selector    text        NOT NULL,
    count       bigint      NOT NULL,
    PRIMARY KEY (site_id, event_id)
);
-- By a hash of the page, since an index entry holds at most 2.7 kB and a path may be longer: ask for both, md5(page) = md5($n) AND page = $n.
CREATE INDEX heat_points_site_page ON heat_points (site_id, md5(page), "timestamp");
CREATE INDEX heat_points_site_time ON heat_points (site_id, "timestamp");
CREATE INDEX heat_points_received ON heat_points USING brin (received_at) WITH (pages_per_range = 32, autosummarize = on);
COMMENT ON TABLE heat_points IS 'event store: points of heatmaps';

CREATE TABLE funnel_events (
    event_id        uuid        NOT NULL,
    timestamp       timestamptz NOT NULL,
    received_at     timestamptz NOT NULL,
    site_id         text        NOT NULL,
    funnel_id       text        NOT NULL,
    visitor_id      text        NOT NULL,
    session_id      text        NOT NULL,
    event_type      text        NOT NULL,
    step_name       text        NOT NULL,
    current_step    integer     NOT NULL,
    completed_steps text        NOT NULL,
    started_at      timestamptz NOT NULL,
    converted       smallint    NOT NULL,
    PRIMARY KEY (site_id, event_id)
);
CREATE INDEX funnel_events_site_funnel ON funnel_events (site_id, funnel_id, "timestamp");
CREATE INDEX funnel_events_received ON funnel_events USING brin (received_at) WITH (pages_per_range = 32, autosummarize = on);
COMMENT ON TABLE funnel_events IS 'event store: what visitors did in funnels, as the tracker told';
