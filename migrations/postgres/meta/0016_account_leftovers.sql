-- Accounts that are gone and whose pictures, which lie outside of the database, have yet to be removed.
CREATE TABLE IF NOT EXISTS account_leftovers (
  user_id uuid PRIMARY KEY,
  deleted_at timestamptz NOT NULL DEFAULT now()
);
