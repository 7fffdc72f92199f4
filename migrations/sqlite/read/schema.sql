-- The read models. A projection of the log: this file may be deleted at any time, and is built again from the log.
-- A changed schema or fold is a new SCHEMA_VERSION in crates/projections/src/backend.rs; there is nothing to migrate.
-- The indexes that only lists need are in indexes.sql: a rebuild makes them when the tables are full.

-- One row per job. The rowid is the position of the job's first event, so that lists by age walk the table itself.
CREATE TABLE job_summary (
    submitted_position INTEGER PRIMARY KEY,
    id                 BLOB NOT NULL,
    -- A code, see crates/projections/src/job_row.rs. As of the last event: a `scheduled` job whose time has come is
    -- `queued` to clients.
    status             INTEGER NOT NULL,
    pipeline           TEXT NOT NULL,
    tenant             TEXT NOT NULL,
    -- Milliseconds since 1970, for scheduled jobs only.
    due_at             INTEGER,
    -- Milliseconds since 1970, for jobs that have ended only.
    finished_at        INTEGER,
    topic              TEXT NOT NULL,
    -- The topic in lower case, if lower() does not make it so.
    search             TEXT,
    -- Everything else, as JSON that says nothing twice; see crates/projections/src/job_row.rs.
    details            TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX job_summary_id ON job_summary (id);

-- `key:value`, one row per label of a job.
CREATE TABLE job_label (
    label              TEXT NOT NULL,
    submitted_position INTEGER NOT NULL,
    PRIMARY KEY (label, submitted_position)
) STRICT, WITHOUT ROWID;

-- One row per attempt of a stage that has ended; the one that runs is in its job's row, as is the name of the stage. Times
-- are milliseconds since 1970.
CREATE TABLE job_timeline (
    submitted_position INTEGER NOT NULL,
    stage_index        INTEGER NOT NULL,
    attempt            INTEGER NOT NULL,
    -- A code, see crates/projections/src/job_row.rs.
    outcome            INTEGER NOT NULL,
    worker             TEXT,
    started_at         INTEGER,
    finished_at        INTEGER,
    class              TEXT,
    error              TEXT,
    retry_at           INTEGER,
    PRIMARY KEY (submitted_position, stage_index, attempt)
) STRICT, WITHOUT ROWID;

-- How each handler's queue is controlled.
CREATE TABLE queues (
    handler     TEXT PRIMARY KEY,
    paused      INTEGER NOT NULL,
    max_running INTEGER,
    reason      TEXT,
    -- Milliseconds since 1970.
    changed_at  INTEGER NOT NULL,
    actor       TEXT NOT NULL,
    -- Of the last event of the queues that changed this row.
    version     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE stats (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What tenants paid providers for. Days are counted from 1970, costs are millionths of a US dollar.
CREATE TABLE usage (
    tenant        TEXT NOT NULL,
    day           INTEGER NOT NULL,
    provider      TEXT NOT NULL,
    model         TEXT NOT NULL,
    calls         INTEGER NOT NULL,
    input_tokens  INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cost_micros   INTEGER NOT NULL,
    PRIMARY KEY (tenant, day, provider, model)
) STRICT, WITHOUT ROWID;

-- The last event that the rows contain, and its hash, which tells this log from another.
CREATE TABLE checkpoint (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    position INTEGER NOT NULL,
    hash     TEXT NOT NULL
) STRICT;

-- One row per article that was viewed or rated, or that the `seo` stage gave a score.
CREATE TABLE content_analytics (
    -- Of the job that wrote it.
    id         BLOB PRIMARY KEY,
    views      INTEGER NOT NULL,
    ratings    INTEGER NOT NULL,
    -- Of all ratings together.
    stars      INTEGER NOT NULL,
    -- The average, in millionths of a star; 0 without a rating.
    rating     INTEGER NOT NULL,
    seo_score  REAL,
    -- Milliseconds since 1970.
    updated_at INTEGER NOT NULL,
    -- Of the last event of the article's own stream that is in this row; 0 if there is none.
    version    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The latest rating of each rater, so that another one takes its place. A rater is a digest, see
-- crates/domain/src/content.rs.
CREATE TABLE content_rater (
    content BLOB NOT NULL,
    rater   BLOB NOT NULL,
    stars   INTEGER NOT NULL,
    PRIMARY KEY (content, rater)
) STRICT, WITHOUT ROWID;
