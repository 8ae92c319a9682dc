-- Uploaded files whose imports went with their website before they were done: the erasure of the website removes them.
CREATE TABLE IF NOT EXISTS left_uploads (
  import_id uuid PRIMARY KEY,
  site_id text NOT NULL
);
CREATE INDEX IF NOT EXISTS left_uploads_site ON left_uploads (site_id);

CREATE OR REPLACE FUNCTION seentics_leave_upload() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO left_uploads (import_id, site_id) VALUES (OLD.id, OLD.site_id) ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS imports_left ON imports;
CREATE TRIGGER imports_left AFTER DELETE ON imports
  FOR EACH ROW WHEN (OLD.state IN ('queued', 'running', 'undoing')) EXECUTE FUNCTION seentics_leave_upload();
