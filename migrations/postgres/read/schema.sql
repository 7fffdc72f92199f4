-- The read models. A projection of the log: this schema may be dropped at any time, and is built again from the log.
-- A changed table or fold is a new SCHEMA_VERSION in crates/projections/src/backend.rs, and with it a PostgreSQL schema
-- of its own beside the old one: there is nothing to migrate. The names here are found by the search path.

-- The indexes that only lists need are in indexes.sql: a rebuild makes them when the tables are full.

-- One row per job. Its key is the position of the job's first event, which is also the order of lists.
CREATE TABLE job_summary (
    submitted_position bigint PRIMARY KEY,
    -- Milliseconds since 1970, for scheduled jobs only.
    due_at             bigint,
    -- Milliseconds since 1970, for jobs that have ended only.
    finished_at        bigint,
    id                 uuid NOT NULL,
    -- A code, see crates/projections/src/job_row.rs. As of the last event: a `scheduled` job whose time has come is
    -- `queued` to clients.
    status             smallint NOT NULL,
    pipeline           text NOT NULL,
    tenant             text NOT NULL,
    topic              text NOT NULL,
    -- The topic in lower case, if lower(topic COLLATE "C") does not make it so.
    search             text,
    -- Everything else, as JSON that says nothing twice; see crates/projections/src/job_row.rs. Text, because nothing here
    -- looks into it and jsonb costs more to write.
    details            text NOT NULL
) WITH (
    -- A job that goes on without a new status finds room on its page, and no index has news.
    fillfactor = 90,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.02
);
CREATE UNIQUE INDEX job_summary_id ON job_summary (id);

-- `key:value`, one row per label of a job.
CREATE TABLE job_label (
    label              text NOT NULL,
    submitted_position bigint NOT NULL,
    PRIMARY KEY (label, submitted_position)
) WITH (autovacuum_analyze_scale_factor = 0.02);

-- One row per attempt of a stage that has ended; the one that runs is in its job's row, as is the name of the stage. Times
-- are milliseconds since 1970.
CREATE TABLE job_timeline (
    submitted_position bigint NOT NULL,
    started_at         bigint,
    finished_at        bigint,
    retry_at           bigint,
    stage_index        integer NOT NULL,
    attempt            integer NOT NULL,
    -- A code, see crates/projections/src/job_row.rs.
    outcome            smallint NOT NULL,
    worker             text,
    class              text,
    error              text
) WITH (autovacuum_analyze_scale_factor = 0.02);
-- The checkpoint sees to it that no attempt is written twice; a key for that would be twice as large.
CREATE INDEX job_timeline_job ON job_timeline (submitted_position);

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

-- What tenants paid providers for. Days are counted from 1970, costs are millionths of a US dollar.
CREATE TABLE usage (
    tenant        text COLLATE "C" NOT NULL,
    day           integer NOT NULL,
    provider      text COLLATE "C" NOT NULL,
    model         text COLLATE "C" NOT NULL,
    calls         bigint NOT NULL,
    input_tokens  bigint NOT NULL,
    output_tokens bigint NOT NULL,
    cost_micros   bigint NOT NULL,
    PRIMARY KEY (tenant, day, provider, model)
) WITH (fillfactor = 50);

-- The last event that the rows contain, its hash, which tells this log from another, and who may write.
CREATE TABLE checkpoint (
    id          integer PRIMARY KEY CHECK (id = 1),
    position    bigint NOT NULL,
    hash        text NOT NULL,
    -- Names the turn of one projector; of no more worth once it is replaced or its time is up.
    lease       uuid,
    lease_until timestamptz
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- One row per article that was viewed or rated, or that the `seo` stage gave a score. Rows that many look at change often:
-- pages with room, and a vacuum that comes soon.
CREATE TABLE content_analytics (
    -- Of the job that wrote it.
    id         uuid PRIMARY KEY,
    views      bigint NOT NULL,
    ratings    bigint NOT NULL,
    -- Of all ratings together.
    stars      bigint NOT NULL,
    -- The average, in millionths of a star; 0 without a rating.
    rating     bigint NOT NULL,
    seo_score  double precision,
    -- Milliseconds since 1970.
    updated_at bigint NOT NULL,
    -- Of the last event of the article's own stream that is in this row; 0 if there is none.
    version    bigint NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

-- The latest rating of each rater, so that another one takes its place. A rater is a digest, see
-- crates/domain/src/content.rs.
CREATE TABLE content_rater (
    content uuid NOT NULL,
    rater   uuid NOT NULL,
    stars   smallint NOT NULL,
    PRIMARY KEY (content, rater)
) WITH (autovacuum_analyze_scale_factor = 0.02);
