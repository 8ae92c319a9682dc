-- Files that were brought into a website: their work and what became of it. The rows of events themselves are in the event store, and which
-- of them an import has added is in its table import_rows.

CREATE TABLE imports (
    id              uuid        PRIMARY KEY,
    website_id      uuid        NOT NULL REFERENCES websites (id) ON DELETE CASCADE,
    -- public site id, under which the events are stored
    site_id         text        NOT NULL,
    -- who is told when it ends; the account may be gone by then
    user_id         uuid        REFERENCES users (id) ON DELETE SET NULL,
    -- csv, ndjson (events); report (figures of another program, kept as they are)
    format          text        NOT NULL,
    file_name       text        NOT NULL,
    -- queued, running, done, failed, undoing, undone
    state           text        NOT NULL,
    -- of the file's text, and how much of it is done
    bytes           bigint      NOT NULL,
    done_bytes      bigint      NOT NULL DEFAULT 0,
    -- number of the chunk that is next
    chunk           integer     NOT NULL DEFAULT 0,
    rows_read       bigint      NOT NULL DEFAULT 0,
    rows_added      bigint      NOT NULL DEFAULT 0,
    rows_duplicate  bigint      NOT NULL DEFAULT 0,
    rows_rejected   bigint      NOT NULL DEFAULT 0,
    -- the first of the rejected rows: [{"row", "error"}]
    errors          jsonb       NOT NULL DEFAULT '[]',
    -- why it failed
    error           text,
    report          jsonb,
    lease           uuid,
    lease_until     timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    finished_at     timestamptz
);
CREATE INDEX imports_website ON imports (website_id, created_at DESC, id);
CREATE INDEX imports_waiting ON imports (created_at) WHERE state IN ('queued', 'running', 'undoing');
