-- Answers of the outside world, to be forgotten at any time: not written to the write-ahead log, and empty after a crash.
-- The digest names the question. Times are milliseconds since 1970. used_at has no index, so that a new one stays on its
-- page; only who makes room reads the table by it.
CREATE UNLOGGED TABLE quillwork.cache_entries (
  namespace text COLLATE "C" NOT NULL,
  digest bytea NOT NULL,
  value bytea NOT NULL,
  bytes bigint NOT NULL,
  expires_at bigint NOT NULL,
  used_at bigint NOT NULL,
  PRIMARY KEY (namespace, digest)
) WITH (fillfactor = 80, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0.1);

CREATE INDEX cache_entries_expired ON quillwork.cache_entries (expires_at);
