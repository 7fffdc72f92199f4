-- The log, and what is committed with it. One file, one writer.

-- The end of the log. Every commit compares and sets it.
CREATE TABLE head (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  position INTEGER NOT NULL,
  hash BLOB NOT NULL
) STRICT;

INSERT INTO head (id, position, hash) VALUES (1, 0, zeroblob(32));

-- Append-only. The stream is the 16 bytes of the job's id.
CREATE TABLE events (
  position INTEGER PRIMARY KEY,
  stream BLOB NOT NULL,
  version INTEGER NOT NULL,
  event_id BLOB NOT NULL,
  kind TEXT NOT NULL,
  schema_version INTEGER NOT NULL,
  data BLOB NOT NULL,
  meta BLOB NOT NULL,
  recorded_at INTEGER NOT NULL,
  hash BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX events_by_stream ON events (stream, version);

-- The queue: a projection of the log, committed with it. Held tasks stay out of the index of waiting ones.
CREATE TABLE tasks (
  stream BLOB NOT NULL,
  stage INTEGER NOT NULL,
  handler TEXT NOT NULL,
  priority INTEGER NOT NULL,
  run_at INTEGER NOT NULL,
  lease INTEGER,
  PRIMARY KEY (stream, stage)
) STRICT, WITHOUT ROWID;

CREATE INDEX tasks_waiting ON tasks (handler, priority DESC, run_at, stream, stage) WHERE lease IS NULL;

-- One row per start of a process. Tokens are never used again.
CREATE TABLE leases (
  token INTEGER PRIMARY KEY AUTOINCREMENT,
  worker TEXT NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;

-- Large outputs by the SHA-256 of their uncompressed bytes; compressed with zstd.
CREATE TABLE blobs (
  sha256 BLOB PRIMARY KEY,
  bytes INTEGER NOT NULL,
  zstd BLOB NOT NULL
) STRICT;

-- Which job an idempotency key stands for: a projection of the log, too.
CREATE TABLE idempotency_keys (
  tenant TEXT NOT NULL,
  key TEXT NOT NULL,
  stream BLOB NOT NULL,
  digest BLOB NOT NULL,
  PRIMARY KEY (tenant, key)
) STRICT, WITHOUT ROWID;
