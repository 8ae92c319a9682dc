-- Lists of a site's goals and funnels come newest first.
CREATE INDEX IF NOT EXISTS goals_website_newest ON goals (website_id, created_at DESC, id);
DROP INDEX IF EXISTS goals_website;
CREATE INDEX IF NOT EXISTS funnels_website_newest ON funnels (website_id, created_at DESC, id);
DROP INDEX IF EXISTS funnels_website;

-- Steps are read by their funnel, in their order.
CREATE INDEX IF NOT EXISTS funnel_steps_funnel_order ON funnel_steps (funnel_id, step_order, id);
DROP INDEX IF EXISTS funnel_steps_funnel;
