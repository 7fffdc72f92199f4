-- The read models. A projection of the log: this schema may be dropped at any time, and is built again from the log.
-- A changed table or fold is a new SCHEMA_VERSION in crates/projections/src/backend.rs, and with it a PostgreSQL schema
-- of its own beside the old one: there is nothing to migrate. The names here are found by the search path.

-- One row per job. Its key is the position of the job's first event, which is also the order of lists.
CREATE TABLE job_summary (
    submitted_position bigint PRIMARY KEY,
    id                 uuid NOT NULL,
    -- As of the last event: a `scheduled` job whose time has come is `queued` to clients.
    status             text NOT NULL,
    pipeline           text NOT NULL,
    tenant             text NOT NULL,
    -- Milliseconds since 1970, for scheduled jobs only.
    due_at             bigint,
    -- Milliseconds since 1970, for jobs that have ended only.
    finished_at        bigint,
    -- The topic in lower case, for searching.
    search             text NOT NULL,
    -- JSON, as clients read it. Text, because nothing here looks into it and jsonb costs more to write.
    summary            text NOT NULL
) WITH (
    -- Most updates leave the indexed columns alone and find room on their page.
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.02
);
CREATE UNIQUE INDEX job_summary_id ON job_summary (id);
-- One index for each set of equal columns that a list can ask for, so that each list walks its rows in order. Without a
-- status a list merges the seven statuses. None is needed for the list of all jobs.
CREATE INDEX job_summary_status ON job_summary (status, submitted_position);
CREATE INDEX job_summary_pipeline ON job_summary (pipeline, status, submitted_position);
CREATE INDEX job_summary_tenant ON job_summary (tenant, status, submitted_position);
CREATE INDEX job_summary_tenant_pipeline ON job_summary (tenant, pipeline, status, submitted_position);
CREATE INDEX job_summary_due ON job_summary (due_at) WHERE due_at IS NOT NULL;
-- For retention: those that ended first.
CREATE INDEX job_summary_finished ON job_summary (finished_at, submitted_position) WHERE finished_at IS NOT NULL;

-- `key:value`, one row per label of a job.
CREATE TABLE job_label (
    label              text NOT NULL,
    submitted_position bigint NOT NULL,
    PRIMARY KEY (label, submitted_position)
) WITH (autovacuum_analyze_scale_factor = 0.02);

-- One row per attempt of a stage that has ended; the one that runs is in its job's row. Times are milliseconds since 1970.
CREATE TABLE job_timeline (
    submitted_position bigint NOT NULL,
    stage_index        bigint NOT NULL,
    attempt            bigint NOT NULL,
    stage              text NOT NULL,
    worker             text,
    started_at         bigint,
    finished_at        bigint,
    outcome            text NOT NULL,
    class              text,
    error              text,
    retry_at           bigint,
    PRIMARY KEY (submitted_position, stage_index, attempt)
) WITH (autovacuum_analyze_scale_factor = 0.02);

-- How each handler's queue is controlled.
CREATE TABLE queues (
    handler     text PRIMARY KEY,
    paused      boolean NOT NULL,
    max_running bigint,
    reason      text,
    -- Milliseconds since 1970.
    changed_at  bigint NOT NULL,
    actor       text NOT NULL,
    -- Of the last event of the queues that changed this row.
    version     bigint NOT NULL
);

-- A few rows that every commit changes: pages with much room, and a vacuum that does not wait for a share of them.
CREATE TABLE stats (
    name  text PRIMARY KEY,
    value bigint NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- The last event that the rows contain, its hash, which tells this log from another, and who may write.
CREATE TABLE checkpoint (
    id          integer PRIMARY KEY CHECK (id = 1),
    position    bigint NOT NULL,
    hash        text NOT NULL,
    -- Names the turn of one projector; of no more worth once it is replaced or its time is up.
    lease       uuid,
    lease_until timestamptz
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
