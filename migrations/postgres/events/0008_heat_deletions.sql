-- Pages whose heat points were deleted, and until when of receipt: points that come out of the stream later are not counted, and swept.

CREATE TABLE heat_deletions (
    site_id    text        NOT NULL,
    page       text        NOT NULL,
    deleted_at timestamptz NOT NULL
);
-- A path may be longer than an index entry: ask for both, as with heat_points.
CREATE UNIQUE INDEX heat_deletions_page ON heat_deletions (site_id, md5(page));
COMMENT ON TABLE heat_deletions IS 'event store: pages whose heat points were deleted';
