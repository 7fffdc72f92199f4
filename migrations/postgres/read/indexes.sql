-- One index for each set of equal columns that a list can ask for, so that each list walks its rows in order. Without a
-- status a list merges the eight statuses. None is needed for the list of all jobs.
CREATE INDEX job_summary_status ON job_summary (status, submitted_position);
CREATE INDEX job_summary_pipeline ON job_summary (pipeline, status, submitted_position);
CREATE INDEX job_summary_tenant ON job_summary (tenant, status, submitted_position);
CREATE INDEX job_summary_tenant_pipeline ON job_summary (tenant, pipeline, status, submitted_position);
CREATE INDEX job_summary_due ON job_summary (due_at) WHERE due_at IS NOT NULL;
-- For retention: those that ended first.
CREATE INDEX job_summary_finished ON job_summary (finished_at, submitted_position) WHERE finished_at IS NOT NULL;
-- For the lists of articles.
CREATE INDEX content_analytics_views ON content_analytics (views, id);
CREATE INDEX content_analytics_rating ON content_analytics (rating, id);
CREATE INDEX content_analytics_updated ON content_analytics (updated_at, id);
