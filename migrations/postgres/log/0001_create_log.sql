-- The log, and what is committed with it. Any number of processes, one commit at a time.
-- Names are ordered by their bytes (COLLATE "C"), as everywhere else, and no upgrade of a locale can damage an index.

-- Milliseconds since 1970 by the clock of the server, which all processes share. Not the start of the transaction: whoever
-- waited for a lock wants to know when the wait was over.
CREATE FUNCTION quillwork.clock_ms() RETURNS bigint LANGUAGE sql VOLATILE
AS $$ SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint $$;

-- The end of the log: one row, which every commit compares and sets, and whose lock keeps other writers out. That makes
-- positions commit-ordered and free of gaps. Mostly empty pages, so that new versions of the row stay on its page.
CREATE TABLE quillwork.head (
  id smallint PRIMARY KEY CHECK (id = 1),
  position bigint NOT NULL,
  hash bytea NOT NULL,
  -- The position after the last commit that let tasks wait or changed the controls of the queues.
  queue bigint NOT NULL,
  -- How many tasks there are: counting them takes too long to do it often.
  backlog bigint NOT NULL,
  -- Raised by every connection that is about to write: what an earlier, lost connection sent cannot be written any more.
  fence bigint NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);

INSERT INTO quillwork.head (id, position, hash, queue, backlog, fence)
VALUES (1, 0, decode(repeat('00', 32), 'hex'), 0, 0, 0);

-- Append-only. The stream is the job's id, or zeros for the queues. JSON as the bytes that were hashed: jsonb would write
-- them anew, and slower. What has a fixed width comes first, so that nothing is lost to alignment; a log that was begun
-- earlier may have its columns in another order.
CREATE TABLE quillwork.events (
  -- Only ever appended to: no page needs room.
  position bigint PRIMARY KEY WITH (fillfactor = 100),
  stream uuid NOT NULL,
  event_id uuid NOT NULL,
  version bigint NOT NULL,
  recorded_at bigint NOT NULL,
  schema_version integer NOT NULL,
  kind text COLLATE "C" NOT NULL,
  data bytea NOT NULL,
  meta bytea NOT NULL,
  hash bytea NOT NULL,
  CONSTRAINT events_by_stream UNIQUE (stream, version)
);

-- The queue: a projection of the log, committed with it. Rows come and go: pages keep room for new versions, and dead rows
-- are swept early.
CREATE TABLE quillwork.tasks (
  stream uuid NOT NULL,
  stage integer NOT NULL,
  handler text COLLATE "C" NOT NULL,
  tenant text COLLATE "C" NOT NULL,
  priority smallint NOT NULL,
  run_at bigint NOT NULL,
  lease bigint,
  PRIMARY KEY (stream, stage)
) WITH (
  fillfactor = 70,
  autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_analyze_threshold = 1000, autovacuum_analyze_scale_factor = 0.05
);

-- Each tenant and each priority is a range of its own: nobody walks over the tasks of another to find his.
CREATE INDEX tasks_waiting ON quillwork.tasks (handler, tenant, priority DESC, run_at, stream, stage) WHERE lease IS NULL;

-- When the next task is due, however many tenants wait.
CREATE INDEX tasks_due ON quillwork.tasks (handler, run_at) WHERE lease IS NULL;

-- What is held and by whom, without a look at what waits.
CREATE INDEX tasks_held ON quillwork.tasks (lease, handler, stream, stage) WHERE lease IS NOT NULL;

-- One row per living start of a process. Ending a lease deletes it; tokens are never used again.
CREATE TABLE quillwork.leases (
  token bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  worker text NOT NULL,
  expires_at bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0);

-- Large outputs by the SHA-256 of their uncompressed bytes; compressed with zstd.
CREATE TABLE quillwork.blobs (
  sha256 bytea PRIMARY KEY,
  bytes bigint NOT NULL,
  zstd bytea NOT NULL
);

-- Compressed already.
ALTER TABLE quillwork.blobs ALTER COLUMN zstd SET STORAGE EXTERNAL;

-- Which job an idempotency key stands for: a projection of the log, too.
CREATE TABLE quillwork.idempotency_keys (
  tenant text COLLATE "C" NOT NULL,
  key text COLLATE "C" NOT NULL,
  stream uuid NOT NULL,
  digest bytea NOT NULL,
  PRIMARY KEY (tenant, key)
);
