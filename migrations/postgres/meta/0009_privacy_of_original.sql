-- The original has a table of this name with other columns, which nothing ever wrote to. It is put aside before 0010 makes ours.
DO $$
BEGIN
  IF EXISTS (
    SELECT 1 FROM information_schema.columns
    WHERE table_schema = current_schema() AND table_name = 'privacy_requests' AND column_name = 'request_type'
  ) THEN
    ALTER TABLE privacy_requests RENAME TO original_privacy_requests;
  END IF;
END $$;
