-- Who had an import worked on when: accounts take turns.
CREATE INDEX IF NOT EXISTS imports_turns ON imports (user_id, finished_at DESC);
