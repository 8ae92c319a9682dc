-- Which sites a privacy request is about, fixed when it is made, and which of them it has emptied: another attempt removes nothing that
-- was received after that.
CREATE TABLE IF NOT EXISTS privacy_request_sites (
  request_id uuid NOT NULL REFERENCES privacy_requests (id) ON DELETE CASCADE,
  site_id varchar(64) NOT NULL,
  wiped_until timestamptz,
  PRIMARY KEY (request_id, site_id)
);

INSERT INTO privacy_request_sites (request_id, site_id)
  SELECT r.id, w.site_id FROM privacy_requests r JOIN websites w ON w.user_id = r.user_id
  WHERE r.status = 'pending' AND (r.type IN ('delete_data', 'anonymize') OR r.type = 'delete_website' AND w.site_id = r.site_id)
  ON CONFLICT DO NOTHING;

-- Tells writers when what they know of erasures is no longer all. Rows and not a number, so that no two erasures wait for each other.
CREATE TABLE IF NOT EXISTS erasure_changes (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  changed_at timestamptz NOT NULL DEFAULT now()
);

CREATE OR REPLACE FUNCTION seentics_note_erasure_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO erasure_changes DEFAULT VALUES;
  RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS erasures_changed ON erasures;
CREATE TRIGGER erasures_changed AFTER INSERT OR UPDATE ON erasures
  FOR EACH STATEMENT EXECUTE FUNCTION seentics_note_erasure_change();
DROP TRIGGER IF EXISTS site_purges_changed ON site_purges;
CREATE TRIGGER site_purges_changed AFTER INSERT OR UPDATE OF deleted_at ON site_purges
  FOR EACH STATEMENT EXECUTE FUNCTION seentics_note_erasure_change();
