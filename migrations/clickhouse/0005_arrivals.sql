-- When a row of the session rollup was inserted, by quarters of an hour of the server's clock. As part of the key it keeps what has
-- arrived later apart from what was there before, so that the rollup can be read as it was: figures are carried on from then instead
-- of being computed again (docs/decisions/0005-finished-days.md). Rows from before this migration have arrived in 1970.

ALTER TABLE {{table:session_slots}} {{on_cluster}}
    ADD COLUMN IF NOT EXISTS arrived DateTime('UTC') CODEC(Delta, ZSTD(1)),
    MODIFY ORDER BY (site_id, slot, session, visitor, place, agent, arrived);

ALTER TABLE session_slots {{on_cluster}} ADD COLUMN IF NOT EXISTS arrived DateTime('UTC');

-- Finds late events in old parts without reading these.
ALTER TABLE {{table:session_slots}} {{on_cluster}}
    ADD INDEX IF NOT EXISTS arrived_range arrived TYPE minmax GRANULARITY 4;

ALTER TABLE session_slots_view {{on_cluster}} MODIFY QUERY
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
    if(kind = 1, [page], []) AS view_page,
    toStartOfFifteenMinutes(now('UTC')) AS arrived
FROM {{table:events}};
