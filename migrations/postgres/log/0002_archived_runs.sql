-- Jobs leave the log, and what the chain was there stays.

-- Positions that are holes: those from first to last. The event behind them is linked to hash,
-- and before is the hash of the event before them.
CREATE TABLE quillwork.archived_runs (
  last bigint PRIMARY KEY,
  first bigint NOT NULL,
  before bytea NOT NULL,
  hash bytea NOT NULL
);
