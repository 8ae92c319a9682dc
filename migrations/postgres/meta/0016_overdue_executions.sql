-- How much of a website is overdue is asked whenever one of its automations starts.
CREATE INDEX IF NOT EXISTS automation_executions_overdue ON automation_executions (website_id, due_at) WHERE status = 'pending';
