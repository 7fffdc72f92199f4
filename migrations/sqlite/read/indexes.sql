-- What lists and retention walk. Each index ends with the rowid, which is the order of lists.
CREATE INDEX job_summary_status ON job_summary (status);
CREATE INDEX job_summary_pipeline ON job_summary (pipeline);
CREATE INDEX job_summary_tenant ON job_summary (tenant);
CREATE INDEX job_summary_due ON job_summary (due_at) WHERE due_at IS NOT NULL;
-- For retention: those that ended first.
CREATE INDEX job_summary_finished ON job_summary (finished_at) WHERE finished_at IS NOT NULL;
-- For the lists of articles.
CREATE INDEX content_analytics_views ON content_analytics (views, id);
CREATE INDEX content_analytics_rating ON content_analytics (rating, id);
CREATE INDEX content_analytics_updated ON content_analytics (updated_at, id);
