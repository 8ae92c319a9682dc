-- Custom events ride along in the session rollup as page views do, so that their lists and times need no raw events
-- (docs/decisions/0007-dashboard-speed.md): instants and types side by side, in no order.

ALTER TABLE {{table:session_slots}} {{on_cluster}}
    ADD COLUMN IF NOT EXISTS custom_ts SimpleAggregateFunction(groupArrayArray, Array(DateTime64(3, 'UTC'))) CODEC(Delta, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS custom_type SimpleAggregateFunction(groupArrayArray, Array(String)) CODEC(ZSTD(1));

ALTER TABLE session_slots {{on_cluster}}
    ADD COLUMN IF NOT EXISTS custom_ts SimpleAggregateFunction(groupArrayArray, Array(DateTime64(3, 'UTC'))),
    ADD COLUMN IF NOT EXISTS custom_type SimpleAggregateFunction(groupArrayArray, Array(String));

ALTER TABLE {{table:changed_rows}} {{on_cluster}}
    ADD COLUMN IF NOT EXISTS custom_ts Array(DateTime64(3, 'UTC')),
    ADD COLUMN IF NOT EXISTS custom_type Array(String);

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
    toStartOfFifteenMinutes(now('UTC')) AS arrived,
    if(kind = 2, [timestamp], []) AS custom_ts,
    if(kind = 2, [toString(event_type)], []) AS custom_type
FROM {{table:events}};

-- Rows from before get theirs in rows of their own, which count nothing else. A second run finds the rows of the first.
INSERT INTO {{table:session_slots}}
    (site_id, slot, session, visitor, place, agent, first_ts, last_ts, page_views, customs, last_view, last_exit, source, view_ts, view_page, arrived, custom_ts, custom_type)
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
    toUInt32(0) AS page_views,
    toUInt32(0) AS customs,
    if(kind = 1, timestamp, toDateTime64(0, 3, 'UTC')) AS last_view,
    if(event_type = 'page_exit',
        toUInt64(toUnixTimestamp64Milli(timestamp)) * 2048 + least(time_on_page, 1800), 0) AS last_exit,
    if(kind = 1,
        concat(reverse(reinterpretAsFixedString(toUInt64(toUnixTimestamp64Milli(timestamp)))),
            referrer_host, '\0', channel, '\0', utm_source, '\0', utm_medium, '\0', utm_campaign, '\0', utm_term, '\0', utm_content),
        '\xFF') AS source,
    if(kind = 1, [timestamp], []) AS view_ts,
    if(kind = 1, [page], []) AS view_page,
    toDateTime(0, 'UTC') AS arrived,
    if(kind = 2, [timestamp], []) AS custom_ts,
    if(kind = 2, [toString(event_type)], []) AS custom_type
FROM {{table:events}}
WHERE kind = 2
    AND (site_id, toStartOfFifteenMinutes(timestamp), cityHash64(session_id)) IN (
        SELECT site_id, slot, session FROM {{table:session_slots}} WHERE customs > 0 AND empty(custom_ts))
    AND (site_id, toStartOfFifteenMinutes(timestamp), cityHash64(session_id)) NOT IN (
        SELECT site_id, slot, session FROM {{table:session_slots}} WHERE arrived = toDateTime(0, 'UTC') AND notEmpty(custom_ts));
