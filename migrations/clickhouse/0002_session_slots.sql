-- What the figures are read from: one row for each session, visitor and quarter of an hour (UTC, so that every local midnight and hour
-- is a border), kept by a materialised view. Why this form, and what it costs and saves: docs/decisions/0003-session-rollup.md.
-- Placeholders as in 0001. The view asks nothing of the order in which events arrive: all columns merge by min, max, sum or append.

CREATE TABLE IF NOT EXISTS {{table:session_slots}} {{on_cluster}}
(
    site_id    String CODEC(ZSTD(1)),
    slot       DateTime('UTC') CODEC(Delta, ZSTD(1)),
    session    UInt64 CODEC(NONE),
    visitor    UInt64 CODEC(NONE),
    -- country_code, region, city, continent, separated by NUL (which no stored text holds)
    place      LowCardinality(String) CODEC(ZSTD(1)),
    -- browser, os, device, WIDTHxHEIGHT of the screen, separated by NUL
    agent      LowCardinality(String) CODEC(ZSTD(1)),
    -- of any kind of event
    first_ts   SimpleAggregateFunction(min, DateTime64(3, 'UTC')) CODEC(Delta, ZSTD(1)),
    last_ts    SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(Delta, ZSTD(1)),
    page_views SimpleAggregateFunction(sumWithOverflow, UInt32) CODEC(ZSTD(1)),
    customs    SimpleAggregateFunction(sumWithOverflow, UInt32) CODEC(ZSTD(1)),
    -- 1970 when there is none
    last_view  SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(Delta, ZSTD(1)),
    -- the latest page_exit: ms since epoch * 2048 + its seconds on the page (at most 1800); 0 when there is none
    last_exit  SimpleAggregateFunction(max, UInt64) CODEC(ZSTD(1)),
    -- first page view: big-endian ms (8 bytes), then referrer_host, channel, utm_source, utm_medium, utm_campaign, utm_term,
    -- utm_content, separated by NUL; the byte 0xFF when there is none
    source     SimpleAggregateFunction(min, String) CODEC(ZSTD(1)),
    -- page views, side by side, in no order
    view_ts    SimpleAggregateFunction(groupArrayArray, Array(DateTime64(3, 'UTC'))) CODEC(Delta, ZSTD(1)),
    view_page  SimpleAggregateFunction(groupArrayArray, Array(String)) CODEC(ZSTD(1))
)
ENGINE = {{engine:AggregatingMergeTree}}
PARTITION BY toYYYYMM(slot)
PRIMARY KEY (site_id, slot)
ORDER BY (site_id, slot, session, visitor, place, agent)
SETTINGS non_replicated_deduplication_window = 1000;

{{distributed:session_slots}};

-- No GROUP BY: a block holds about a second, in which hardly two events are of one session, and the sort on insert merges those.
CREATE MATERIALIZED VIEW IF NOT EXISTS session_slots_view {{on_cluster}} TO {{table:session_slots}} AS
SELECT
    site_id,
    toStartOfFifteenMinutes(timestamp) AS slot,
    cityHash64(session_id) AS session,
    cityHash64(visitor_id) AS visitor,
    concat(country_code, '\0', region, '\0', city, '\0', continent) AS place,
    concat(browser, '\0', os, '\0', device, '\0',
        if(screen_width > 0 AND screen_height > 0, concat(toString(screen_width), 'x', toString(screen_height)), '')) AS agent,
    timestamp AS first_ts,
    timestamp AS last_ts,
    toUInt32(kind = 1) AS page_views,
    toUInt32(kind = 2) AS customs,
    if(kind = 1, timestamp, toDateTime64(0, 3, 'UTC')) AS last_view,
    if(event_type = 'page_exit',
        toUInt64(toUnixTimestamp64Milli(timestamp)) * 2048 + least(time_on_page, 1800), 0) AS last_exit,
    if(kind = 1,
        concat(reverse(reinterpretAsFixedString(toUInt64(toUnixTimestamp64Milli(timestamp)))),
            referrer_host, '\0', channel, '\0', utm_source, '\0', utm_medium, '\0', utm_campaign, '\0', utm_term, '\0', utm_content),
        '\xFF') AS source,
    if(kind = 1, [timestamp], []) AS view_ts,
    if(kind = 1, [page], []) AS view_page
FROM {{table:events}};
